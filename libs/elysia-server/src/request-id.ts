/** Names a request across logs and services: X-Request-Id, and W3C trace context. */

const REQUEST_ID_HEADER = 'x-request-id';
const REQUEST_ID = Symbol('requestId');
const IS_NAMED = Symbol('isNamed');
const REQUEST_ID_PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;

// https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros only are invalid.
const TRACEPARENT_PATTERN = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

interface NamedRequest extends Request {
  [REQUEST_ID]?: string;
}

interface NamedResponse extends Response {
  [IS_NAMED]?: boolean;
}

/** The caller's X-Request-Id when it is 1–128 of `[A-Za-z0-9._:-]`, else a fresh UUIDv7; the same at every call. */
export function requestIdOf(request: Request): string {
  const named = request as NamedRequest;
  const known = named[REQUEST_ID];
  if (known !== undefined) return known;
  const given = request.headers.get(REQUEST_ID_HEADER);
  const id = given !== null && REQUEST_ID_PATTERN.test(given) ? given : Bun.randomUUIDv7();
  named[REQUEST_ID] = id;
  return id;
}

/** The caller's `traceparent` when it is valid; undefined otherwise. */
export function traceparentOf(request: Request): string | undefined {
  const given = request.headers.get('traceparent');
  return given !== null && TRACEPARENT_PATTERN.test(given) ? given : undefined;
}

/** Makes `target` answer to the id of `source`. */
export function shareRequestId(source: Request, target: Request): void {
  (target as NamedRequest)[REQUEST_ID] = requestIdOf(source);
}

/**
 * A JSON reply that carries the request's id already: to look into a response's headers once it is made, and to add one,
 * costs as much again as to make it.
 */
export function jsonReply(
  request: Request,
  status: number,
  text: string,
  headers?: Readonly<Record<string, string>>,
): Response {
  const named = { 'content-type': 'application/json', [REQUEST_ID_HEADER]: requestIdOf(request) };
  const response: NamedResponse = new Response(text, {
    status,
    headers: headers === undefined ? named : { ...named, ...headers },
  });
  response[IS_NAMED] = true;
  return response;
}

/** Puts the request's id on a reply that does not carry it yet. */
export function nameReply(request: Request, response: Response): void {
  if ((response as NamedResponse)[IS_NAMED] !== true) response.headers.set(REQUEST_ID_HEADER, requestIdOf(request));
}
