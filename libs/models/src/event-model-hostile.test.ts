import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createEventModel } from './event-model.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';
import { sanitiseObject } from './sanitise.ts';

const origin = { receivedAtMs: Date.parse('2026-03-14T09:27:00Z') };
const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
const BYTES_MAX = DEFAULT_EVENT_LIMITS.eventBytesMax;

const check = (fields: Record<string, unknown>) => model.check({ ...EXAMPLE_EVENT, ...fields }, origin);
const checkText = (text: string) => model.check(JSON.parse(text), origin);
const withField = (member: string) => `{${member},${JSON.stringify(EXAMPLE_EVENT).slice(1)}`;

describe('keys that reach prototypes', () => {
  test.each(['__proto__', 'constructor', 'prototype'])('%s is refused everywhere', (key) => {
    expect(checkText(withField(`"${key}":{"storeId":"x"}`))).toMatchObject({ code: 'forbidden_key', field: key });
    expect(checkText(`{"${key}":${JSON.stringify(EXAMPLE_EVENT)}}`)).toMatchObject({
      code: 'forbidden_key',
      field: key,
    });
    const inside = JSON.parse(`{"a":[{"${key}":1}]}`);
    expect(check({ data: inside })).toMatchObject({ code: 'forbidden_key', field: `data.a[0].${key}` });
    expect(check({ metadata: inside })).toMatchObject({ code: 'forbidden_key', field: `metadata.a[0].${key}` });
    const hidden = { [`\u0000${key}`]: 1 };
    expect(check({ data: hidden })).toMatchObject({ code: 'forbidden_key', field: `data["\\u0000${key}"]` });
    expect(check({ metadata: { a: hidden } })).toMatchObject({ code: 'forbidden_key' });
  });
});

describe('shape', () => {
  test.each(['{"a":', '['])('a million levels of %s are refused without overflow', (open) => {
    const close = open === '[' ? ']' : '}';
    const deep = JSON.parse(`${open.repeat(1_000_000)}1${close.repeat(1_000_000)}`);
    expect(check({ data: { deep } })).toMatchObject({ code: 'too_deep' });
    expect(check({ metadata: { deep } })).toMatchObject({ code: 'too_deep' });
    expect(check({ data: deep })).toMatchObject({ ok: false });
    expect(check({ eventId: deep, storeId: deep })).toMatchObject({ code: 'invalid_type' });
    expect(check({ extra: deep })).toMatchObject({ code: 'unknown_field', field: 'extra' });
    expect(model.check(deep, origin)).toMatchObject({ ok: false });
  });

  test('a hundred thousand unknown fields are refused with a short answer', () => {
    const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`field${index}`, 1]));
    const checked = model.check({ ...EXAMPLE_EVENT, ...wide }, origin);
    expect(checked).toMatchObject({ code: 'unknown_field', field: 'field0' });
    expect(JSON.stringify(checked).length).toBeLessThan(500);
    expect(check({ data: wide })).toMatchObject({ code: 'too_many_keys', field: 'data' });
  });

  test('answers stay short whatever is quoted', () => {
    const long = 'x'.repeat(1_000_000);
    for (const fields of [
      { [long]: 1 },
      { eventType: long },
      { data: { [long]: 1n } },
      { eventId: long },
      { timestamp: long },
    ]) {
      const { eventId: _, ...answer } = check(fields) as { eventId: string | null };
      expect(JSON.stringify(answer).length).toBeLessThan(1_000);
    }
  });
});

