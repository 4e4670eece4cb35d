import { expect, test } from 'bun:test';
import { createIdStamp, eventText, ID_OFFSET, newNonce, STAMP_DIGITS, type Titles } from './events.ts';
import { createRandom } from './random.ts';

interface SentEvent {
  readonly eventType: string;
  readonly storeId: string;
  readonly timestamp: string;
  readonly userId: string;
  readonly sessionId: string;
  readonly data: { readonly productId: string; readonly price: number; readonly title: string };
  readonly metadata: { readonly userAgent: string };
}

const NOW_MS = Date.UTC(2026, 2, 14);
const NONCE = '0123456789ab';

function events(count: number, titles: Titles = 'ascii') {
  const random = createRandom(7);
  return Array.from({ length: count }, () => eventText({ random, nowMs: NOW_MS, nonce: NONCE, titles }));
}

test('an event has about 330 bytes, whichever of its values were drawn', () => {
  const sizes = events(5_000).map((text) => Buffer.byteLength(text));
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  expect(mean).toBeGreaterThan(325);
  expect(mean).toBeLessThan(335);
  expect(Math.min(...sizes)).toBeGreaterThan(300);
  expect(Math.max(...sizes)).toBeLessThan(360);
});

test('every field varies, and the stores are about 50', () => {
  const parsed = events(5_000).map((text) => JSON.parse(text) as SentEvent);
  const distinct = (read: (event: SentEvent) => unknown) => new Set(parsed.map(read)).size;
  expect(distinct(({ eventType }) => eventType)).toBe(6);
  expect(distinct(({ storeId }) => storeId)).toBe(50);
  expect(distinct(({ timestamp }) => timestamp)).toBeGreaterThan(4_900);
  expect(distinct(({ userId }) => userId)).toBeGreaterThan(4_800);
  expect(distinct(({ sessionId }) => sessionId)).toBe(5_000);
  expect(distinct(({ data }) => data.productId)).toBeGreaterThan(4_900);
  expect(distinct(({ data }) => data.price)).toBeGreaterThan(4_500);
  expect(distinct(({ data }) => data.title)).toBeGreaterThan(3_000);
  expect(distinct(({ metadata }) => metadata.userAgent)).toBeGreaterThan(4_500);
});

test('the same seed gives the same events', () => {
  expect(events(20)).toEqual(events(20));
});

test('mixed titles go beyond ASCII now and then, plain ones never', () => {
  const beyond = (titles: Titles) =>
    events(2_000, titles).filter((text) => Buffer.byteLength(text) !== text.length).length;
  expect(beyond('ascii')).toBe(0);
  expect(beyond('mixed')).toBeGreaterThan(20);
  expect(beyond('mixed')).toBeLessThan(300);
});

test('stamps make a million different ids of one event, and leave the rest of it alone', () => {
  const text = events(1)[0] as string;
  const bytes = Buffer.from(text);
  const stamp = createIdStamp();
  const ids = new Set<string>();
  for (let round = 0; round < 1_000_000; round++) {
    stamp.write(bytes, ID_OFFSET);
    ids.add(bytes.toString('latin1', ID_OFFSET, ID_OFFSET + STAMP_DIGITS));
  }
  expect(ids.size).toBe(1_000_000);
  expect(stamp.count()).toBe(1_000_000);
  const stamped = JSON.parse(bytes.toString());
  expect(stamped).toEqual({ ...JSON.parse(text), eventId: stamped.eventId });
  expect(stamped.eventId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-0123456789ab$/);
});

test('a nonce has 12 hexadecimal digits and is another one each time', () => {
  const nonces = Array.from({ length: 1_000 }, newNonce);
  expect(new Set(nonces).size).toBe(1_000);
  for (const nonce of nonces) expect(nonce).toMatch(/^[0-9a-f]{12}$/);
});
