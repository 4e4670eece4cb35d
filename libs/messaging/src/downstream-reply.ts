/** What a reply of a downstream service, or the lack of one, means for the event that was posted. */

/** The service has taken the event. */
export interface Delivered {
  readonly kind: 'delivered';
}

/** The service will never take this event as it is. */
export interface Refused {
  readonly kind: 'refused';
  readonly code: string;
  readonly message: string;
}

/** Sending it again may help. */
export interface Failed {
  readonly kind: 'failed';
  readonly code: string;
  readonly message: string;
  /** The service does not work: the circuit breaker counts it. */
  readonly isOutage: boolean;
  /** The service works and stumbles over something, perhaps this event: it counts towards the event's retries. */
  readonly isAnswer: boolean;
  /** The service asks for less. */
  readonly isThrottled: boolean;
  /** Milliseconds for which the service asks to be left alone. */
  readonly retryAfterMs?: number;
}

export type Reply = Delivered | Refused | Failed;

/** Statuses between the service and us: they say nothing of the event. */
const GATEWAY_STATUSES = new Set([502, 503, 504]);
/** 408 Request Timeout, 425 Too Early, 429 Too Many Requests (RFC 9110, 8470, 6585). */
const RETRYABLE_4XX = new Set([408, 425, 429]);

/** `excerpt` is the beginning of the reply's body, or where a redirect points to; it may be empty. */
export function replyOf(status: number, headers: Headers, excerpt: string): Reply {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  const code = `http_${status}`;
  if (status < 500 && !RETRYABLE_4XX.has(status)) {
    const isRedirect = status >= 300 && status < 400;
    const what = isRedirect ? `a redirect, which is not followed; its url must be the final one` : excerpt;
    const where = isRedirect && excerpt !== '' ? ` (it points to ${excerpt})` : '';
    return { kind: 'refused', code, message: sentence(status, `${what}${where}`) };
  }
  const retryAfterMs = parseRetryAfter(headers);
  return {
    kind: 'failed',
    code,
    message: sentence(status, excerpt),
    isOutage: status >= 500,
    isAnswer: status >= 500 && !GATEWAY_STATUSES.has(status),
    isThrottled: status === 429,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

const sentence = (status: number, what: string) => `it answered ${status}${what === '' ? '' : `: ${what}`}`;

/** Bun's codes of what `fetch` throws, seen with Bun 1.4.5. Its messages hold the whole URL, and are not used. */
const NETWORK_CODES: ReadonlyMap<string, { readonly code: string; readonly message: string }> = new Map([
  ['ECONNREFUSED', { code: 'connection_refused', message: 'nobody listens there, or the host cannot be reached' }],
  ['ECONNRESET', { code: 'connection_reset', message: 'the connection was closed before the reply was complete' }],
  ['ENOTFOUND', { code: 'dns_failed', message: 'the name of the host is not known' }],
  ['EAI_AGAIN', { code: 'dns_failed', message: 'the name server does not answer' }],
  ['EPROTO', { code: 'tls_failed', message: 'the TLS handshake failed: does it speak TLS on this port?' }],
  ['Malformed_HTTP_Response', { code: 'malformed_reply', message: 'what came back is not HTTP' }],
  ['UnrequestedUpgrade', { code: 'malformed_reply', message: 'it answered 101, for which nobody had asked' }],
]);

/** Names of certificate errors: UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_HAS_EXPIRED, ERR_TLS_CERT_ALTNAME_INVALID … */
const CERTIFICATE = /CERT|SIGNATURE|ERR_TLS/;

/** No reply came. Whether the service has taken the event is then not known. */
export function failureOf(error: unknown): Failed {
  const name = String((error as { code?: unknown } | null | undefined)?.code ?? '');
  const known = NETWORK_CODES.get(name) ?? unknownFailure(name);
  return outage(known.code, known.message);
}

export function timeoutFailure(timeoutMs: number): Failed {
  return outage('timeout', `it did not answer within ${timeoutMs} ms`);
}

function unknownFailure(name: string): { readonly code: string; readonly message: string } {
  if (CERTIFICATE.test(name)) return { code: 'tls_failed', message: `its certificate was refused (${name})` };
  return { code: 'network_failed', message: `the request failed${name === '' ? '' : ` (${name})`}` };
}

function outage(code: string, message: string): Failed {
  return { kind: 'failed', code, message, isOutage: true, isAnswer: false, isThrottled: false };
}

/**
 * Milliseconds that `Retry-After` asks for (RFC 9110, section 10.2.3: seconds or a date); undefined when there is none
 * that can be read. A date is taken against the reply's own `Date`, so that two clocks need not agree.
 */
export function parseRetryAfter(headers: Headers): number | undefined {
  const text = headers.get('retry-after')?.trim() ?? '';
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1_000;
  const atMs = parseDate(text);
  if (atMs === undefined) return undefined;
  return Math.max(0, atMs - (parseDate(headers.get('date') ?? '') ?? Date.now()));
}

/** All three forms of an HTTP date begin with the name of a day. */
function parseDate(text: string): number | undefined {
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined;
  // The oldest form (asctime) names no zone and is in UTC all the same.
  const atMs = Date.parse(/GMT$/.test(text) ? text : `${text} GMT`);
  return Number.isNaN(atMs) ? undefined : atMs;
}
