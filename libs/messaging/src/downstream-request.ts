/** One event, one POST: bounded in time and in what is read of the reply. */
import type { StoredRow } from '@libs/models';
import { GivenUp } from './downstream-breaker.ts';
import type { Downstream } from './downstream-options.ts';
import { failureOf, type Reply, replyOf, timeoutFailure } from './downstream-reply.ts';

/** What a dead letter keeps of the reply's body. */
const EXCERPT_CHARS_MAX = 300;
const EXCERPT_BYTES_MAX = 4 * EXCERPT_CHARS_MAX;
/** Shorter header values are no secrets, and would black out half of an excerpt. */
const SECRET_CHARS_MIN = 6;

export type Post = (row: StoredRow, signal: AbortSignal) => Promise<Reply>;

export type RequestOptions = Pick<Downstream, 'url' | 'headers' | 'timeoutMs' | 'replyBytesMax'>;

/** The returned function throws nothing but `GivenUp`: when its signal aborts before the service has answered. */
export function createPost({ url, headers, timeoutMs, replyBytesMax }: RequestOptions): Post {
  const secrets = secretsOf(headers);

  function send(row: StoredRow, signal: AbortSignal): Promise<Response> {
    return fetch(url, {
      method: 'POST',
      redirect: 'manual',
      // A compressed reply could be far longer than its bytes.
      decompress: false,
      signal,
      body: row.bytes,
      headers: {
        'user-agent': 'weir',
        'accept-encoding': 'identity',
        ...headers,
        'content-type': 'application/json',
        'idempotency-key': idempotencyKey(row.eventId),
      },
    });
  }

  /** The status decides, and nothing that happens to the body after it changes the verdict. */
  async function read(response: Response, ended: Promise<undefined>): Promise<Reply> {
    const body = await drain(response, ended, replyBytesMax);
    const { status } = response;
    const isRedirect = status >= 300 && status < 400;
    return replyOf(status, response.headers, isRedirect ? redirectTarget(response, url) : excerptOf(body, secrets));
  }

  return async (row, signal) => {
    if (signal.aborted) throw new GivenUp();
    const limit = createTimeLimit(signal, timeoutMs);
    try {
      const sent = send(row, limit.signal).catch((error: unknown) => failureOf(error));
      const answer = await Promise.race([sent, limit.ended]);
      if (answer instanceof Response) return await read(answer, limit.ended);
      if (signal.aborted) throw new GivenUp();
      return answer === undefined || limit.signal.aborted ? timeoutFailure(timeoutMs) : answer;
    } finally {
      limit.clear();
    }
  };
}

/** Ends what uses `signal` when the time is over or the outer signal aborts; `ended` then resolves. */
function createTimeLimit(outer: AbortSignal, timeoutMs: number) {
  const controller = new AbortController();
  const { promise: ended, resolve } = Promise.withResolvers<undefined>();
  const end = (): void => {
    resolve(undefined);
    controller.abort();
  };
  const timer = setTimeout(end, timeoutMs);
  outer.addEventListener('abort', end, { once: true });
  return {
    signal: controller.signal,
    ended,
    clear() {
      clearTimeout(timer);
      outer.removeEventListener('abort', end);
    },
  };
}

/**
 * Reads the body to its end, so that the connection can be used again, unless it is too long, takes too long or breaks
 * off: then the connection is closed. Returns its beginning.
 */
async function drain(response: Response, ended: Promise<undefined>, bytesMax: number): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const start: Uint8Array[] = [];
  let byteLength = 0;
  const brokenOff = () => undefined;
  while (byteLength <= bytesMax) {
    const chunk = await Promise.race([reader.read().catch(brokenOff), ended]);
    if (chunk === undefined) break;
    if (chunk.done) return Buffer.concat(start);
    if (byteLength < EXCERPT_BYTES_MAX) start.push(chunk.value);
    byteLength += chunk.value.byteLength;
  }
  reader.cancel().catch(brokenOff);
  return Buffer.concat(start).subarray(0, EXCERPT_BYTES_MAX);
}

/**
 * Header values are visible ASCII, eventIds any text: one that is not is percent-encoded, as is one with a percent
 * sign, so that two ids never share a key.
 */
export function idempotencyKey(eventId: string): string {
  return /^[\x21-\x24\x26-\x7e]*$/.test(eventId) ? eventId : encodeURIComponent(eventId.toWellFormed());
}

/** What a service may send back of our headers: the values, and the token in `Bearer <token>`. Longest first. */
function secretsOf(headers: Readonly<Record<string, string>>): readonly string[] {
  return Object.values(headers)
    .flatMap((value) => [value, ...value.split(/[\s,;]+/)])
    .filter((secret) => secret.length >= SECRET_CHARS_MIN)
    .toSorted((one, other) => other.length - one.length);
}

function excerptOf(body: Uint8Array, secrets: readonly string[]): string {
  let text = new TextDecoder().decode(body.subarray(0, EXCERPT_BYTES_MAX));
  for (const secret of secrets) text = text.replaceAll(secret, '***');
  const line = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return line.length <= EXCERPT_CHARS_MAX ? line : `${line.slice(0, EXCERPT_CHARS_MAX).toWellFormed()}…`;
}

/** Without its query, which may hold a secret. */
function redirectTarget(response: Response, url: string): string {
  const target = URL.parse(response.headers.get('location') ?? '', url);
  return target === null ? '' : `${target.origin}${target.pathname}`.slice(0, EXCERPT_CHARS_MAX);
}
