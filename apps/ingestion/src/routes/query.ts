/** GET and POST /query: passed to deliver, which owns the store, and streamed back as it comes. */
import { allowTime, HttpError, readBody, requestIdOf } from '@libs/elysia-server';
import { Retryable } from '@libs/pipeline';
import type { Elysia } from 'elysia';
import type { RouteDeps } from './deps.ts';
import { guarded } from './guard.ts';
import { QUERY_GET_DETAIL, QUERY_POST_DETAIL } from './openapi-query.ts';
import { queryOf } from './parameters.ts';
import { retryAfterSeconds } from './replies.ts';

/** A killed deliver is back within about a second. */
const RETRY_AFTER_MS = 1000;

/** Headers of one connection (RFC 9110, 7.6.1), and those that a new body or a new host makes wrong. */
const NOT_FORWARDED: readonly string[] = [
  'connection',
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const NOT_RETURNED: readonly string[] = ['connection', 'keep-alive', 'trailer', 'transfer-encoding', 'upgrade'];

export function queryRoutes(app: Elysia, deps: RouteDeps): void {
  const handle = createQueryHandler(deps);
  app.get('/query', guarded(deps.protect, 'read', handle, 'basic'), { detail: QUERY_GET_DETAIL });
  app.post('/query', guarded(deps.protect, 'read', handle, 'basic'), { parse: 'none', detail: QUERY_POST_DETAIL });
}

/**
 * The query is read whole before it is passed on, because deliver must see all of it to allow it; the answer is
 * streamed, and read from deliver no faster than the client takes it.
 */
function createQueryHandler({ ingestion, limits, protect }: RouteDeps): (request: Request) => Promise<Response> {
  return async (request) => {
    const body =
      request.method === 'POST'
        ? await readBody(request, { bytesMax: limits.queryBytesMax, timeoutMs: limits.requestTimeoutMs })
        : undefined;
    allowTime(request, limits.queryTimeoutMs);
    const query = queryOf(request.url);
    // `decompress` is Bun's: the bytes go back as deliver sent them, still matching its Content-Encoding.
    const init: RequestInit & { decompress: boolean } = {
      method: request.method,
      headers: forwardedHeaders(request, protect !== undefined),
      signal: request.signal,
      decompress: false,
      ...(body === undefined ? {} : { body }),
    };
    try {
      const answer = await ingestion.askDeliver(query === '' ? '/query' : `/query?${query}`, init);
      return new Response(passOn(answer.body), { status: answer.status, headers: returnedHeaders(answer.headers) });
    } catch (error) {
      // 499 is what servers log for a client that left; nobody is there to read it.
      if (request.signal.aborted) return new Response(null, { status: 499 });
      if (error instanceof Retryable) throw unavailable(error);
      throw error;
    }
  };
}

/**
 * Given the body itself, Bun writes an error of its own to stderr when deliver dies in mid-answer. This way the client sees
 * a broken connection just the same, and nothing is read before it is wanted.
 */
function passOn(body: ReadableStream<Uint8Array> | null): ReadableStream<Uint8Array> | null {
  if (body === null) return null;
  const reader = body.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function forwardedHeaders(request: Request, hasAuth: boolean): Headers {
  const headers = new Headers(request.headers);
  for (const name of NOT_FORWARDED) headers.delete(name);
  // The token was for us.
  if (hasAuth) headers.delete('authorization');
  headers.set('x-request-id', requestIdOf(request));
  // Without it, fetch would ask for compression that this client may not understand.
  if (!headers.has('accept-encoding')) headers.set('accept-encoding', 'identity');
  return headers;
}

function returnedHeaders(from: Headers): Headers {
  const headers = new Headers(from);
  for (const name of NOT_RETURNED) headers.delete(name);
  return headers;
}

function unavailable(error: Retryable): HttpError {
  return new HttpError(
    503,
    error.code,
    'Queries are not answered at the moment; events are still accepted. Try again shortly.',
    {
      details: { retryAfterMs: RETRY_AFTER_MS },
      headers: { 'retry-after': retryAfterSeconds(RETRY_AFTER_MS) },
      cause: error,
    },
  );
}
