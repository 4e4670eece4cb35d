/** Names a request across logs and services: X-Request-Id, and W3C trace context. */

const REQUEST_ID = Symbol('requestId');
const REQUEST_ID_PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;

// https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros only are invalid.
const TRACEPARENT_PATTERN = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

interface NamedRequest extends Request {
  [REQUEST_ID]?: string;
}

/** The caller's X-Request-Id when it is 1–128 of `[A-Za-z0-9._:-]`, else a fresh UUIDv7; the same at every call. */
export function requestIdOf(request: Request): string {
  const named = request as NamedRequest;
  const known = named[REQUEST_ID];
  if (known !== undefined) return known;
  const given = request.headers.get('x-request-id');
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
