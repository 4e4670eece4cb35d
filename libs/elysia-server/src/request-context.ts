/**
 * What belongs to one request beside what it says itself. It hangs on the request object under symbols: a property
 * costs a few nanoseconds, a WeakMap a hundred, and most requests never ask.
 */
import type { Deadlines } from './deadlines.ts';

/** What the body readers need of the server that a request came in by. */
export interface RequestHost {
  readonly deadlines: Deadlines;
  /** Takes `bytes` of the memory that unfinished bodies may hold together; false when there is not enough left. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
  /** How long the connection may stay idle: seconds, 0 for no limit, at most 255. */
  setIdleTimeout(request: Request, seconds: number): void;
  /** Back to what the connection had. */
  resetIdleTimeout(request: Request): void;
  address(request: Request): string | undefined;
}

const HOST = Symbol('host');
const ORIGINAL = Symbol('original');
const ABANDONED = Symbol('abandoned');

interface HostedRequest extends Request {
  [HOST]?: RequestHost;
  [ORIGINAL]?: Request;
  [ABANDONED]?: boolean;
}

export function attachHost(request: Request, host: RequestHost): void {
  (request as HostedRequest)[HOST] = host;
}

/** Undefined for a request that did not come in by a socket (a test's `app.handle`). */
export function hostOf(request: Request): RequestHost | undefined {
  return (request as HostedRequest)[HOST];
}

/** `rewritten` stands in for `original` in routing, but the connection is known by the original. */
export function attachOriginal(rewritten: Request, original: Request): void {
  const host = hostOf(original);
  if (host !== undefined) attachHost(rewritten, host);
  (rewritten as HostedRequest)[ORIGINAL] = originalOf(original);
}

/** The request as the socket gave it, whose connection Bun knows. */
export function originalOf(request: Request): Request {
  return (request as HostedRequest)[ORIGINAL] ?? request;
}

/**
 * True for a HEAD that a GET route answers: its body is thrown away, so one that takes work, or never ends, need not be
 * made.
 */
export function isHead(request: Request): boolean {
  return originalOf(request).method === 'HEAD';
}

/** Its body was given up half-way: what still comes on the connection belongs to it. */
export function markAbandoned(request: Request): void {
  (originalOf(request) as HostedRequest)[ABANDONED] = true;
}

export function isAbandoned(request: Request): boolean {
  return (request as HostedRequest)[ABANDONED] === true;
}

/** The address of the connection's other end (a proxy, where there is one); undefined once it has gone. */
export function clientAddressOf(request: Request): string | undefined {
  return hostOf(request)?.address(originalOf(request));
}

/** Bun's timers count in units of 4 s and take at most 255 s. */
const IDLE_TIMEOUT_MAX_SECONDS = 255;
const IDLE_TIMEOUT_MARGIN_SECONDS = 8;

/**
 * A connection whose reply takes longer than the idle timeout is closed: a handler that may wait that long (a query,
 * a wait for `stored`) says so first. At most 247,000 ms; the connection keeps this limit afterwards.
 */
export function allowTime(request: Request, timeoutMs: number): void {
  const seconds = Math.ceil(timeoutMs / 1000) + IDLE_TIMEOUT_MARGIN_SECONDS;
  hostOf(request)?.setIdleTimeout(originalOf(request), Math.min(seconds, IDLE_TIMEOUT_MAX_SECONDS));
}
