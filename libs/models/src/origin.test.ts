import { expect, test } from 'bun:test';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createEventModel } from './event-model.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';
import type { EventOrigin } from './origin.ts';

const receivedAtMs = Date.parse('2026-03-14T09:27:00Z');
const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });

function metadataOf(origin: Omit<EventOrigin, 'receivedAtMs'>, metadata?: object): unknown {
  const { metadata: _, ...event } = EXAMPLE_EVENT;
  const checked = model.check(metadata === undefined ? event : { ...event, metadata }, { receivedAtMs, ...origin });
  if (!checked.ok) throw new Error(checked.message);
  const { metadata: stored, sanitized } = JSON.parse(`${checked.row}}`);
  expect(sanitized).toBeUndefined();
  return stored;
}

const full = { userAgent: 'curl/8', ipAddress: '192.0.2.7', referrer: 'https://shop.example/?a="b"' };

test('each of the three is filled in only where the event has none', () => {
  expect(metadataOf(full)).toEqual(full);
  expect(metadataOf(full, {})).toEqual(full);
  expect(metadataOf(full, { userAgent: 'app' })).toEqual({ ...full, userAgent: 'app' });
  expect(metadataOf(full, { userAgent: '', x: '{' })).toEqual({ ...full, userAgent: '', x: '{' });
  expect(metadataOf(full, { x: {} })).toEqual({ ...full, x: {} });
  expect(metadataOf(full, { ...full, ipAddress: '::1' })).toEqual({ ...full, ipAddress: '::1' });
  expect(metadataOf({ ipAddress: '::1' }, { x: 1 })).toEqual({ ipAddress: '::1', x: 1 });
  expect(metadataOf({}, { x: 1 })).toEqual({ x: 1 });
  expect(metadataOf({}, {})).toEqual({});
});

test('one request does not leak into the next', () => {
  expect(metadataOf({ userAgent: 'a' })).toEqual({ userAgent: 'a' });
  expect(metadataOf({ ipAddress: '::1' })).toEqual({ ipAddress: '::1' });
  expect(metadataOf({})).toEqual({});
});

test('hostile headers are sanitised and cut, never a reason to reject or to mark the event', () => {
  expect(metadataOf({ userAgent: '', referrer: '\0' })).toEqual({});
  expect(metadataOf({ userAgent: '<script>\0', referrer: 'javascript:x' })).toEqual({
    userAgent: '&lt;script>',
    referrer: 'unsafe:javascript:x',
  });
  const long = metadataOf({
    userAgent: '<a'.repeat(5_000),
    ipAddress: '😀'.repeat(99),
    referrer: `x${'😀'.repeat(5_000)}`,
  });
  const { userAgent, ipAddress, referrer } = long as typeof full;
  expect([userAgent.length, ipAddress.length, referrer.length]).toEqual([1_024, 64, 2_048]);
  expect(referrer.isWellFormed()).toBe(true);
});
