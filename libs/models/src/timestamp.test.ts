import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { TIMESTAMP_END_MS, TIMESTAMP_PATTERN, timestampMs } from './timestamp.ts';

const pad = (value: number, width: number) => String(value).padStart(width, '0');

/** Any date, any time, 0 to 9 fraction digits, any offset; many of the dates are not real. */
const looseTimestamp = fc
  .record({
    year: fc.integer({ min: 0, max: 9_999 }),
    month: fc.integer({ min: 0, max: 13 }),
    day: fc.integer({ min: 0, max: 32 }),
    hour: fc.integer({ min: 0, max: 25 }),
    minute: fc.integer({ min: 0, max: 61 }),
    second: fc.integer({ min: 0, max: 61 }),
    fraction: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 9 }),
    offset: fc.oneof(
      fc.constant('Z'),
      fc
        .tuple(fc.constantFrom('+', '-'), fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
        .map(([sign, hours, minutes]) => `${sign}${pad(hours, 2)}:${pad(minutes, 2)}`),
    ),
  })
  .map((t) => {
    const fraction = t.fraction.length === 0 ? '' : `.${t.fraction.join('')}`;
    const time = `${pad(t.hour, 2)}:${pad(t.minute, 2)}:${pad(t.second, 2)}${fraction}`;
    return { ...t, text: `${pad(t.year, 4)}-${pad(t.month, 2)}-${pad(t.day, 2)}T${time}${t.offset}` };
  });

describe('TIMESTAMP_PATTERN', () => {
  test('takes exactly the real dates and times', () => {
    fc.assert(
      fc.property(looseTimestamp, ({ text, year, month, day, hour, minute, second }) => {
        const date = new Date(0);
        date.setUTCFullYear(year, month - 1, day);
        const isReal = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
        expect(TIMESTAMP_PATTERN.test(text)).toBe(isReal && hour < 24 && minute < 60 && second < 60);
      }),
      { numRuns: 3_000 },
    );
  });

  test.each(['2024-02-29', '2000-02-29', '1996-02-29', '2026-04-30', '2026-12-31'])('takes %s', (date) => {
    expect(TIMESTAMP_PATTERN.test(`${date}T23:59:59Z`)).toBe(true);
  });

  test.each(['2023-02-29', '1900-02-29', '2100-02-29', '2026-02-30', '2026-04-31', '2026-00-10', '2026-13-01'])(
    'refuses %s',
    (date) => {
      expect(TIMESTAMP_PATTERN.test(`${date}T00:00:00Z`)).toBe(false);
    },
  );

  test.each([
    '2026-03-14',
    '2026-03-14T09:26Z',
    '2026-03-14T09:26:53',
    '2026-03-14 09:26:53Z',
    '2026-03-14t09:26:53z',
    '2026-03-14T09:26:53.Z',
    '2026-03-14T09:26:53,5Z',
    '2026-03-14T09:26:53.1234567890Z',
    '2026-03-14T24:00:00Z',
    '2026-03-14T23:59:60Z',
    '2026-03-14T09:26:53+0100',
    '2026-03-14T09:26:53+01',
    '2026-03-14T09:26:53+24:00',
    '2026-03-14T09:26:53 +01:00',
    '2026-03-14T09:26:53Z ',
    ' 2026-03-14T09:26:53Z',
    '2026-03-14T09:26:53Z\n',
    '+02026-03-14T09:26:53Z',
    '20260314T092653Z',
    '2026-W11-6T09:26:53Z',
    '1773480413',
    'now',
    '',
    '２０２６-03-14T09:26:53Z',
  ])('refuses %j', (text) => {
    expect(TIMESTAMP_PATTERN.test(text)).toBe(false);
  });
});

describe('timestampMs', () => {
  test('agrees with Date.parse on everything that the pattern takes', () => {
    fc.assert(
      fc.property(looseTimestamp, ({ text, fraction, offset }) => {
        fc.pre(TIMESTAMP_PATTERN.test(text));
        const cut =
          text.slice(0, 19) + (fraction.length === 0 ? '' : `.${fraction.slice(0, 3).join('').padEnd(3, '0')}`);
        expect(timestampMs(text)).toBe(Date.parse(cut + offset));
      }),
      { numRuns: 3_000 },
    );
  });

  test('knows the edges of the allowed range', () => {
    expect(timestampMs('1970-01-01T00:00:00Z')).toBe(0);
    expect(timestampMs('1970-01-01T00:30:00+01:00')).toBe(-1_800_000);
    expect(timestampMs('2199-12-31T23:59:59.999999999Z')).toBe(TIMESTAMP_END_MS - 1);
    expect(timestampMs('2199-12-31T23:59:59-00:01')).toBe(TIMESTAMP_END_MS + 59_000);
  });
});
