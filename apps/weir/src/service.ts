/** HTTP to a running service. */

/** The service cannot be reached: refused, unknown host, connection lost, or no answer in time. */
export class Unreachable extends Error {
  /** False when there was no connection, so that the service cannot have seen the request. */
  readonly maybeSeen: boolean;
  constructor(message: string, maybeSeen: boolean, cause: unknown) {
    super(message, { cause });
    this.name = 'Unreachable';
    this.maybeSeen = maybeSeen;
  }
}

export interface Service {
  readonly url: string;
  /** Throws `Unreachable` when no answer came; `signal` aborting throws its reason. */
  request(path: string, init: RequestInit, signal?: AbortSignal): Promise<Reply>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** The whole body; throws like `request`. */
  text(): Promise<string>;
  /** The body as it comes; throws like `request`. */
  chunks(): AsyncGenerator<Uint8Array>;
}

const USER_AGENT = 'weir-cli';

/** `timeoutMs` bounds a request from its start to the end of its reply; `token` is for a service that asks for one. */
export function createService(url: string, timeoutMs: number, token?: string): Service {
  async function request(path: string, init: RequestInit, signal?: AbortSignal): Promise<Reply> {
    const timeout = new AbortController();
    // Ended with the request: a timer that ran on would hold the request's body until it fires.
    const timer = setTimeout(() => timeout.abort(new Error('timeout')), timeoutMs);
    const both = signal === undefined ? timeout.signal : AbortSignal.any([timeout.signal, signal]);
    const headers = new Headers(init.headers);
    headers.set('user-agent', USER_AGENT);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);

    async function guard<T>(work: () => Promise<T>, what: string): Promise<T> {
      try {
        return await work();
      } catch (error) {
        clearTimeout(timer);
        signal?.throwIfAborted();
        const why = timeout.signal.aborted ? `no complete answer within ${timeoutMs} ms` : reachError(error);
        throw new Unreachable(`${url} ${what}: ${why}`, !isRefused(error), error);
      }
    }

    const response = await guard(
      () => fetch(url + path, { ...init, headers, signal: both, redirect: 'manual' }),
      'cannot be reached',
    );
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const reader = response.body?.getReader();
      if (reader === undefined) return;
      try {
        for (;;) {
          const { value, done } = await guard(() => reader.read(), 'broke off its answer');
          if (done) return;
          yield value;
        }
      } finally {
        clearTimeout(timer);
        await reader.cancel().catch(() => undefined);
      }
    }
    return {
      status: response.status,
      headers: response.headers,
      text: () => guard(() => response.text(), 'broke off its answer').finally(() => clearTimeout(timer)),
      chunks,
    };
  }
  return { url, request };
}

function isRefused(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code === 'ConnectionRefused' || code === 'ECONNREFUSED';
}

function reachError(error: unknown): string {
  if (isRefused(error)) return 'nothing listens there';
  return error instanceof Error ? error.message : String(error);
}

/** The service's own error body, or what can be said of an answer that has none. */
export interface ServiceError {
  readonly code: string;
  readonly message: string;
}

const MESSAGE_CHARACTERS_MAX = 2000;

/** Reads `{error, message}`; any other text (ClickHouse's exceptions) is the message itself. */
export function readServiceError(status: number, body: string): ServiceError {
  const fallback = {
    code: `http_${status}`,
    message: body.trim().slice(0, MESSAGE_CHARACTERS_MAX) || `HTTP ${status}`,
  };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return fallback;
    throw error;
  }
  if (typeof value !== 'object' || value === null) return fallback;
  const { error, message } = value as Record<string, unknown>;
  if (typeof error !== 'string') return fallback;
  return { code: error, message: typeof message === 'string' ? message.slice(0, MESSAGE_CHARACTERS_MAX) : error };
}

/** Milliseconds that a Retry-After header asks for: seconds or an HTTP date. */
export function retryAfterMs(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
