/** Buffers for requests that are used again: fresh memory costs the kernel as much as encoding what goes into it. */

export interface RequestBuffers {
  /** One of at least this size, with anything in it. */
  take(bytes: number): Buffer;
  /** Whoever took it needs it no more. */
  give(buffer: Buffer): void;
}

/** About 1 MiB each, while no single event is larger than a batch may be. */
const SPARE_BUFFERS_MAX = 8;
const STEP_BYTES = 1 << 18;

export function createRequestBuffers(): RequestBuffers {
  const spare: Buffer[] = [];
  return {
    take(bytes) {
      const found = spare.findIndex(({ length }) => length >= bytes);
      if (found >= 0) return spare.splice(found, 1)[0] as Buffer;
      return Buffer.allocUnsafeSlow(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES);
    },
    give(buffer) {
      spare.push(buffer);
      if (spare.length > SPARE_BUFFERS_MAX) spare.shift();
    },
  };
}
