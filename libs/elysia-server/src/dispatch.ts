/**
 * What stands between Bun and Elysia: every request that Bun lets through gets a proper answer, and every answer its request
 * id. The usual request (a GET or POST with a full URL) pays for two comparisons, one promise and the id.
 */
import type { Logger } from '@libs/monitoring';
import type { Cors } from './cors.ts';
import { errorResponse, HttpError, internalError } from './http-error.ts';
import { attachHost, attachOriginal, isAbandoned, type RequestHost } from './request-context.ts';
import { nameReply, requestIdOf, shareRequestId, traceparentOf } from './request-id.ts';
import { normalizePath, pathOf } from './request-url.ts';
import type { RouteTable } from './route-table.ts';

export interface DispatchOptions {
  /** Elysia's compiled handler. */
  readonly route: (request: Request) => Response | Promise<Response>;
  readonly routes: RouteTable;
  readonly cors: Cors;
  readonly logger: Logger;
  readonly host: RequestHost;
  readonly draining: () => boolean;
  /** Requests at once; further ones are refused. */
  readonly inFlightMax: number;
}

export interface DispatchCounters {
  requests: number;
  inFlight: number;
  /** Replies by the first digit of their status, 1 to 5. */
  readonly byClass: [number, number, number, number, number];
}

export interface Dispatch {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** Turns what a handler threw into its reply, and logs what was not meant for the client. */
  readonly replyToError: (error: unknown, request: Request) => Response | Promise<Response>;
  readonly counters: Readonly<DispatchCounters>;
}

const SLASH = 0x2f;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/**
 * A peer that is still sending when its connection is closed hears a reset instead of the reply. So Bun goes on reading, and
 * throwing away, for 4 to 8 s; the next request on the connection has the usual limit again.
 */
const LINGER_SECONDS = 8;
const OVERLOADED = new HttpError(503, 'overloaded', 'Too many requests are being handled at once.', {
  headers: { 'retry-after': '1' },
});

export function createDispatch(options: DispatchOptions): Dispatch {
  const { route, routes, cors, logger, host, draining, inFlightMax } = options;
  const counters: DispatchCounters = { requests: 0, inFlight: 0, byClass: [0, 0, 0, 0, 0] };

  function fetch(request: Request): Response | Promise<Response> {
    counters.requests += 1;
    counters.inFlight += 1;
    attachHost(request, host);
    const reply = answer(request);
    if (reply instanceof Response) return finish(request, reply);
    return reply.then(
      (response) => finish(request, response),
      async (error: unknown) => finish(request, await replyToError(error, request)),
    );
  }

  function answer(request: Request): Response | Promise<Response> {
    try {
      if (counters.inFlight > inFlightMax) throw OVERLOADED;
      const { method } = request;
      const isUsual = (method === 'POST' || method === 'GET') && request.url.charCodeAt(0) !== SLASH;
      return isUsual ? route(request) : answerUnusual(request, method);
    } catch (error) {
      return replyToError(error, request);
    }
  }

  function answerUnusual(request: Request, method: string): Response | Promise<Response> {
    if (!METHODS.has(method)) {
      throw new HttpError(501, 'not_implemented', `The method ${method} is not known here.`);
    }
    const path = pathOf(request.url);
    if (request.url.charCodeAt(0) === SLASH) {
      requireUsableHost(request);
      return answerUnusual(rewrite(request, method, path), method);
    }
    if (method === 'OPTIONS' && !routes.hasOwn('OPTIONS', path)) return answerOptions(request, path);
    if (method === 'HEAD' && !routes.hasOwn('HEAD', path) && routes.hasOwn('GET', path)) {
      // Bun sends the length of the body, and not the body.
      return route(rewrite(request, 'GET', path));
    }
    return route(request);
  }

  function answerOptions(request: Request, path: string): Response {
    const methods = routes.methodsOf(path);
    if (methods.length === 0) throw notFound();
    const preflight = request.headers.has('access-control-request-method') ? cors.preflight(request, methods) : {};
    return new Response(null, { status: 204, headers: { allow: methods.join(', '), ...preflight } });
  }

  function replyToMiss(request: Request): Response | Promise<Response> {
    const path = pathOf(request.url);
    const methods = routes.methodsOf(path);
    if (methods.length > 0) {
      const allow = methods.join(', ');
      throw new HttpError(405, 'method_not_allowed', `${path} answers to ${allow} only.`, {
        details: { allow: methods },
        headers: { allow },
      });
    }
    const normalized = normalizePath(path);
    if (normalized === path || routes.methodsOf(normalized).length === 0) throw notFound();
    return route(rewrite(request, request.method, normalized));
  }

  function replyToError(error: unknown, request: Request): Response | Promise<Response> {
    const requestId = requestIdOf(request);
    if (error instanceof HttpError) return errorResponse(error, requestId);
    if (isMiss(error)) {
      try {
        return replyToMiss(request);
      } catch (miss) {
        if (miss instanceof HttpError) return errorResponse(miss, requestId);
        throw miss;
      }
    }
    const path = pathOf(request.url);
    logger.error({ err: error, requestId, method: request.method, path }, 'a handler failed');
    return errorResponse(internalError(error), requestId);
  }

  function finish(request: Request, response: Response): Response {
    counters.inFlight -= 1;
    const { status } = response;
    const index = Math.min(4, Math.max(0, Math.floor(status / 100) - 1)) as 0 | 1 | 2 | 3 | 4;
    counters.byClass[index] += 1;
    nameReply(request, response);
    const traceparent = traceparentOf(request);
    if (traceparent !== undefined) response.headers.set('traceparent', traceparent);
    cors.decorate(request, response);
    if (draining()) response.headers.set('connection', 'close');
    if (status >= 400 && leavesBodyBehind(request)) host.setIdleTimeout(request, LINGER_SECONDS);
    return response;
  }

  return { fetch, replyToError, counters };
}

function notFound(): HttpError {
  return new HttpError(404, 'not_found', 'There is nothing at this path.');
}

/** Elysia's own errors carry a code; this one stands for a path, or a method on it, that has no route. */
function isMiss(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'NOT_FOUND';
}

/** Bun leaves the URL bare when there is no Host, as HTTP/1.0 allows, and when the Host cannot be part of a URL. */
function requireUsableHost(request: Request): void {
  const host = request.headers.get('host');
  if (host !== null && host !== '') throw new HttpError(400, 'invalid_host', 'The Host header is not a host.');
}

/** The same request with another method or path, known to the connection by the original. */
function rewrite(request: Request, method: string, path: string): Request {
  const { url } = request;
  const at = url.indexOf('?');
  const rewritten = new Request(`http://localhost${path}${at === -1 ? '' : url.slice(at)}`, {
    method,
    headers: request.headers,
    signal: request.signal,
    ...(request.body === null || method === 'GET' ? {} : { body: request.body }),
  });
  attachOriginal(rewritten, request);
  shareRequestId(request, rewritten);
  return rewritten;
}

/** True when a refused body is still on its way. */
function leavesBodyBehind(request: Request): boolean {
  if (request.method === 'GET') return false;
  return isAbandoned(request) || (!request.bodyUsed && request.body !== null);
}
