/**
 * The cluster's tables. What runs: the Distributed table, the view over it, inserts into the local table and questions
 * to all replicas, on the embedded engine with a cluster of one host. What does not run, for want of a Keeper, and is
 * only parsed by the engine: `ON CLUSTER` and the Replicated engine.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrate } from '../src/migrate.ts';
import { createDatabase, createMigrationsTable, MIGRATIONS } from '../src/schema.ts';
import { openStore, type Store } from '../src/store.ts';
import { createStoreAudit } from '../src/store-audit.ts';
import { createStoreSink } from '../src/store-sink.ts';
import {
  clusterConfig,
  QUIET,
  startClickHouseFront,
  TEST_JOURNAL,
  temporaryFolder,
  testRange,
} from '../src/testing.ts';

const never = new AbortController().signal;
const TARGET = { database: 'weir', cluster: 'c1' };
const folder = temporaryFolder();
let front: Awaited<ReturnType<typeof startClickHouseFront>>;
let plain: Store;
let store: Store;

beforeAll(async () => {
  const configFile = join(folder.path, 'cluster.xml');
  writeFileSync(configFile, clusterConfig('c1'));
  front = await startClickHouseFront(join(folder.path, 'engine'), { configFile });
  const options = { kind: 'server', url: front.url, username: 'default', password: '', cluster: 'c1' } as const;
  plain = await openStore(options, { logger: QUIET });
  store = { ...plain, command: (sql) => plain.command(withoutKeeper(sql)) };
});
afterAll(async () => {
  await plain.close();
  await front.close();
  folder.remove();
});
beforeEach(() => plain.command('DROP DATABASE IF EXISTS weir SYNC'));

/** The same statement without what needs a Keeper. */
function withoutKeeper(sql: string): string {
  return sql
    .replace(' ON CLUSTER `c1`', '')
    .replace(/ReplicatedMergeTree\([^)]*\)/, 'MergeTree')
    .replace(
      /replicated_deduplication_window = (\d+), replicated_deduplication_window_seconds = \d+/,
      'non_replicated_deduplication_window = $1',
    );
}

test('every statement is one that the engine reads, and says what a cluster needs', async () => {
  const statements = [
    createDatabase(TARGET),
    createMigrationsTable(TARGET),
    ...MIGRATIONS.flatMap((one) => one.statements(TARGET)),
  ];
  for (const sql of statements) {
    const [formatted] = await plain.select(`SELECT formatQuery('${sql.replaceAll("'", "''")}')`);
    expect(formatted?.[0]).toContain('ON CLUSTER c1');
  }
  const all = statements.join(';\n');
  // A path with the database's name, not the table's UUID, which would differ when two instances start at once.
  expect(all).toContain("ReplicatedMergeTree('/clickhouse/tables/{shard}/weir/raw_events_local', '{replica}')");
  expect(all).toContain("ReplicatedMergeTree('/clickhouse/tables/weir/schema_migrations', '{shard}-{replica}')");
  expect(all).toContain("Distributed('c1', 'weir', 'raw_events_local', rand())");
  expect(all).toContain('replicated_deduplication_window_seconds = 604800');
  expect(all).toContain('fsync_after_insert = 1');
});

test('several instances at once make the tables once; a later start changes nothing', async () => {
  await Promise.all([migrate(store), migrate(store), migrate(store)]);
  front.statements.length = 0;
  expect(await migrate(store)).toMatchObject({ applied: [] });
  expect(front.statements.filter((sql) => !sql.startsWith('SELECT'))).toEqual([]);
  const tables = await plain.select("SELECT name, engine FROM system.tables WHERE database = 'weir' ORDER BY name");
  expect(tables).toEqual([
    ['events', 'View'],
    ['raw_events', 'Distributed'],
    ['raw_events_local', 'MergeTree'],
    ['schema_migrations', 'MergeTree'],
  ]);
});

test('the retention is set on the local tables', async () => {
  await migrate({ ...store, retentionDays: 30 });
  await migrate({ ...store, retentionDays: 30 });
  const [row] = await plain.select('SHOW CREATE TABLE weir.raw_events_local');
  expect(row?.[0]).toContain('toIntervalDay(30)');
});

test('a block is stored once, whether this process remembers its host or not, and read through all three names', async () => {
  const sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
  const block = testRange(1, 1_000);
  await sink.write({ ...testRange(1, 10), token: 'another' }, { signal: never, ambiguous: false });
  front.addRule({ fault: 'drop_before' });
  await expect(sink.write(block, { signal: never, ambiguous: true })).rejects.toMatchObject({ ambiguous: true });
  await sink.write(block, { signal: never, ambiguous: true });
  await createStoreSink(store, { logger: QUIET }).write(block, { signal: never, ambiguous: true });
  // The token is remembered and rows are not there: asked of all replicas before a fresh token is used.
  await plain.command('DELETE FROM weir.raw_events_local WHERE seq > 900 SETTINGS mutations_sync = 2');
  front.statements.length = 0;
  await createStoreSink(store, { logger: QUIET }).write(block, { signal: never, ambiguous: true });
  const asked = front.statements.filter((sql) => sql.includes('clusterAllReplicas'));
  expect(asked.some((sql) => sql.includes("clusterAllReplicas('c1', system.processes)"))).toBeTrue();
  expect(asked.some((sql) => sql.includes("clusterAllReplicas('c1', weir.raw_events_local)"))).toBeTrue();
  for (const table of ['raw_events_local', 'raw_events', 'events']) {
    expect(await plain.select(`SELECT count(), uniqExact(seq) FROM weir.${table}`)).toEqual([['1000', '1000']]);
  }
  const counts = await createStoreAudit(store).countByJournalRange({
    journal: TEST_JOURNAL,
    firstSeq: 1,
    lastSeq: 1_000,
  });
  expect(counts.reduce((sum, { distinct }) => sum + distinct, 0)).toBe(1_000);
});
