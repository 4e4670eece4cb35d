/** Waiting for the peer's next bytes, within a deadline, and what can go wrong meanwhile. */
import { createDeadlines, type Deadline, type Deadlines } from './deadlines.ts';
import { truncated } from './decompress.ts';
import { HttpError } from './http-error.ts';
import { originalOf, type RequestHost } from './request-context.ts';

const STANDALONE_TICK_MS = 50;

/**
 * A wait for the peer. Once it is long, Bun's own idle timeout, which would close the connection without a word, is put
 * off until it is over. A class, and its subclass for the usual body, because one is made for every request: closures
 * would cost several times as much.
 */
export class BodyWait implements Deadline {
  ticksLeft = 0;
  sweeps = 0;
  slot = -1;
  /** Ended, or expired. */
  isOver = false;
  readonly request: Request;
  readonly host: RequestHost | undefined;
  readonly #deadlines: Deadlines;
  #isHeldOpen = false;

  constructor(request: Request, host: RequestHost | undefined, timeoutMs: number) {
    this.request = request;
    this.host = host;
    this.#deadlines = host?.deadlines ?? createDeadlines(Math.min(STANDALONE_TICK_MS, timeoutMs));
    this.#deadlines.add(this, timeoutMs);
  }

  /** Ends the wait; returns the milliseconds that were left, 0 when it had expired. */
  end(): number {
    if (this.isOver) return 0;
    this.#close();
    return this.#deadlines.remove(this);
  }

  expired(): void {
    this.#close();
    this.onExpired();
  }

  /** For subclasses: what else happens when the time is up. */
  onExpired(): void {}

  slow(): void {
    this.#isHeldOpen = true;
    this.host?.setIdleTimeout(originalOf(this.request), 0);
  }

  #close(): void {
    this.isOver = true;
    if (this.#isHeldOpen) this.host?.resetIdleTimeout(originalOf(this.request));
  }
}

export type BodyReader = ReadableStreamDefaultReader<Uint8Array>;

/** Stops reading; a read that is pending ends. Does not wait for what a stalled peer may never send. */
export function abandon(reader: BodyReader): void {
  reader.cancel().catch(() => undefined);
}

/** A wait for the next piece: when it is over, the read that is pending ends. */
export class ReadWait extends BodyWait {
  readonly #reader: BodyReader;

  constructor(request: Request, host: RequestHost | undefined, timeoutMs: number, reader: BodyReader) {
    super(request, host, timeoutMs);
    this.#reader = reader;
  }

  override onExpired(): void {
    abandon(this.#reader);
  }
}

/** Bun rejects with an AbortError when the peer goes away, or sends no proper chunks, before the end of the body. */
export function readFailure(error: unknown): unknown {
  if (error instanceof Error && error.name === 'AbortError') return truncated();
  return error;
}

export function requestTimeout(timeoutMs: number): HttpError {
  return new HttpError(408, 'request_timeout', `The body did not arrive within ${timeoutMs} ms.`, {
    details: { timeoutMs },
    headers: { connection: 'close' },
  });
}

export function bodyMemoryExhausted(): HttpError {
  return new HttpError(503, 'overloaded', 'Too many bodies are being received at once. Send it again later.', {
    headers: { 'retry-after': '1' },
  });
}
