import { afterEach, beforeEach, expect, test } from 'bun:test';
import { Permanent } from '@libs/pipeline';
import { migrate } from './migrate.ts';
import { MIGRATIONS, RAW_EVENT_COLUMNS } from './schema.ts';
import type { Store } from './store.ts';
import { createStoreSink } from './store-sink.ts';
import { openTestStore, QUIET, testBlock, testRow } from './testing.ts';

const never = new AbortController().signal;
let store: Store;
let close: () => Promise<void>;

beforeEach(async () => {
  ({ store, close } = await openTestStore());
});
afterEach(() => close());

async function cell(sql: string): Promise<string | undefined> {
  return (await store.select(sql))[0]?.[0];
}

/** The same store, whose process dies before statement number `survived + 1`. */
function dyingAfter(survived: number): Store {
  let left = survived;
  const command = async (sql: string) => {
    if (left-- === 0) throw new Error('killed');
    await store.command(sql);
  };
  return { ...store, command };
}

test('makes the tables once, and says what it did', async () => {
  const latest = MIGRATIONS.at(-1)?.version ?? 0;
  expect(await migrate(store)).toEqual({ version: latest, applied: MIGRATIONS.map(({ version }) => version) });
  expect(await migrate(store)).toEqual({ version: latest, applied: [] });
  const columns = async (table: string) =>
    (
      await store.select(
        `SELECT name FROM system.columns WHERE database = 'weir' AND table = '${table}' ORDER BY position`,
      )
    ).flat();
  expect(await columns('raw_events')).toEqual([...RAW_EVENT_COLUMNS]);
  expect(new Set(await columns('events'))).toEqual(new Set(RAW_EVENT_COLUMNS));
});

test('the table is durable and remembers tokens', async () => {
  await migrate(store);
  const created = (await cell('SHOW CREATE TABLE weir.raw_events')) ?? '';
  for (const setting of [
    'fsync_after_insert = 1',
    'fsync_part_directory = 1',
    'min_rows_to_fsync_after_merge = 1',
    'min_compressed_bytes_to_fsync_after_merge = 1',
    'non_replicated_deduplication_window = 10000',
  ]) {
    expect(created).toContain(setting);
  }
});

test('killed between any two statements, it finishes at the next start', async () => {
  for (let survived = 0; ; survived++) {
    const died = await migrate(dyingAfter(survived)).then(
      () => false,
      () => true,
    );
    expect((await migrate(store)).version).toBe(MIGRATIONS.at(-1)?.version as number);
    expect(await cell('SELECT count() FROM weir.schema_migrations')).toBe(String(MIGRATIONS.length));
    if (!died) break;
    await store.command('DROP DATABASE weir SYNC');
  }
});

test('two at once do no harm', async () => {
  await Promise.all([migrate(store), migrate(store), migrate(store)]);
  expect(await migrate(store)).toMatchObject({ applied: [] });
});

test('a later migration is applied to tables that hold rows', async () => {
  await migrate(store);
  await createStoreSink(store, { logger: QUIET }).write(testBlock([testRow(1)], 1), {
    signal: never,
    ambiguous: false,
  });
  const next = {
    version: 2,
    name: 'next',
    statements: ({ database }: { database: string }) => [`CREATE VIEW IF NOT EXISTS ${database}.v2 AS SELECT 1`],
  };
  expect(await migrate(store, [...MIGRATIONS, next])).toEqual({ version: 2, applied: [2] });
  expect(await cell('SELECT count() FROM weir.raw_events')).toBe('1');
});

test('refuses tables of a later version in one sentence', async () => {
  await migrate(store);
  await store.command("INSERT INTO weir.schema_migrations (version, name) VALUES (99, 'from the future')");
  const error = await migrate(store).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Permanent);
  expect((error as Permanent).code).toBe('schema_too_new');
  expect((error as Permanent).message).toContain('schema version 99');
});

test('the retention is set, changed and removed, and left alone when it fits', async () => {
  const ttl = async () => /TTL (.*)\n/.exec((await cell('SHOW CREATE TABLE weir.raw_events')) ?? '')?.[1];
  let commands = 0;
  const withRetention = (retentionDays: number | undefined): Store => ({
    ...store,
    retentionDays,
    command: (sql) => {
      if (sql.startsWith('ALTER')) commands++;
      return store.command(sql);
    },
  });
  for (const [days, altered] of [
    [undefined, 0],
    [30, 1],
    [30, 1],
    [7, 2],
    [undefined, 3],
    [undefined, 3],
  ] as const) {
    await migrate(withRetention(days));
    expect([days, commands]).toEqual([days, altered]);
    expect(await ttl()).toBe(days === undefined ? undefined : `toDateTime(receivedAt) + toIntervalDay(${days})`);
  }
});

test('the view shows each event once: the first received, across days, times and journals', async () => {
  await migrate(store);
  const early = '0190a1b2-0000-7000-8000-000000000001';
  const late = '0190a1b2-0000-7000-8000-000000000002';
  const copies = [
    // The same key again: on the next day, with another timestamp, type and data.
    testRow(4, {
      eventId: 'a',
      storeId: 's',
      receivedAt: '2025-06-16T00:00:00.000Z',
      data: { copy: 3 },
      eventType: 'cart_updated',
    }),
    testRow(3, { eventId: 'a', storeId: 's', timestamp: '2020-01-01T00:00:00Z', data: { copy: 2 } }),
    testRow(2, { eventId: 'a', storeId: 's', userId: undefined, data: { copy: 1 } }),
    // Received in the same millisecond: the lower journal, then the lower seq.
    testRow(1, { eventId: 'b', storeId: 's', journal: late, data: { copy: 2 } }),
    testRow(9, { eventId: 'b', storeId: 's', journal: early, data: { copy: 1 } }),
    // Another store's event of the same id is another event.
    testRow(5, { eventId: 'a', storeId: 't' }),
  ];
  const sink = createStoreSink(store, { logger: QUIET });
  for (const [index, row] of copies.entries()) {
    await sink.write({ ...testBlock([row], 1), token: `copy-${index}` }, { signal: never, ambiguous: false });
  }
  const view = await store.select(
    'SELECT storeId, eventId, seq, data, isNull(userId), eventType FROM weir.events ORDER BY 1, 2',
  );
  expect(view).toEqual([
    ['s', 'a', '2', '{"copy":1}', '1', 'purchase_completed'],
    ['s', 'b', '9', '{"copy":1}', '0', 'item_added'],
    ['t', 'a', '5', '{"sku":"sku-5","price":1.25}', '0', 'purchase_completed'],
  ]);
  // Only what is asked for is read, and a condition on the key reaches the table's index.
  const plan = (
    await store.select("EXPLAIN header = 1, indexes = 1 SELECT count() FROM weir.events WHERE storeId = 's'")
  ).join('\n');
  expect(plan).not.toContain('metadata');
  expect(plan).toContain("storeId in ['s', 's']");
});
