/** The whole body in memory, bounded in bytes and time. */
import {
  abandon,
  type BodyReader,
  BodyWait,
  bodyMemoryExhausted,
  ReadWait,
  readFailure,
  requestTimeout,
} from './body-wait.ts';
import { contentEncodingOf } from './content-encoding.ts';
import { decompress, payloadTooLarge } from './decompress.ts';
import { hostOf, markAbandoned, type RequestHost } from './request-context.ts';

export interface ReadBodyOptions {
  /** Bytes as sent, and again bytes after decompression. */
  readonly bytesMax: number;
  /** Milliseconds until the whole body must have arrived. */
  readonly timeoutMs: number;
}

const EMPTY = new Uint8Array(0);
const LENGTH_PATTERN = /^\d{1,15}$/;

/**
 * The decompressed body. Throws 413 `payload_too_large` (from Content-Length before anything is read, else as soon as it is
 * passed), 408 `request_timeout`, 415 `unsupported_encoding`, 400 `malformed_encoding` or `truncated`, and 503
 * `overloaded` when unfinished bodies hold all the memory that they may.
 */
export function readBody(request: Request, options: ReadBodyOptions): Promise<Uint8Array> {
  if (request.headers.has('content-encoding')) return readEncoded(request, options);
  return readRaw(request, options);
}

async function readEncoded(request: Request, options: ReadBodyOptions): Promise<Uint8Array> {
  const encoding = contentEncodingOf(request);
  const raw = await readRaw(request, options);
  return encoding === undefined ? raw : decompress(raw, encoding, options.bytesMax);
}

/** Content-Length, when there is one that is a number; Bun refuses all others but repeated equal ones. */
export function declaredLengthOf(request: Request): number | undefined {
  const header = request.headers.get('content-length');
  if (header === null || !LENGTH_PATTERN.test(header)) return undefined;
  return Number(header);
}

function readRaw(request: Request, options: ReadBodyOptions): Promise<Uint8Array> {
  const declaredBytes = declaredLengthOf(request);
  if (declaredBytes === undefined) return collect(request, options);
  if (declaredBytes > options.bytesMax) return Promise.reject(payloadTooLarge(options.bytesMax));
  const host = hostOf(request);
  if (host !== undefined && !host.reserve(declaredBytes)) return Promise.reject(bodyMemoryExhausted());
  return new Promise((resolve, reject) => {
    const read = new DeclaredRead(request, host, declaredBytes, options.timeoutMs, resolve, reject);
    request.bytes().then(
      (body) => read.arrived(body),
      (error: unknown) => read.failed(error),
    );
  });
}

/** A body whose length is known: Bun collects it. */
class DeclaredRead extends BodyWait {
  readonly #bytes: number;
  readonly #timeoutMs: number;
  readonly #resolve: (body: Uint8Array) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    request: Request,
    host: RequestHost | undefined,
    bytes: number,
    timeoutMs: number,
    resolve: (body: Uint8Array) => void,
    reject: (error: unknown) => void,
  ) {
    super(request, host, timeoutMs);
    this.#bytes = bytes;
    this.#timeoutMs = timeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  arrived(body: Uint8Array): void {
    if (this.end() === 0) return;
    this.host?.release(this.#bytes);
    this.#resolve(body);
  }

  failed(error: unknown): void {
    if (this.end() === 0) return;
    this.host?.release(this.#bytes);
    this.#reject(readFailure(error));
  }

  override onExpired(): void {
    this.host?.release(this.#bytes);
    this.#reject(requestTimeout(this.#timeoutMs));
  }
}

/** A body of unknown length (chunked): read piece by piece, so that it can be given up in between. */
async function collect(request: Request, { bytesMax, timeoutMs }: ReadBodyOptions): Promise<Uint8Array> {
  const { body } = request;
  if (body === null) return EMPTY;
  const host = hostOf(request);
  const reader = body.getReader() as BodyReader;
  const wait = new ReadWait(request, host, timeoutMs, reader);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (wait.isOver) throw requestTimeout(timeoutMs);
      if (done) return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
      if (host !== undefined && !host.reserve(value.length)) throw bodyMemoryExhausted();
      bytes += value.length;
      if (bytes > bytesMax) throw payloadTooLarge(bytesMax);
      chunks.push(value);
    }
  } catch (error) {
    abandon(reader);
    markAbandoned(request);
    throw readFailure(error);
  } finally {
    wait.end();
    host?.release(bytes);
  }
}
