import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test';
import { type Block, Permanent, Retryable } from '@libs/pipeline';
import type { Store } from './store.ts';
import { createStoreSink } from './store-sink.ts';
import { openTestStore, QUIET, TEST_JOURNAL, testBlock, testRange, testRow } from './testing.ts';

const never = new AbortController().signal;
const FIRST = { signal: never, ambiguous: false };
const AGAIN = { signal: never, ambiguous: true };

let store: Store;
let close: () => Promise<void>;
let sink: ReturnType<typeof createStoreSink>;

beforeAll(async () => {
  ({ store, close } = await openTestStore());
  sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
});
afterAll(() => close());
// Also forgets every token: each test begins with a table that has seen nothing.
beforeEach(() => store.command('TRUNCATE TABLE weir.raw_events'));

/** Rows and distinct sequence numbers in the table. */
async function held(): Promise<string> {
  const [row] = await store.select('SELECT count(), uniqExact(seq) FROM weir.raw_events');
  return `${row?.[0]} rows, ${row?.[1]} seqs`;
}

/** Removes rows as if a crash had lost them; their token stays remembered. */
async function lose(condition: string): Promise<void> {
  await store.command(`DELETE FROM weir.raw_events WHERE ${condition} SETTINGS mutations_sync = 2`);
}

/** The bytes of some rows of a block under another token. */
function under(block: Block, token: string): Block {
  return { ...block, token };
}

test('stores a block, and swallows it when it is sent again under its token', async () => {
  const block = testRange(1, 500);
  expect(await sink.write(block, FIRST)).toEqual([]);
  await sink.write(block, FIRST);
  expect(await held()).toBe('500 rows, 500 seqs');
  expect(sink.health().state).toBe('healthy');
});

test('keeps every value, and data and metadata byte for byte', async () => {
  const texts = [
    '{"a":1}',
    '{ "a" : 1.10 , "b":[1, 2,  3]}',
    '{"k;":"; DROP TABLE x; \\n\\n \\u0000 \\u00e9 é 😀 \\ud83d\\ude00 \\" \\\\ \\/ "}',
    '{"n":123456789012345678901234567890,"e":1e400,"z":-0.0,"t":1.0000000000000000001}',
    `${'{"a":'.repeat(32)}1${'}'.repeat(32)}`,
    `{"s":"${'y'.repeat(60_000)}"}`,
    '{}',
    '{"quote":"\'); DROP TABLE raw_events --","tab":"\\t\u007f\u2028"}',
  ];
  const rows = texts.map((text, index) => {
    const {
      data: _data,
      metadata: _metadata,
      ...rest
    } = testRow(index + 1, { timestamp: '2024-02-29T23:59:59.123456+02:00' });
    return `${JSON.stringify(rest).slice(0, -1)},"data":${text},"metadata":${text}}`;
  });
  await sink.write(testBlock(rows, 1), FIRST);
  const stored = await store.select('SELECT data, metadata FROM weir.raw_events ORDER BY seq');
  expect(stored).toEqual(texts.map((text) => [text, text]));
  const [row] = await store.select(
    'SELECT eventId, eventType, timestamp, isNull(userId), sessionId, storeId, receivedAt, journal, seq, sanitized FROM weir.raw_events WHERE seq = 2',
  );
  expect(row).toEqual([
    'event-2',
    'purchase_completed',
    '2024-02-29 21:59:59.123456',
    '1',
    'session-2',
    'store-2',
    '2025-06-15 12:00:00.000',
    TEST_JOURNAL,
    '2',
    'false',
  ]);
});

test.each([
  ['a value of the wrong type', { seq: 'abc' }, 'clickhouse_cannot_parse_input_assertion_failed'],
  ['a field that the table does not have', { surprise: 1 }, 'clickhouse_incorrect_data'],
  ['a date that is none', { timestamp: 'yesterday' }, 'clickhouse_cannot_parse_datetime'],
  ['a null where there must be a value', { sessionId: null }, 'clickhouse_'],
  ['no position', { seq: 0 }, 'clickhouse_violated_constraint'],
])('%s: nothing of the block is stored, and the error is permanent', async (_what, over, code) => {
  const rows = Array.from({ length: 300 }, (_, index) => testRow(index + 1, index === 249 ? over : {}));
  const error = await sink.write(testBlock(rows, 1), FIRST).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Permanent);
  expect((error as Permanent).code).toStartWith(code);
  expect(await held()).toBe('0 rows, 0 seqs');
  expect(sink.health().state).toBe('unhealthy');
});

test('names the row that is refused and shows nothing of what it holds', async () => {
  const rows = Array.from({ length: 300 }, (_, index) => testRow(1_001 + index, { data: { card: 'secret-4711' } }));
  rows[249] = { ...rows[249], timestamp: 'secret-4712' };
  const error = (await sink.write(testBlock(rows, 1_001), FIRST).catch((caught: unknown) => caught)) as Error;
  expect(error.message).toContain('The row with seq 1250 is refused');
  expect(error.message).not.toContain('secret');
});

