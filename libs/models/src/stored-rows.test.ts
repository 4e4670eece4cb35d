import { describe, expect, test } from 'bun:test';
import { Permanent } from '@libs/pipeline';
import fc from 'fast-check';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createEventModel } from './event-model.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';
import { readStoredRows, type StoredRow } from './stored-rows.ts';

const JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';
const RECEIVED_AT = '2025-06-15T12:00:00.123Z';

/** A row as accept writes it; `over` replaces fields, `undefined` removes one. */
function rowText(seq: number, over: Record<string, unknown> = {}): string {
  return JSON.stringify({
    storeId: 'store-1',
    eventType: 'item_added',
    eventId: `event-${seq}`,
    timestamp: '2025-06-15T11:59:59.5+02:00',
    userId: 'user-1',
    sessionId: 'session-1',
    data: { sku: 'a' },
    metadata: {},
    receivedAt: RECEIVED_AT,
    journal: JOURNAL,
    seq,
    ...over,
  });
}

const lines = (texts: readonly string[]) => Buffer.from(texts.map((text) => `${text}\n`).join(''));
const read = (texts: readonly string[], firstSeq: number) => readStoredRows([lines(texts)], firstSeq);
const utf8 = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');

/** What the row is by JSON.parse alone. */
function expected(text: string, seq: number): Record<string, unknown> {
  const { storeId, eventType, eventId, sessionId, timestamp, receivedAt } = JSON.parse(text);
  const time = (value: string) => Math.floor(Date.parse(value));
  return { seq, storeId, eventType, eventId, sessionId, happened: time(timestamp), received: time(receivedAt), text };
}

function seen(row: StoredRow): Record<string, unknown> {
  const { seq, storeId, eventType, eventId, sessionId, timestampMs, receivedAtMs, bytes } = row;
  const ids = { seq, storeId, eventType, eventId, sessionId };
  return { ...ids, happened: timestampMs, received: receivedAtMs, text: utf8(bytes) };
}

test('reads what accept writes', () => {
  const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
  const checked = model.check({ ...EXAMPLE_EVENT }, { receivedAtMs: Date.parse(EXAMPLE_EVENT.timestamp) });
  if (!checked.ok) throw new Error(checked.message);
  const text = `${checked.row},"receivedAt":"${RECEIVED_AT}","journal":"${JOURNAL}","seq":42}`;
  expect(read([text], 42).map(seen)).toEqual([expected(text, 42)]);
});

test('no rows, and rows over several chunks', () => {
  expect(readStoredRows([], 1)).toEqual([]);
  const texts = Array.from({ length: 12 }, (_, index) => rowText(index + 95));
  const rows = readStoredRows([lines(texts.slice(0, 5)), lines([]), lines(texts.slice(5))], 95);
  expect(rows.map(seen)).toEqual(texts.map((text, index) => expected(text, index + 95)));
});

test('a chunk larger than what is read at a time, rows that are larger themselves, and a view into a larger buffer', () => {
  const texts = Array.from({ length: 40 }, (_, index) =>
    rowText(index + 1, { data: { text: 'é'.repeat(index === 17 ? 300_000 : 20_000) } }),
  );
  const bytes = lines(texts);
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 7);
  const rows = readStoredRows([larger.subarray(7, 7 + bytes.length)], 1);
  expect(rows.map(seen)).toEqual(texts.map((text, index) => expected(text, index + 1)));
  expect(rows[3]?.bytes.buffer).toBe(larger.buffer);
});

const pieces = ['","eventType":"', '","eventId":"', '","timestamp":"', '","userId":"', '","sessionId":"', '","data":'];
const hostile = fc
  .array(fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.constantFrom(...pieces, '"', '\\', '",', '\\"')), {
    maxLength: 6,
  })
  .map((parts) => parts.join(''));
const date = fc.date({ min: new Date(0), max: new Date(7_258_118_399_999), noInvalidDate: true });
const time = date.map((value) => value.toISOString());
const base = {
  storeId: hostile,
  eventType: hostile,
  eventId: hostile,
  timestamp: time,
  sessionId: hostile,
  data: fc.dictionary(hostile, fc.oneof(hostile, fc.double(), fc.constantFrom({}, [], null))),
  metadata: fc.dictionary(hostile, hostile),
  receivedAt: time,
};

describe('is what JSON.parse reads', () => {
  test('whatever the values hold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.record(base), fc.option(hostile, { nil: undefined }), fc.boolean()), { maxLength: 5 }),
        fc.integer({ min: 1, max: 2 ** 52 }),
        (rows, firstSeq) => {
          const texts = rows.map(([row, userId, sanitized], index) => {
            const { storeId, eventType, eventId, timestamp, sessionId, data, metadata, receivedAt } = row;
            const head = { storeId, eventType, eventId, timestamp, ...(userId === undefined ? {} : { userId }) };
            const mark = sanitized ? { sanitized: true } : {};
            const tail = { ...mark, receivedAt, journal: JOURNAL, seq: firstSeq + index };
            return JSON.stringify({ ...head, sessionId, data, metadata, ...tail });
          });
          expect(read(texts, firstSeq).map(seen)).toEqual(texts.map((text, at) => expected(text, firstSeq + at)));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('in whatever order the fields stand, and whatever stands between them', () => {
    const names = [...Object.keys(base), 'userId', 'seq', 'journal', 'added', 'nested'];
    fc.assert(
      fc.property(
        fc.record({ ...base, added: hostile }),
        fc.shuffledSubarray(names, { minLength: 13 }),
        (row, order) => {
          const nested = { eventId: 'x', sessionId: 'y', receivedAt: 'z', journal: JOURNAL, seq: 9 };
          const all: Record<string, unknown> = { ...row, userId: row.added, journal: JOURNAL, seq: 9, nested };
          const text = JSON.stringify(Object.fromEntries(order.map((name) => [name, all[name]])));
          expect(read([text], 9).map(seen)).toEqual([expected(text, 9)]);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

test('of some types: the same rows as of all', () => {
  const types = fc.constantFrom('item_added', 'item_removed', 'a"b\\', 'é');
  const order = fc.boolean();
  fc.assert(
    fc.property(fc.array(fc.tuple(types, order)), fc.subarray(['item_added', 'a"b\\', 'é']), (rows, wanted) => {
      const texts = rows.map(([eventType, isReversed], index) => {
        const fields = Object.entries(JSON.parse(rowText(index + 1, { eventType })));
        return JSON.stringify(Object.fromEntries(isReversed ? fields.toReversed() : fields));
      });
      const chosen = new Set(wanted);
      const all = read(texts, 1).filter(({ eventType }) => chosen.has(eventType));
      expect(readStoredRows([lines(texts)], 1, chosen).map(seen)).toEqual(all.map(seen));
    }),
  );
});

test('times that cannot be read are not made up', () => {
  const [row] = read([rowText(1, { timestamp: 'yesterday', receivedAt: 'today' })], 1);
  expect(row).toMatchObject({ timestampMs: undefined, receivedAtMs: Number.NaN });
});

test.each([
  ['no JSON', '{"storeId":"a"'],
  ['an empty line', ''],
  ['no object', '["a"]'],
  ['null', 'null'],
  ['an id that is missing', rowText(7, { eventId: undefined })],
  ['an id that is no text', rowText(7, { sessionId: 5 })],
])('%s: says which row', (_what, text) => {
  const error = (() => {
    try {
      return read([rowText(6), text], 6);
    } catch (caught) {
      return caught;
    }
  })();
  expect(error).toBeInstanceOf(Permanent);
  expect(error).toMatchObject({ code: 'row_malformed', message: expect.stringContaining('row 7') });
});
