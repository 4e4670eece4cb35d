/** The server as a process of its own: killed, frozen, restarted, emptied; over TLS; one of several hosts. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Block, Retryable } from '@libs/pipeline';
import { createCertificates, lacks } from '@libs/services';
import { migrate } from '../src/migrate.ts';
import { createQueryService } from '../src/query-service.ts';
import { openStore, type Store } from '../src/store.ts';
import { createStoreSink } from '../src/store-sink.ts';
import {
  type ClickHouseProcess,
  clusterConfig,
  QUIET,
  startClickHouseProcess,
  temporaryFolder,
  testRange,
} from '../src/testing.ts';

const never = new AbortController().signal;
const COUNTS = 'SELECT count(), uniqExact(seq) FROM weir.raw_events';
let server: ClickHouseProcess;
let store: Store;
let sink: ReturnType<typeof createStoreSink>;

beforeAll(async () => {
  server = await startClickHouseProcess();
  store = await openStore(options(server.url), { logger: QUIET });
  sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
});
afterAll(async () => {
  await store.close();
  await server.close();
});
beforeEach(() => store.command('TRUNCATE TABLE weir.raw_events'));

function options(url: string | string[], over: { requestTimeoutMs?: number; cluster?: string } = {}) {
  return { kind: 'server', url, username: 'writer', password: '', requestTimeoutMs: 20_000, ...over } as const;
}

async function deliver(target: typeof sink, block: Block, onError: (error: Retryable) => Promise<void>) {
  let ambiguous = false;
  for (;;) {
    try {
      await target.write(block, { signal: never, ambiguous });
      return;
    } catch (error) {
      ambiguous ||= (error as Retryable).ambiguous;
      await onError(error as Retryable);
    }
  }
}

test.each(['kill_before', 'kill_during', 'kill_after'] as const)(
  '%s: the server is started again, and every row is there once',
  async (fault) => {
    await server.fault(fault);
    let errors = 0;
    await deliver(sink, testRange(1, 20_000), async (error) => {
      errors++;
      expect(error).toMatchObject({ name: 'Retryable' });
      if (server.pid() === undefined) await server.restart();
    });
    expect(errors).toBeGreaterThanOrEqual(1);
    expect(await server.query(COUNTS)).toBe('20000\t20000\n');
  },
);

test('killed at any moment of many blocks', async () => {
  const blocks = Array.from({ length: 12 }, (_, index) => testRange(1 + index * 500, 500 + index * 500));
  for (const [index, block] of blocks.entries()) {
    if (index % 4 === 3) {
      const [fault] = (['kill_during', 'kill_after', 'kill_before'] as const).slice(index % 3);
      await server.fault({ fault: fault ?? 'kill_during', match: index % 8 === 3 ? 'SELECT seq' : 'INSERT INTO' });
      await server.fault({ fault: 'drop_after' });
    }
    await deliver(sink, block, async () => {
      if (server.pid() === undefined) await server.restart();
    });
  }
  expect(await server.query(COUNTS)).toBe('6000\t6000\n');
});

test('frozen: nobody waits longer than the time limit, and it goes on when it thaws', async () => {
  const hasty = await openStore(options(server.url, { requestTimeoutMs: 300 }), { logger: QUIET });
  const target = createStoreSink(hasty, { logger: QUIET });
  await server.freeze();
  const errors: Retryable[] = [];
  await deliver(target, testRange(1, 1_000), async (error) => {
    if (errors.push(error) === 2) await server.thaw();
  });
  expect(errors[0]).toMatchObject({ name: 'Retryable', ambiguous: true });
  expect(await server.query(COUNTS)).toBe('1000\t1000\n');
  await hasty.close();
});

test('restarted empty: refused while the tables are missing, which the next connect makes again', async () => {
  await server.restartEmpty();
  await expect(sink.write(testRange(1, 10), { signal: never, ambiguous: false })).rejects.toMatchObject({
    name: 'Retryable',
    ambiguous: false,
  });
  await sink.connect(never);
  await sink.write(testRange(1, 10), { signal: never, ambiguous: false });
  expect(await server.query(COUNTS)).toBe('10\t10\n');
});

/**
 * Two servers that both believe to be the whole cluster: enough to see where blocks go. Replication between them, and
 * `ON CLUSTER`, need a Keeper, which the embedded engine has not.
 */
