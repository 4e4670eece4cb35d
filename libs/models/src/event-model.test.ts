import { describe, expect, test } from 'bun:test';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createEventModel } from './event-model.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';

const NOW_MS = Date.parse('2026-03-14T09:27:00Z');
const origin = { receivedAtMs: NOW_MS };
const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });

/** Checks the example event with these fields; `undefined` takes a field away, as JSON would have it. */
function check(fields: Record<string, unknown> = {}) {
  return model.check(JSON.parse(JSON.stringify({ ...EXAMPLE_EVENT, ...fields })), origin);
}

/** The row as the reader of the journal sees it. */
function rowOf(checked: ReturnType<typeof check>): Record<string, unknown> {
  if (!checked.ok) throw new Error(`${checked.code} at ${checked.field}: ${checked.message}`);
  return JSON.parse(`${checked.row}}`);
}

describe('the row', () => {
  test('holds the fields in their fixed order and lacks only its brace', () => {
    const checked = check();
    expect(rowOf(checked)).toEqual({ ...EXAMPLE_EVENT, metadata: { ...EXAMPLE_EVENT.metadata } });
    expect(Object.keys(rowOf(checked))).toEqual([
      'storeId',
      'eventType',
      'eventId',
      'timestamp',
      'userId',
      'sessionId',
      'data',
      'metadata',
    ]);
    expect(checked).toMatchObject({
      ok: true,
      key: `garden-shop\0${EXAMPLE_EVENT.eventId}`,
      eventId: EXAMPLE_EVENT.eventId,
      storeId: 'garden-shop',
      sessionId: EXAMPLE_EVENT.sessionId,
      eventType: 'item_added',
      sanitized: false,
    });
  });

  test('begins with storeId and eventType, whatever the ids hold', () => {
    const storeId = '"},"eventType":"x\\';
    const checked = check({ storeId });
    expect(checked.ok && checked.row).toStartWith(`{"storeId":${JSON.stringify(storeId)},"eventType":"item_added",`);
  });

  test('has metadata always, userId only when sent, sanitized only when true', () => {
    const row = rowOf(check({ metadata: undefined, userId: undefined }));
    expect(row['metadata']).toEqual({});
    expect(Object.keys(row)).not.toContain('userId');
    expect(Object.keys(row)).not.toContain('sanitized');
    const changed = check({ data: { title: '<b>' } });
    expect(rowOf(changed)).toMatchObject({ data: { title: '&lt;b>' }, sanitized: true });
    expect(changed.ok && changed.row).toEndWith(',"sanitized":true');
  });

  test('keeps the timestamp as it was sent', () => {
    for (const timestamp of ['2026-03-14T09:26:53.123456789Z', '2026-03-14T10:26:53+01:00', '1970-01-01T00:00:00Z']) {
      expect(rowOf(check({ timestamp }))['timestamp']).toBe(timestamp);
    }
  });

  test('keeps values that need no change as they were sent', () => {
    const data = { a: 'L\'Oréal "x" < y = z\t\n', b: [0.1, 1e21, -5, true, null, {}, []], 日本: '😀', '': '' };
    const checked = check({ data });
    expect(rowOf(checked)['data']).toEqual(data);
    expect(checked).toMatchObject({ sanitized: false });
  });

  test('never changes the value that was sent', () => {
    const sent = { ...EXAMPLE_EVENT, data: { 'a\0': '<b>' }, metadata: { x: '\0' } };
    const before = JSON.stringify(sent);
    expect(model.check(sent, { ...origin, userAgent: 'curl' })).toMatchObject({ ok: true, sanitized: true });
    expect(JSON.stringify(sent)).toBe(before);
  });
});