test('a block over midnight makes two parts, and is stored once', async () => {
  const rows = Array.from({ length: 100 }, (_, index) =>
    testRow(index + 1, { receivedAt: index < 50 ? '2025-06-15T23:59:59.999Z' : '2025-06-16T00:00:00.000Z' }),
  );
  const block = testBlock(rows, 1);
  await sink.write(block, FIRST);
  await lose("toDate(receivedAt) = '2025-06-16'");
  await sink.write(block, AGAIN);
  expect(await held()).toBe('100 rows, 100 seqs');
});

test('ambiguous, nothing there: stores it once', async () => {
  await sink.write(testRange(1, 1_000), AGAIN);
  expect(await held()).toBe('1000 rows, 1000 seqs');
});

test('ambiguous, all there: stores nothing more, under this token or another', async () => {
  const block = testRange(1, 1_000);
  await sink.write(under(block, 'another-token'), FIRST);
  await sink.write(block, AGAIN);
  await sink.write(block, AGAIN);
  expect(await held()).toBe('1000 rows, 1000 seqs');
});

test('ambiguous, some rows there under another token: adds the others', async () => {
  await sink.write(under(testRange(301, 550), 'another-token'), FIRST);
  const block = testRange(1, 1_000);
  await sink.write(block, AGAIN);
  expect(await held()).toBe('1000 rows, 1000 seqs');
  await sink.write(block, AGAIN);
  expect(await held()).toBe('1000 rows, 1000 seqs');
});

test('ambiguous, the token remembered and the rows not there: stores them all the same', async () => {
  const block = testRange(1, 1_000);
  await sink.write(block, FIRST);
  await lose('1');
  await sink.write(block, FIRST);
  expect(await held()).toBe('0 rows, 0 seqs');
  await sink.write(block, AGAIN);
  expect(await held()).toBe('1000 rows, 1000 seqs');
});

test('ambiguous, the rows lost again and again: each round uses a token that swallows nothing', async () => {
  const block = testRange(1, 100);
  for (const lost of ['1', 'seq > 40', 'seq > 40', '1']) {
    await sink.write(block, AGAIN);
    await lose(lost);
  }
  await sink.write(block, AGAIN);
  expect(await held()).toBe('100 rows, 100 seqs');
});

test('two attempts at once: stored once', async () => {
  const block = testRange(1, 5_000);
  const other = createStoreSink(store, { logger: QUIET });
  await Promise.all([sink.write(block, AGAIN), other.write(block, AGAIN), sink.write(block, FIRST)]);
  expect(await held()).toBe('5000 rows, 5000 seqs');
});

test('a write that is given up goes on in the engine, and the next one waits for it', async () => {
  const block = testRange(1, 20_000);
  const giveUp = new AbortController();
  const write = sink.write(block, { signal: giveUp.signal, ambiguous: false }).catch((caught: unknown) => caught);
  giveUp.abort();
  const error = await write;
  expect(error).toBeInstanceOf(Retryable);
  expect((error as Retryable).ambiguous).toBeTrue();
  await sink.write(block, FIRST);
  expect(await held()).toBe('20000 rows, 20000 seqs');
  await sink.close(never);
});

test('other journals and other days are not mistaken for this block', async () => {
  const otherJournal = testRange(1, 50, { journal: '0190a1b2-0000-7000-8000-00000000beef' });
  await sink.write({ ...otherJournal, journal: '0190a1b2-0000-7000-8000-00000000beef', token: 'other' }, FIRST);
  await sink.write(testRange(1, 50), AGAIN);
  expect(await held()).toBe('100 rows, 50 seqs');
});

test('a block that was not cut by us is a bug, not an error of the store', async () => {
  const block = testRange(1, 2);
  const wrong = [under(block, "x' OR 1"), { ...block, journal: "'; DROP" }, { ...block, firstSeq: 3 }];
  for (const one of wrong) await expect(sink.write(one, FIRST)).rejects.toBeInstanceOf(TypeError);
});

test('an insert syncs files and folders before it returns', async () => {
  async function syncs(): Promise<Record<string, number>> {
    const rows = await store.select(
      "SELECT event, value FROM system.events WHERE event IN ('FileSync', 'DirectorySync')",
    );
    return Object.fromEntries(rows.map(([event, value]) => [event, Number(value)]));
  }
  await sink.write(testRange(1, 10), FIRST);
  const before = await syncs();
  await sink.write(testRange(11, 20), FIRST);
  const after = await syncs();
  // A part is at least its data, its checksums and its columns; and its folder.
  expect((after['FileSync'] ?? 0) - (before['FileSync'] ?? 0)).toBeGreaterThanOrEqual(3);
  expect((after['DirectorySync'] ?? 0) - (before['DirectorySync'] ?? 0)).toBeGreaterThanOrEqual(1);
  await store.command('OPTIMIZE TABLE weir.raw_events FINAL');
  expect((await syncs())['FileSync']).toBeGreaterThan(after['FileSync'] ?? 0);
});