describe('several hosts', () => {
  const folder = temporaryFolder();
  const configFile = join(folder.path, 'cluster.xml');
  let one: ClickHouseProcess;
  let two: ClickHouseProcess;
  let both: Store;
  let spread: ReturnType<typeof createStoreSink>;

  beforeAll(async () => {
    writeFileSync(configFile, clusterConfig('c1'));
    [one, two] = await Promise.all([startClickHouseProcess({ configFile }), startClickHouseProcess({ configFile })]);
    for (const { url, query } of [one, two]) {
      const alone = await openStore(options(url), { logger: QUIET });
      await migrate(alone);
      await query('CREATE TABLE weir.raw_events_local AS weir.raw_events');
      await alone.close();
    }
    both = await openStore(options([one.url, two.url], { cluster: 'c1' }), { logger: QUIET });
    spread = createStoreSink(both, { logger: QUIET });
  });
  afterAll(async () => {
    await both.close();
    await Promise.all([one.close(), two.close()]);
    folder.remove();
  });
  beforeEach(() => Promise.all([one, two].map(({ query }) => query('TRUNCATE TABLE weir.raw_events_local'))));

  const rowsOn = async ({ query }: ClickHouseProcess) =>
    Number(await query('SELECT count() FROM weir.raw_events_local'));
  /** A block of ten rows that belongs to that server. */
  function blockOf({ url }: ClickHouseProcess, firstSeq: number): Block {
    for (let seq = firstSeq; ; seq += 10) {
      const block = testRange(seq, seq + 9);
      if (both.hostsFor(block.token)[0] === url) return block;
    }
  }

  test('a block has its host, the same after a restart, and blocks are spread', async () => {
    const again = await openStore(options([two.url, one.url], { cluster: 'c1' }), { logger: QUIET });
    const tokens = Array.from({ length: 200 }, (_, index) => `token-${index}`);
    expect(tokens.map((token) => again.hostsFor(token))).toEqual(tokens.map((token) => both.hostsFor(token)));
    const first = tokens.filter((token) => both.hostsFor(token)[0] === one.url).length;
    expect(first).toBeGreaterThan(50);
    expect(first).toBeLessThan(150);
    await again.close();
  });

  test('reads, statements and blocks that were never sent go to the other host while one is down', async () => {
    await one.stop();
    for (let round = 0; round < 3; round++) expect(await both.select('SELECT 1')).toEqual([['1']]);
    const service = createQueryService(both, {}, { logger: QUIET });
    const answer = await service.handle(new Request('http://x/query', { method: 'POST', body: 'SELECT 2' }));
    expect(await answer.text()).toBe('2\n');
    await service.close();
    await spread.write(blockOf(one, 1), { signal: never, ambiguous: false });
    await spread.write(blockOf(two, 1_001), { signal: never, ambiguous: false });
    expect(await rowsOn(two)).toBe(20);
    await one.restart();
  });

  test.each(['hang_before', 'drop_after'] as const)(
    '%s, and then the host goes away: the block waits for it',
    async (fault) => {
      const hasty = await openStore(options([one.url, two.url], { cluster: 'c1', requestTimeoutMs: 3_000 }), {
        logger: QUIET,
      });
      const target = createStoreSink(hasty, { logger: QUIET });
      await one.fault(fault);
      const block = blockOf(one, 1);
      await expect(target.write(block, { signal: never, ambiguous: false })).rejects.toMatchObject({ ambiguous: true });
      await one.stop();
      await expect(target.write(block, { signal: never, ambiguous: true })).rejects.toMatchObject({ ambiguous: true });
      // The same after a restart of ours, which remembers nothing: every host that is there is asked as well.
      await expect(spread.write(block, { signal: never, ambiguous: true })).rejects.toMatchObject({ ambiguous: true });
      expect(await rowsOn(two)).toBe(0);
      await one.restart();
      await target.write(block, { signal: never, ambiguous: true });
      await spread.write(block, { signal: never, ambiguous: true });
      expect([await rowsOn(one), await rowsOn(two)]).toEqual([10, 0]);
      await hasty.close();
    },
  );
});

test.skipIf(lacks({ start: ['openssl'] }))("TLS with an authority of one's own, and not without it", async () => {
  const folder = temporaryFolder();
  const { caFile, server: pair } = createCertificates(join(folder.path, 'certificates'));
  const read = (file: string) => readFileSync(file, 'utf8');
  await using secure = await startClickHouseProcess({ tls: { cert: read(pair.certFile), key: read(pair.keyFile) } });
  const trusted = await openStore({ ...options(secure.url), tls: { ca: read(caFile) } }, { logger: QUIET });
  const target = createStoreSink(trusted, { logger: QUIET });
  await target.connect(never);
  await target.write(testRange(1, 100), { signal: never, ambiguous: false });
  expect(await secure.query(COUNTS)).toBe('100\t100\n');
  const service = createQueryService(trusted, {}, { logger: QUIET });
  const answer = await service.handle(new Request('http://x/query', { method: 'POST', body: 'SELECT 1' }));
  expect(await answer.text()).toBe('1\n');
  await service.close();
  await trusted.close();

  const stranger = await openStore(options(secure.url), { logger: QUIET });
  await expect(
    createStoreSink(stranger, { logger: QUIET }).write(testRange(1, 2), { signal: never, ambiguous: false }),
  ).rejects.toMatchObject({ name: 'Retryable', code: 'store_unreachable', ambiguous: false });
  await stranger.close();
  folder.remove();
});