describe('fields', () => {
  test.each(['eventId', 'eventType', 'timestamp', 'sessionId', 'storeId', 'data'])('%s is required', (field) => {
    expect(check({ [field]: undefined })).toMatchObject({ ok: false, code: 'missing_field', field });
  });

  test.each(['eventId', 'eventType', 'timestamp', 'userId', 'sessionId', 'storeId'])('%s must be a string', (field) => {
    for (const value of [null, 1, true, {}, ['x']]) {
      expect(check({ [field]: value })).toMatchObject({ ok: false, code: 'invalid_type', field });
    }
  });

  test.each(['data', 'metadata'])('%s must be an object', (field) => {
    for (const value of [null, 1, 'x', [], [{}]]) {
      expect(check({ [field]: value })).toMatchObject({ ok: false, code: 'invalid_type', field });
    }
  });

  test.each([
    ['eventId', 128],
    ['userId', 128],
    ['sessionId', 128],
    ['storeId', 64],
  ])('%s has 1 to %d characters', (field, max) => {
    expect(check({ [field]: '' })).toMatchObject({ code: 'too_short', field });
    expect(check({ [field]: 'x'.repeat(max) })).toMatchObject({ ok: true });
    expect(check({ [field]: '😀'.repeat(max) })).toMatchObject({ ok: true });
    expect(check({ [field]: 'x'.repeat(max + 1) })).toMatchObject({ code: 'too_long', field });
    expect(check({ [field]: `${'😀'.repeat(max)}x` })).toMatchObject({ code: 'too_long', field });
  });

  test.each(['eventId', 'userId', 'sessionId', 'storeId'])(
    '%s refuses control characters and lone surrogates',
    (field) => {
      for (const bad of [
        '\0',
        '\t',
        '\n',
        '\x1f',
        '\x7f',
        '\x80',
        '\x85',
        '\x9f',
        '\ud800',
        '\udfff',
        '\ude00\ud83d',
      ]) {
        expect(check({ [field]: `a${bad}b` })).toMatchObject({ code: 'invalid_characters', field });
      }
      for (const good of ['a b', '\u00a0', '😀', '<script>', '../..', "' OR 1=1", '\u2028', '\ufeff', '__proto__']) {
        expect(check({ [field]: good })).toMatchObject({ ok: true, sanitized: false });
      }
    },
  );

  test('unknown ones are refused by name', () => {
    expect(check({ storeid: 'x' })).toMatchObject({ code: 'unknown_field', field: 'storeid' });
    expect(check({ 'a b': 1 })).toMatchObject({ code: 'unknown_field', field: '["a b"]' });
    expect(check({ receivedAt: 'x' })).toMatchObject({ code: 'unknown_field', field: 'receivedAt' });
    expect(check({ sanitized: true })).toMatchObject({ code: 'unknown_field', field: 'sanitized' });
  });

  test('unknown event types are refused by name, with what is known', () => {
    const checked = check({ eventType: 'product_viewed' });
    expect(checked).toMatchObject({ code: 'unknown_event_type', field: 'eventType' });
    expect(!checked.ok && checked.message).toContain('"product_viewed"');
    expect(!checked.ok && checked.message).toContain('cart_created, cart_updated');
    for (const eventType of ['', 'Item_Added', 'item_added ', 'constructor', 'toString']) {
      expect(check({ eventType })).toMatchObject({ code: 'unknown_event_type', field: 'eventType' });
    }
  });

  test('a metadata field of ours is a string of bounded length, stored or sent', () => {
    for (const [field, max] of [
      ['userAgent', 1_024],
      ['ipAddress', 64],
      ['referrer', 2_048],
    ] as const) {
      expect(check({ metadata: { [field]: 'x'.repeat(max) } })).toMatchObject({ ok: true });
      expect(check({ metadata: { [field]: 'x'.repeat(max + 1) } })).toMatchObject({
        code: 'too_long',
        field: `metadata.${field}`,
      });
      expect(check({ metadata: { [field]: null } })).toMatchObject({
        code: 'invalid_type',
        field: `metadata.${field}`,
      });
      const grows = `<a${'x'.repeat(max - 2)}`;
      expect(check({ metadata: { [field]: grows } })).toMatchObject({ code: 'too_long', field: `metadata.${field}` });
    }
    expect(rowOf(check({ metadata: { plugin: { v: [1] } } }))['metadata']).toEqual({ plugin: { v: [1] } });
  });
});

describe('time', () => {
  test('what is no timestamp is refused', () => {
    for (const timestamp of ['', 'yesterday', '2026-03-14', '2026-02-30T00:00:00Z', '2026-03-14T09:26:53']) {
      expect(check({ timestamp })).toMatchObject({ code: 'invalid_timestamp', field: 'timestamp' });
    }
  });

  test('years outside 1970 to 2199 in UTC are refused', () => {
    for (const timestamp of [
      '1969-12-31T23:59:59.999Z',
      '1970-01-01T00:59:59+01:00',
      '0000-01-01T00:00:00Z',
      '2200-01-01T00:00:00Z',
      '9999-12-31T23:59:59Z',
    ]) {
      expect(check({ timestamp })).toMatchObject({ code: 'timestamp_out_of_range', field: 'timestamp' });
    }
  });

  test('up to five minutes ahead is fine, any age too', () => {
    expect(check({ timestamp: '2026-03-14T09:32:00Z' })).toMatchObject({ ok: true });
    expect(check({ timestamp: '2026-03-14T10:32:00.000+01:00' })).toMatchObject({ ok: true });
    expect(check({ timestamp: '2026-03-14T09:32:00.001Z' })).toMatchObject({ code: 'timestamp_in_future' });
    expect(check({ timestamp: '2199-12-31T23:59:59Z' })).toMatchObject({ code: 'timestamp_in_future' });
    expect(check({ timestamp: '1970-01-01T00:00:00Z' })).toMatchObject({ ok: true });
  });

  test('an age limit holds when it is set', () => {
    const strict = createEventModel({ limits: { ...DEFAULT_EVENT_LIMITS, timestampAgeMaxMs: 60_000 } });
    expect(strict.check({ ...EXAMPLE_EVENT, timestamp: '2026-03-14T09:26:00Z' }, origin)).toMatchObject({ ok: true });
    expect(strict.check({ ...EXAMPLE_EVENT, timestamp: '2026-03-14T09:25:59.999Z' }, origin)).toMatchObject({
      code: 'timestamp_too_old',
      field: 'timestamp',
    });
  });
});

describe('a rejection', () => {
  test.each([[null], [undefined], [true], [1], ['x'], [[]], [[EXAMPLE_EVENT]]])(
    'of %j says that it is no event',
    (value) => {
      expect(model.check(value, origin)).toEqual({
        ok: false,
        code: 'invalid_type',
        field: '',
        message: expect.any(String),
        eventId: null,
      });
    },
  );

  test('names the event where its id can be read', () => {
    expect(check({ data: null })).toMatchObject({ ok: false, eventId: EXAMPLE_EVENT.eventId });
    expect(check({ eventId: 'x'.repeat(257) })).toMatchObject({ ok: false, eventId: null });
    expect(check({ eventId: 'a\ud800' })).toMatchObject({ ok: false, eventId: null });
    expect(check({ eventId: 7 })).toMatchObject({ ok: false, eventId: null });
    expect(check({ eventId: 'a\0' })).toMatchObject({ ok: false, eventId: 'a\0' });
  });
});
