import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Store } from './store.ts';
import { createStoreAudit, POSITION_ROWS_MAX, type PositionedRow, type StoreAudit } from './store-audit.ts';
import { createStoreSink } from './store-sink.ts';
import { openTestStore, QUIET, TEST_JOURNAL, testBlock, testRange } from './testing.ts';

const never = new AbortController().signal;
const FIRST = { signal: never, ambiguous: false };
const OTHER = '0190a1b2-0000-7000-8000-00000000beef';
/** Rows as the journal writes them: every key where it belongs. */
const WRITTEN = [
  `{"storeId":"a\\"b\\\\c","eventType":"item_added","eventId":"e-1","timestamp":"2024-02-29T23:59:59.123Z","userId":"ü😀","sessionId":"s","data":{ "b" : 1.10, "__":"\\u0000 \\n </script>" },"metadata":{"n":12345678901234567890},"sanitized":true,"receivedAt":"2025-06-15T12:00:00.001Z","journal":"${OTHER}","seq":1}`,
  `{"storeId":"s","eventType":"custom.type","eventId":"e-2","timestamp":"1970-01-01T00:00:00.000Z","sessionId":"NULL","data":{"e":"Code: 241. DB::Exception: x"},"metadata":{},"receivedAt":"2025-06-15T12:00:00.999Z","journal":"${OTHER}","seq":2}`,
  `{"storeId":"s","eventType":"item_added","eventId":"e-3","timestamp":"2199-12-31T23:59:59.000001Z","userId":"\\\\N","sessionId":"s","data":{},"metadata":{},"receivedAt":"2025-06-16T00:00:00.000Z","journal":"${OTHER}","seq":3}`,
];
let store: Store;
let close: () => Promise<void>;
let audit: StoreAudit;

beforeAll(async () => {
  ({ store, close } = await openTestStore());
  const sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
  audit = createStoreAudit(store);
  for (let first = 1; first <= 60_000; first += 20_000) await sink.write(testRange(first, first + 19_999), FIRST);
  await sink.write({ ...testBlock(WRITTEN, 1), journal: OTHER, token: 'written' }, FIRST);
});
afterAll(() => close());

const seqs = (rows: readonly PositionedRow[]) => rows.map(({ seq }) => seq);

test('rows come back as the journal wrote them, byte for byte', async () => {
  const rows = await audit.readRows({ journal: OTHER, firstSeq: 1, lastSeq: 3 });
  expect(rows.map(({ json }) => json)).toEqual(WRITTEN);
  expect(rows[1]).toMatchObject({ seq: 2, eventType: 'custom.type', eventId: 'e-2', sessionId: 'NULL' });
  for (const { json } of rows) JSON.parse(json);
});

test('pages by type follow one another without gap or repetition', async () => {
  const read: number[] = [];
  let afterSeq = 0;
  for (;;) {
    const page = await audit.selectByPosition({
      journal: TEST_JOURNAL,
      afterSeq,
      throughSeq: 59_000,
      eventTypes: ['item_added', 'cart_updated'],
      limit: POSITION_ROWS_MAX - 1,
    });
    read.push(...seqs(page.rows));
    afterSeq = page.throughSeq;
    if (afterSeq === 59_000) break;
  }
  const wanted = Array.from({ length: 59_000 }, (_, index) => index + 1).filter((seq) => seq % 3 !== 2);
  expect(read).toEqual(wanted);
});

test('nothing of the wanted types, nothing yet, another journal', async () => {
  const query = { journal: TEST_JOURNAL, afterSeq: 0, throughSeq: 60_000, eventTypes: ["it's \\ no type"], limit: 10 };
  expect(await audit.selectByPosition(query)).toEqual({ rows: [], throughSeq: 60_000 });
  expect(await audit.selectByPosition({ ...query, throughSeq: 0 })).toEqual({ rows: [], throughSeq: 0 });
  const other = await audit.selectByPosition({ ...query, journal: OTHER, eventTypes: ['item_added'], throughSeq: 3 });
  expect(seqs(other.rows)).toEqual([1, 3]);
});

test('a reader never passes how far the store has come, and a copy is shown once', async () => {
  const query = { journal: TEST_JOURNAL, afterSeq: 2, throughSeq: 5, eventTypes: ['item_added'], limit: 100 };
  expect(await audit.selectByPosition(query)).toMatchObject({ rows: [{ seq: 3 }], throughSeq: 5 });
  const sink = createStoreSink(store, { logger: QUIET });
  await sink.write({ ...testRange(3, 3), token: 'a-copy' }, FIRST);
  expect(seqs((await audit.selectByPosition(query)).rows)).toEqual([3]);
  const counts = await audit.countByJournalRange({ journal: TEST_JOURNAL, firstSeq: 1, lastSeq: 6 });
  expect(counts.toSorted((a, b) => a.eventType.localeCompare(b.eventType))).toEqual([
    { eventType: 'cart_updated', rows: 2, distinct: 2 },
    { eventType: 'item_added', rows: 3, distinct: 2 },
    { eventType: 'purchase_completed', rows: 2, distinct: 2 },
  ]);
});

test('counts add up over windows, and journals are listed', async () => {
  const counts = await audit.countByJournalRange({ journal: TEST_JOURNAL, firstSeq: 1, lastSeq: 3_000_000 });
  expect(counts.map(({ distinct }) => distinct)).toEqual([20_000, 20_000, 20_000]);
  expect(await audit.journals()).toEqual(
    [
      { journal: OTHER, firstSeq: 1, lastSeq: 3 },
      { journal: TEST_JOURNAL, firstSeq: 1, lastSeq: 60_000 },
    ].toSorted((a, b) => a.journal.localeCompare(b.journal)),
  );
});

test('bounded in time, and what cannot be meant is refused', async () => {
  const impatient = createStoreAudit(store, { timeMsMax: 0 });
  const range = { journal: TEST_JOURNAL, firstSeq: 1, lastSeq: 10 };
  await expect(impatient.countByJournalRange(range)).rejects.toMatchObject({
    name: 'Retryable',
    code: 'audit_timeout',
  });
  const query = { journal: TEST_JOURNAL, afterSeq: 0, throughSeq: 10, eventTypes: ['item_added'], limit: 10 };
  for (const wrong of [
    { journal: "x' OR 1" },
    { afterSeq: -1 },
    { limit: 0 },
    { limit: POSITION_ROWS_MAX + 1 },
    { eventTypes: [] },
  ]) {
    await expect(audit.selectByPosition({ ...query, ...wrong })).rejects.toBeInstanceOf(RangeError);
  }
  await expect(audit.readRows({ ...range, lastSeq: POSITION_ROWS_MAX + 1 })).rejects.toBeInstanceOf(RangeError);
});

test('a query that failed in the middle of its result leaves nothing behind for the next one', async () => {
  const failing = store.select(
    'SELECT number, throwIf(number = 100) FROM numbers(200) SETTINGS max_block_size = 10, max_threads = 1',
  );
  await expect(failing).rejects.toMatchObject({ name: 'Retryable' });
  for (let attempt = 0; ; attempt++) {
    // What the embedded engine had printed may come first in its next answer: then that is no result at all.
    const cells = await store.select('SELECT 1').catch((error: unknown) => error);
    if (Array.isArray(cells)) {
      expect(cells).toEqual([['1']]);
      break;
    }
    expect(cells).toMatchObject({ name: 'Retryable' });
    expect(attempt).toBeLessThan(3);
  }
});
