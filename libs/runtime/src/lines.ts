/**
 * Newline-delimited JSON over one Unix socket, bounded in every direction. Both ends of a link use it.
 */

/** A longer line, or more bytes that wait to be read by the peer, ends the connection. */
export const LINE_BYTES_MAX = 1_048_576;
export const BUFFERED_BYTES_MAX = 4_194_304;
/** A peer that takes nothing for this long while bytes wait is disconnected. */
export const STALL_TIMEOUT_MS = 10_000;

export interface LinkLimits {
  readonly lineBytesMax?: number;
  readonly bufferedBytesMax?: number;
  readonly stallTimeoutMs?: number;
}

/** Why a connection was ended by this side. */
export type LinkFault = 'line_too_long' | 'malformed_line' | 'peer_too_slow';

/** What is used of a Bun socket. */
export interface ByteSocket {
  /** Bytes taken, fewer than given when the kernel's buffer is full; negative once the socket is closed. */
  write(bytes: Uint8Array): number;
  terminate(): void;
}

export interface LineConnection<Out> {
  /** False: the connection is closed, or was closed by this very call because the peer is too slow. */
  send(message: Out): boolean;
  receive(chunk: Uint8Array): void;
  /** The socket takes bytes again. */
  drain(): void;
  /** The socket is closed. Returns the fault that closed it, if it was this side. */
  closed(): LinkFault | undefined;
}

const NEWLINE = 10;

export function createLineConnection<Out>(
  socket: ByteSocket,
  onMessage: (message: object) => void,
  limits: LinkLimits,
): LineConnection<Out> {
  const { lineBytesMax = LINE_BYTES_MAX, bufferedBytesMax = BUFFERED_BYTES_MAX } = limits;
  const stallTimeoutMs = limits.stallTimeoutMs ?? STALL_TIMEOUT_MS;
  let open = true;
  let fault: LinkFault | undefined;
  let partial: Uint8Array[] = [];
  let partialBytes = 0;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let stallTimer: ReturnType<typeof setTimeout> | undefined;

  function fail(reason: LinkFault): void {
    if (!open) return;
    fault = reason;
    finish();
    socket.terminate();
  }

  function finish(): void {
    open = false;
    clearTimeout(stallTimer);
    waiting = [];
    partial = [];
  }

  function send(message: Out): boolean {
    if (!open) return false;
    const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
    if (waitingBytes + bytes.length > bufferedBytesMax) {
      fail('peer_too_slow');
      return false;
    }
    waiting.push(bytes);
    waitingBytes += bytes.length;
    if (waiting.length === 1) flush();
    return open;
  }

  /** Writes until the kernel takes no more. */
  function flush(): void {
    const before = waitingBytes;
    while (open && waiting.length > 0) {
      const first = waiting[0] as Uint8Array;
      const written = socket.write(first);
      if (written < 0) {
        finish();
        return;
      }
      waitingBytes -= written;
      if (written < first.length) {
        waiting[0] = first.subarray(written);
        break;
      }
      waiting.shift();
    }
    watchStall(waitingBytes < before);
  }

  function watchStall(progress: boolean): void {
    if (stallTimer !== undefined && !progress && waitingBytes > 0) return;
    clearTimeout(stallTimer);
    stallTimer = undefined;
    if (open && waitingBytes > 0) stallTimer = setTimeout(() => fail('peer_too_slow'), stallTimeoutMs);
  }

  function receive(chunk: Uint8Array): void {
    let start = 0;
    while (open) {
      const end = chunk.indexOf(NEWLINE, start);
      const stop = end === -1 ? chunk.length : end;
      if (partialBytes + stop - start > lineBytesMax) {
        fail('line_too_long');
        return;
      }
      if (end === -1) {
        // Copied: a few bytes must not keep a large chunk in memory, and the runtime may use it again.
        if (stop > start) partial.push(chunk.slice(start));
        partialBytes += stop - start;
        return;
      }
      const line = Buffer.concat([...partial, chunk.subarray(start, end)]).toString();
      partial = [];
      partialBytes = 0;
      start = end + 1;
      deliver(line);
    }
  }

  function deliver(line: string): void {
    const message = parseObject(line);
    if (message === undefined) fail('malformed_line');
    else onMessage(message);
  }

  return {
    send,
    receive,
    drain: flush,
    closed() {
      finish();
      return fault;
    },
  };
}

function parseObject(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
