import { describe, expect, test } from 'bun:test';
import { failureOf, parseRetryAfter, replyOf } from './downstream-reply.ts';
import { idempotencyKey } from './downstream-request.ts';

test.each([
  [200, 'delivered'],
  [204, 'delivered'],
  [299, 'delivered'],
  [300, 'refused'],
  [304, 'refused'],
  [400, 'refused'],
  [407, 'refused'],
  [451, 'refused'],
  [499, 'refused'],
  [408, 'failed'],
  [425, 'failed'],
  [429, 'failed'],
  [500, 'failed'],
  [501, 'failed'],
  [504, 'failed'],
  [599, 'failed'],
  [999, 'failed'],
] as const)('%d is %s', (status, kind) => {
  expect(replyOf(status, new Headers(), '').kind).toBe(kind);
});

test('what a failure says of the service and of the event', () => {
  const meaning = (status: number) => {
    const reply = replyOf(status, new Headers(), '');
    if (reply.kind !== 'failed') throw new Error(`${status} is no failure`);
    return [reply.code, reply.isOutage, reply.isAnswer, reply.isThrottled];
  };
  expect([500, 507, 502, 503, 504, 429, 408, 425].map(meaning)).toEqual([
    ['http_500', true, true, false],
    ['http_507', true, true, false],
    ['http_502', true, false, false],
    ['http_503', true, false, false],
    ['http_504', true, false, false],
    ['http_429', false, false, true],
    ['http_408', false, false, false],
    ['http_425', false, false, false],
  ]);
});

describe('parseRetryAfter', () => {
  const date = 'Fri, 06 Nov 2026 08:49:37 GMT';
  test.each([
    ['120', undefined, 120_000],
    ['0', undefined, 0],
    [' 5 ', undefined, 5_000],
    ['Fri, 06 Nov 2026 08:50:07 GMT', date, 30_000],
    ['Friday, 06-Nov-26 08:50:07 GMT', date, 30_000],
    ['Fri Nov  6 08:50:07 2026', date, 30_000],
    ['Fri, 06 Nov 2026 08:00:00 GMT', date, 0],
    ['Thu, 01 Jan 1970 00:00:00 GMT', undefined, 0],
    ['', undefined, undefined],
    ['-5', undefined, undefined],
    ['1.5', undefined, undefined],
    ['soon', undefined, undefined],
    ['Fri, 99 Foo 2026', date, undefined],
    ['9'.repeat(40), undefined, undefined],
  ])('%j (Date: %s) is %p ms', (value, now, ms) => {
    const headers = new Headers({ 'retry-after': value, ...(now === undefined ? {} : { date: now }) });
    expect(parseRetryAfter(headers)).toBe(ms);
  });

  test('nothing said', () => {
    expect(parseRetryAfter(new Headers())).toBeUndefined();
  });
});

describe('failureOf', () => {
  test.each([
    ['ECONNREFUSED', 'connection_refused'],
    ['ENOTFOUND', 'dns_failed'],
    ['CERT_HAS_EXPIRED', 'tls_failed'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'tls_failed'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls_failed'],
    ['SOMETHING_NEW', 'network_failed'],
  ])('%s is %s, and its own text, which may hold a secret, is left out', (code, expected) => {
    const error = Object.assign(new TypeError('fetching "http://h/?key=hidden"'), { code });
    const failure = failureOf(error);
    expect(failure).toMatchObject({ kind: 'failed', code: expected, isOutage: true, isAnswer: false });
    expect(failure.message).not.toContain('hidden');
  });

  test('what is no error at all', () => {
    expect(failureOf(undefined).code).toBe('network_failed');
  });
});

describe('idempotencyKey', () => {
  test.each([
    ['0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10', '0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10'],
    ['a/b:c=d&e', 'a/b:c=d&e'],
    ['a b', 'a%20b'],
    ['a%20b', 'a%2520b'],
    ['größe', 'gr%C3%B6%C3%9Fe'],
    ['\ud800', '%EF%BF%BD'],
  ])('%j is %j', (eventId, key) => {
    expect(idempotencyKey(eventId)).toBe(key);
    expect(new Headers({ 'idempotency-key': key }).get('idempotency-key')).toBe(key);
  });
});
