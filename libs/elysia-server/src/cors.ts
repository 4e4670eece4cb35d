/** Which other origins a browser may let use this server. Not a defence of the server: only browsers ask. */

export interface Cors {
  /** Adds what a browser at the request's origin may know; costs one header look-up, nothing without an allow-list. */
  decorate(request: Request, response: Response): void;
  /** The headers that answer a preflight; undefined when the origin may not. */
  preflight(request: Request, methods: readonly string[]): Record<string, string> | undefined;
}

/** Everything that a request to us may carry and that is not on the browsers' own safe list. */
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Encoding',
  'Content-Type',
  'Last-Event-ID',
  'Traceparent',
  'Tracestate',
  'X-Request-Id',
].join(', ');
const RESPONSE_HEADERS = 'Retry-After, Traceparent, WWW-Authenticate, X-Request-Id';
/** Two hours: the longest that Chromium remembers a preflight. */
const PREFLIGHT_MAX_AGE_SECONDS = 7200;

/**
 * `origins`: exact origins (`https://shop.example`), or `*` for all. Credentials only go with exact origins: browsers send
 * beacons in that mode, and `*` with credentials would be every site's.
 */
export function createCors(origins: readonly string[]): Cors {
  const allowed = new Set(origins);
  const any = allowed.has('*');
  const enabled = allowed.size > 0;

  function decorate(request: Request, response: Response): void {
    if (!enabled) return;
    if (any) {
      response.headers.set('access-control-allow-origin', '*');
      response.headers.set('access-control-expose-headers', RESPONSE_HEADERS);
      return;
    }
    // Caches must know that another origin would have got another answer, also when this one got none.
    response.headers.append('vary', 'Origin');
    const origin = request.headers.get('origin');
    if (origin === null || !allowed.has(origin)) return;
    response.headers.set('access-control-allow-origin', origin);
    response.headers.set('access-control-allow-credentials', 'true');
    response.headers.set('access-control-expose-headers', RESPONSE_HEADERS);
  }

  function preflight(request: Request, methods: readonly string[]): Record<string, string> | undefined {
    const origin = request.headers.get('origin');
    if (!enabled || origin === null || !(any || allowed.has(origin))) return undefined;
    // `decorate` adds the origin.
    return {
      'access-control-allow-methods': methods.join(', '),
      'access-control-allow-headers': REQUEST_HEADERS,
      'access-control-max-age': String(PREFLIGHT_MAX_AGE_SECONDS),
    };
  }

  return { decorate, preflight };
}
