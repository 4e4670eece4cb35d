import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { eventTypeOf, positionOf } from './kafka-audit-row.ts';

const JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';
const row = (over: object = {}) => ({
  storeId: 'store-1',
  eventType: 'item_added',
  eventId: 'e-1',
  data: {},
  journal: JOURNAL,
  seq: 4_711,
  ...over,
});
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
/** What tries to look like the end, or the beginning, of a row. */
const HOSTILE = [
  `,"journal":"${JOURNAL}","seq":9}`,
  '","eventType":"item_removed","',
  '\\","eventType":"item_removed',
  '"',
  '\\',
  'é🛒',
];
const text = fc.oneof(fc.string(), fc.constantFrom(...HOSTILE));

test('position and type of a row, whatever its texts hold and in whatever order its fields stand', () => {
  const seqs = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(text, text, fc.jsonValue(), seqs, fc.boolean(), (storeId, eventId, data, seq, isReversed) => {
      const fields = Object.entries(row({ storeId, eventId, data, seq }));
      const value = bytes(Object.fromEntries(isReversed ? fields.toReversed() : fields));
      expect(positionOf(value)).toEqual({ journal: JOURNAL, seq });
      expect(eventTypeOf(value)).toBe('item_added');
    }),
  );
});

test('another field behind them, or another name for a type, is read as JSON', () => {
  const value = bytes({ ...row({ eventType: 'Ünknown "type"' }), addedLater: [`,"journal":"${JOURNAL}","seq":9}`] });
  expect([positionOf(value), eventTypeOf(value)]).toEqual([{ journal: JOURNAL, seq: 4_711 }, 'Ünknown "type"']);
});

test('what is none of ours has no position', () => {
  const values = [
    '',
    '{',
    'null',
    '7',
    '[]',
    '{"storeId":"',
    ...[{ seq: 0 }, { seq: -1 }, { seq: 1.5 }, { seq: '1' }, { seq: 2 ** 60 }, { journal: 7 }].map((over) =>
      JSON.stringify(row(over)),
    ),
    JSON.stringify({ seq: 1, storeId: 'no journal' }),
  ];
  for (const value of values) expect([value, positionOf(Buffer.from(value))]).toEqual([value, undefined]);
  expect(eventTypeOf(Buffer.from('{"storeId":"a","seq":1}'))).toBeUndefined();
});
