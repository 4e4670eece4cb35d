import { expect, test } from 'bun:test';
import { principalOf } from './principal.ts';
import { createTokenCache } from './token-cache.ts';

const until = (expiresAtMs: number) => principalOf({}, expiresAtMs);

test('holds no more than it may, and keeps what is used', () => {
  const cache = createTokenCache(10);
  const kept = until(100);
  cache.set('kept', kept);
  for (let at = 0; at < 1000; at++) {
    cache.set(`t${at}`, until(100));
    expect(cache.get('kept', 0)).toBe(kept);
  }
  const known = Array.from({ length: 1000 }, (_, at) => cache.get(`t${at}`, 0)).filter((one) => one !== undefined);
  expect(known.length).toBeGreaterThan(0);
  expect(known.length).toBeLessThan(10);
});

test('forgets what has expired, in either generation', () => {
  const cache = createTokenCache(2);
  cache.set('a', until(10));
  cache.set('b', until(10));
  expect([cache.get('a', 9) !== undefined, cache.get('b', 9) !== undefined]).toEqual([true, true]);
  expect([cache.get('a', 10), cache.get('b', 10)]).toEqual([undefined, undefined]);
  expect([cache.get('a', 0), cache.get('b', 0)]).toEqual([undefined, undefined]);
});
