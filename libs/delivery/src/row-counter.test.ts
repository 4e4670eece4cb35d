import { expect, test } from 'bun:test';
import { Permanent } from '@libs/pipeline';
import fc from 'fast-check';
import { createRowCounter, type FrameExtent } from './row-counter.ts';

const encoder = new TextEncoder();

/** Frames of one text each, one behind the other. */
function lay(texts: readonly { text: string; count: number; timeMs?: number }[]): {
  bytes: Uint8Array;
  frames: FrameExtent[];
} {
  let seq = 0;
  const frames = texts.map(({ text, count, timeMs = 60_000 }) => {
    const firstSeq = seq + 1;
    seq += count;
    return { firstSeq, lastSeq: seq, timeMs, byteLength: encoder.encode(text).byteLength };
  });
  return { bytes: encoder.encode(texts.map(({ text }) => text).join('')), frames };
}

function count(texts: Parameters<typeof lay>[0]) {
  const { bytes, frames } = lay(texts);
  return createRowCounter().count(bytes, frames);
}

const row = (storeId: string, eventType: string, rest: object = { x: 1 }): string =>
  `${JSON.stringify({ storeId, eventType, ...rest })}\n`;

test('rows are counted by minute, store and type', () => {
  const counts = count([
    { text: row('a', 't') + row('a', 'u') + row('a', 't'), count: 3, timeMs: 59_999 },
    { text: row('a', 't'), count: 1, timeMs: 60_000 },
    { text: row('b', 't') + row('a', 't'), count: 2, timeMs: 119_999 },
  ]);
  expect(counts).toEqual([
    { minute: 0, storeId: 'a', eventType: 't', count: 2 },
    { minute: 0, storeId: 'a', eventType: 'u', count: 1 },
    { minute: 1, storeId: 'a', eventType: 't', count: 2 },
    { minute: 1, storeId: 'b', eventType: 't', count: 1 },
  ]);
});

test.each([
  'plain',
  'ends with a backslash \\',
  'quote "',
  '","eventType":"',
  '\\","eventType":"',
  'tab\tnewline\nü€😀',
  '{"storeId":"x","eventType":"y","',
])('a storeId or type of %p is read as it is', (value) => {
  const counted = { minute: 1, storeId: value, eventType: value, count: 2 };
  expect(count([{ text: row(value, value).repeat(2), count: 2 }])).toEqual([counted]);
});

test('what the rest of a row holds does not matter', () => {
  const rest = { eventId: 'e', data: '{"storeId":"no","eventType":"no","x":"\n"}' };
  expect(count([{ text: row('a', 't', rest), count: 1 }])).toEqual([
    { minute: 1, storeId: 'a', eventType: 't', count: 1 },
  ]);
});

test.each([
  ['a row is missing', [{ text: row('a', 't'), count: 2 }], 'row_count_mismatch'],
  ['there is a row too many', [{ text: row('a', 't').repeat(2), count: 1 }], 'row_count_mismatch'],
  ['the last line feed is missing', [{ text: row('a', 't').trimEnd(), count: 1 }], 'row_count_mismatch'],
  [
    'one frame has what the next lacks',
    [
      { text: row('a', 't').repeat(2), count: 1 },
      { text: '', count: 1 },
    ],
    'row_count_mismatch',
  ],
  ['a row begins with another field', [{ text: '{"eventId":"e","storeId":"a"}\n', count: 1 }], 'row_malformed'],
  ['a row has blanks', [{ text: '{ "storeId":"a","eventType":"t","x":1}\n', count: 1 }], 'row_malformed'],
  ['a row is empty', [{ text: '\n', count: 1 }], 'row_malformed'],
  [
    'a row ends before its type does',
    [{ text: `{"storeId":"a","eventType":"t"}\n${row('b', 'u')}`, count: 2 }],
    'row_malformed',
  ],
  ['a storeId is no JSON string', [{ text: '{"storeId":"\\q","eventType":"t","x":1}\n', count: 1 }], 'row_malformed'],
])('%s: refused', (_name, texts, code) => {
  const counter = createRowCounter();
  const { bytes, frames } = lay(texts);
  let thrown: unknown;
  try {
    counter.count(bytes, frames);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(Permanent);
  expect((thrown as Permanent).code).toBe(code);
  const next = lay([{ text: row('a', 't'), count: 1 }]);
  expect(counter.count(next.bytes, next.frames)).toEqual([{ minute: 1, storeId: 'a', eventType: 't', count: 1 }]);
});

test('any rows in any frames: the sums are those of the rows', () => {
  const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('"', '\\', '","', '\\"', 'é'));
  const frame = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 20 });
  const counter = createRowCounter();
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 10 }), (frames) => {
      const { bytes, frames: extents } = lay(
        frames.map((rows, index) => ({
          text: rows.map(([store, type]) => row(store, type)).join(''),
          count: rows.length,
          timeMs: index * 30_000,
        })),
      );
      const expected = new Map<string, number>();
      for (const [index, rows] of frames.entries()) {
        for (const [store, type] of rows) {
          const key = JSON.stringify([Math.floor(index / 2), store, type]);
          expected.set(key, (expected.get(key) ?? 0) + 1);
        }
      }
      const found = new Map<string, number>();
      for (const { minute, storeId, eventType, count: n } of counter.count(bytes, extents)) {
        const key = JSON.stringify([minute, storeId, eventType]);
        found.set(key, (found.get(key) ?? 0) + n);
      }
      expect(found).toEqual(expected);
    }),
  );
});

test('more stores than are remembered, and frames larger than a run, are counted all the same', () => {
  const stores = 70_000;
  const texts = [0, 1, 2].map((part) => ({
    text: Array.from({ length: stores }, (_, index) => row(`store-${(index + part) % stores}`, 't')).join(''),
    count: stores,
  }));
  const totals = new Map<string, number>();
  for (const { storeId, count: n } of count(texts)) totals.set(storeId, (totals.get(storeId) ?? 0) + n);
  expect(totals.size).toBe(stores);
  expect([...totals.values()].every((n) => n === 3)).toBe(true);
});