describe('size', () => {
  /** The bytes that an event with this title takes as a row. */
  const sizeWith = (title: string) => {
    const checked = createEventModel({ limits: { ...DEFAULT_EVENT_LIMITS, eventBytesMax: 10_000_000 } }).check(
      { ...EXAMPLE_EVENT, data: { title } },
      origin,
    );
    return checked.ok ? Buffer.byteLength(checked.row) : Number.NaN;
  };

  test.each(['x', 'é', '日', '😀', '"', '\n'])('counts the bytes of %j exactly', (unit) => {
    const overhead = sizeWith('');
    const each = sizeWith(unit) - overhead;
    const count = Math.floor((BYTES_MAX - overhead) / each);
    const rest = BYTES_MAX - overhead - count * each;
    const full = unit.repeat(count) + 'x'.repeat(rest);
    expect(sizeWith(full)).toBe(BYTES_MAX);
    expect(check({ data: { title: full } })).toMatchObject({ ok: true });
    expect(check({ data: { title: `${full}x` } })).toMatchObject({ code: 'event_too_large', field: '' });
  });

  test('counts what sanitising adds, and not what it takes away', () => {
    expect(check({ data: { title: '<a'.repeat(20_000) } })).toMatchObject({ code: 'event_too_large' });
    expect(check({ data: { title: '\0'.repeat(60_000) } })).toMatchObject({ ok: true, sanitized: true });
  });

  test('what the server adds never costs an event its place', () => {
    const title = 'x'.repeat(BYTES_MAX - sizeWith(''));
    for (const metadata of [EXAMPLE_EVENT.metadata, undefined]) {
      const { metadata: _, ...bare } = EXAMPLE_EVENT;
      const event = { ...bare, data: { title }, ...(metadata === undefined ? {} : { metadata }) };
      const checked = model.check(event, { ...origin, userAgent: 'u'.repeat(900) });
      expect(checked.ok && Buffer.byteLength(checked.row)).toBeLessThanOrEqual(BYTES_MAX);
      expect(checked.ok && JSON.parse(`${checked.row}}`).metadata).toEqual(metadata ?? {});
    }
  });
});

describe('any JSON at all', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constantFrom(
      '<a',
      "' on=",
      "'",
      '`',
      ' ',
      '\u2028',
      'ONload',
      'on',
      '=',
      'data:',
      'text/html',
      'javascript:',
      ' data:text/html',
      '\u00a0vbscript:',
      '\ufeffJavaScript:',
      '\x7f',
      '\x85',
      '\ud800',
      '"',
      'a\tb',
      'plain',
      'é😀',
      '__proto__',
    ),
  );
  const dangerous = fc.oneof(
    piece,
    fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
  );
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      dangerous,
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      tie('array'),
      tie('object'),
    ),
    array: fc.array(tie('value'), { maxLength: 4 }),
    object: fc.dictionary(dangerous, tie('value'), { maxKeys: 5 }),
  }));

  test('gets a verdict, and what is stored is exactly the sanitised value', () => {
    fc.assert(
      fc.property(json.object, json.object, (rawData, rawMetadata) => {
        const data = JSON.parse(JSON.stringify(rawData));
        const metadata = JSON.parse(JSON.stringify(rawMetadata));
        const checked = check({ data, metadata });
        if (!checked.ok) return;
        const expected = [sanitiseObject(data, 'data'), sanitiseObject(metadata, 'metadata')] as { value: object }[];
        const row = JSON.parse(`${checked.row}}`);
        expect(JSON.stringify(row.data)).toBe(JSON.stringify(expected[0]?.value));
        expect(JSON.stringify(row.metadata)).toBe(JSON.stringify(expected[1]?.value));
        expect(row.sanitized ?? false).toBe(checked.sanitized);
        expect(checked.sanitized).toBe(expected[0]?.value !== data || expected[1]?.value !== metadata);
        expect(Buffer.from(checked.row).toString()).toBe(checked.row);
      }),
      { numRuns: 3_000 },
    );
  });

  test('gets a verdict in the place of any field or of the event', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ noUnicodeString: false }),
        fc.constantFrom(...Object.keys(EXAMPLE_EVENT)),
        (value, field) => {
          expect(typeof check({ [field]: value }).ok).toBe('boolean');
          expect(model.check(value, origin).ok).toBe(false);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
