/** A server that fails at every bad moment: nothing is lost, nothing stands in the table twice. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Block, Overloaded, Retryable } from '@libs/pipeline';
import { openStore, type Store, type StoreLogger } from '../src/store.ts';
import { createStoreSink } from '../src/store-sink.ts';
import {
  type ClickHouseFront,
  type FrontFault,
  QUIET,
  startClickHouseFront,
  temporaryFolder,
  testBlock,
  testRange,
  testRow,
} from '../src/testing.ts';

const never = new AbortController().signal;
const FIRST = { signal: never, ambiguous: false };
const LOGIN = { username: 'writer', password: 'pass word' };
const folder = temporaryFolder();
let front: ClickHouseFront;
let store: Store;
let sink: ReturnType<typeof createStoreSink>;

beforeAll(async () => {
  front = await startClickHouseFront(folder.path, { login: LOGIN });
  store = await openStore(options(), { logger: QUIET });
  sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
});
afterAll(async () => {
  await store.close();
  await front.close();
  folder.remove();
});
beforeEach(async () => {
  front.clearRules();
  front.login = LOGIN;
  await store.command('TRUNCATE TABLE weir.raw_events');
  front.statements.length = 0;
});

function options(over: { requestTimeoutMs?: number; password?: string } = {}) {
  return { kind: 'server', url: front.url, ...LOGIN, requestTimeoutMs: 20_000, ...over } as const;
}

async function held(): Promise<string> {
  return (await store.select('SELECT count(), uniqExact(seq) FROM weir.raw_events')).join();
}

/** Writes as the runner does: again until it is stored, ambiguous once an error said so. Returns the errors. */
async function deliver(target: typeof sink, block: Block, before = FIRST): Promise<(Retryable | Overloaded)[]> {
  const errors: (Retryable | Overloaded)[] = [];
  let { ambiguous } = before;
  for (;;) {
    try {
      expect(await target.write(block, { signal: never, ambiguous })).toEqual([]);
      return errors;
    } catch (error) {
      if (errors.push(error as Retryable) > 20) throw error;
      ambiguous ||= (error as Retryable).ambiguous === true;
    }
  }
}

const insertsSent = () => front.statements.filter((sql) => sql.startsWith('INSERT INTO weir.raw_events')).length;

/** Two parts: half of the rows were received on the next day. */
function overMidnight(firstSeq: number, lastSeq: number): Block {
  const rows = Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) =>
    testRow(firstSeq + index, { receivedAt: `2025-06-1${index % 2 ? 5 : 6}T12:00:00.000Z` }),
  );
  return testBlock(rows, firstSeq);
}

describe('an insert whose answer says nothing is ambiguous, and stored once', () => {
  const faults: FrontFault[] = [
    'drop_before',
    'drop_after',
    'status_502',
    'status_504',
    'code_242',
    'code_225',
    'code_999',
  ];
  test.each(faults)('%s, once and three times in a row', async (fault) => {
    for (const times of [1, 3]) {
      const firstSeq = times * 1_000;
      front.addRule({ fault, times });
      const errors = await deliver(sink, overMidnight(firstSeq, firstSeq + 99));
      // Where the first attempt stored the rows, the second finds them and sends nothing more.
      const failures = fault === 'drop_after' ? 1 : times;
      expect(errors.map((error) => [error.name, (error as Retryable).ambiguous])).toEqual(
        Array(failures).fill(['Retryable', true]),
      );
      front.clearRules();
    }
    expect(await held()).toBe('200,200');
  });

  test.each(['hang_before', 'hang_after'] as const)('%s: the time limit ends the wait', async (fault) => {
    const hasty = await openStore(options({ requestTimeoutMs: 2_000 }), { logger: QUIET });
    const target = createStoreSink(hasty, { logger: QUIET });
    front.addRule({ fault });
    const errors = await deliver(target, testRange(1, 100));
    expect(errors).toMatchObject([{ name: 'Retryable', ambiguous: true }]);
    expect(await held()).toBe('100,100');
    await hasty.close();
  });

  test('a first attempt that lands after the block was resolved is swallowed, part by part', async () => {
    const hasty = await openStore(options({ requestTimeoutMs: 200 }), { logger: QUIET });
    const late = overMidnight(1, 100);
    const midnight = createStoreSink(hasty, { logger: QUIET });
    // Nothing was there before, or one of its days: then its token is not known for the other one.
    for (const before of [undefined, testBlock([testRow(1, { receivedAt: '2025-06-16T12:00:00.000Z' })], 1)]) {
      await store.command('TRUNCATE TABLE weir.raw_events');
      if (before) await sink.write({ ...before, token: 'another' }, FIRST);
      const { lateCount } = front;
      front.addRule({ fault: 'late_600' });
      await expect(midnight.write(late, FIRST)).rejects.toMatchObject({ name: 'Retryable', ambiguous: true });
      expect(await deliver(sink, late, { signal: never, ambiguous: true })).toEqual([]);
      while (front.lateCount === lateCount) await Bun.sleep(20);
      expect(await held()).toBe('100,100');
    }
    await hasty.close();
  });
});

describe('errors at the end of a 200', () => {
  test.each(['trailer_before', 'trailer_after'] as const)('%s: not taken for success', async (fault) => {
    front.addRule({ fault });
    const [error] = await deliver(sink, testRange(1, 100));
    expect(error).toMatchObject({ name: 'Overloaded', code: 'clickhouse_memory_limit_exceeded' });
    expect(await held()).toBe('100,100');
  });

  test.each(['trailer_after', 'truncate', 'drop_after'] as const)(
    '%s while asking the table: rows that were not read are not taken for missing',
    async (fault) => {
      const block = testRange(1, 3_000);
      await sink.write({ ...block, token: 'another' }, FIRST);
      front.addRule({ fault, match: 'SELECT seq FROM', times: 2 });
      const sent = insertsSent();
      const errors = await deliver(sink, block, { signal: never, ambiguous: true });
      expect(errors.map(({ name }) => name)).toEqual(['Retryable', 'Retryable']);
      expect([await held(), insertsSent() - sent]).toEqual(['3000,3000', 0]);
    },
  );
});

describe('what the server says decides', () => {
  test.each([202, 241, 243, 252])('code %p: wait longer each time, and short again after a success', async (code) => {
    front.addRule({ fault: `code_${code}`, times: 7 });
    const errors = await deliver(sink, testRange(1, 100));
    expect(errors.map(({ name }) => name)).toEqual(Array(7).fill('Overloaded'));
    expect(errors.map((error) => (error as Overloaded).afterMs)).toEqual(
      [2, 4, 8, 16, 32, 60, 60].map((s) => s * 1_000),
    );
    front.addRule({ fault: `code_${code}` });
    const [later] = await deliver(sink, testRange(101, 200));
    expect(later).toMatchObject({ name: 'Overloaded', afterMs: 2_000 });
    expect(await held()).toBe('200,200');
  });

  test('code 241 between two parts of one insert: the next attempt looks at what is there', async () => {
    const block = overMidnight(1, 100);
    await sink.write({ ...testBlock([testRow(2, { receivedAt: '2025-06-15T12:00:00.000Z' })], 2), token: 'x' }, FIRST);
    front.addRule({ fault: 'code_241' });
    await deliver(sink, block);
    expect(await held()).toBe('100,100');
  });

  test('too many parts and too many days in one block share a code, and only the first is waited for', async () => {
    const days = testBlock(
      Array.from({ length: 150 }, (_, day) =>
        testRow(day + 1, { receivedAt: new Date(1_700_000_000_000 + day * 86_400_000).toISOString() }),
      ),
      1,
    );
    const error = await sink.write(days, FIRST).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'Permanent', code: 'clickhouse_too_many_parts' });
    expect(await held()).toBe('0,0');
  });

  test.each([
    ['code_516', 'clickhouse_authentication_failed'],
    ['code_497', 'clickhouse_access_denied'],
    ['status_403', 'store_refused'],
    ['status_413', 'store_refused'],
  ] as const)('%s: nothing was stored, an operator has to act, and then it goes on', async (fault, code) => {
    front.addRule({ fault, times: 2 });
    const errors = await deliver(sink, testRange(1, 100));
    expect(errors).toMatchObject(Array(2).fill({ name: 'Retryable', code, ambiguous: false }));
    expect(await held()).toBe('100,100');
  });

  test('status 429: as the proxy asks', async () => {
    front.addRule({ fault: 'status_429' });
    const [error] = await deliver(sink, testRange(1, 100));
    expect(error).toMatchObject({ name: 'Overloaded', code: 'store_busy', afterMs: 2_000 });
  });

  test('a wrong password fails connect with what the server says, until it is right', async () => {
    const stranger = await openStore(options({ password: 'wrong' }), { logger: QUIET });
    const target = createStoreSink(stranger, { logger: QUIET });
    await expect(target.connect(never)).rejects.toMatchObject({
      name: 'Retryable',
      code: 'clickhouse_authentication_failed',
    });
    expect(target.health()).toMatchObject({ state: 'unhealthy' });
    front.login = { ...LOGIN, password: 'wrong' };
    await target.connect(never);
    expect(target.health()).toMatchObject({ state: 'healthy' });
    await stranger.close();
  });
});

describe('rows that are still to be stored', () => {
  test('only those are sent, whatever became of an earlier attempt', async () => {
    const block = testRange(1, 100);
    const only = new Set([10, 20, 30]);
    expect(await sink.write(block, { ...FIRST, only })).toEqual([]);
    expect(await sink.write(block, { signal: never, ambiguous: true, only })).toEqual([]);
    expect(await held()).toBe('3,3');
    expect(await sink.write(block, { signal: never, ambiguous: true })).toEqual([]);
    expect(await held()).toBe('100,100');
  });

  test('a refused row among rows of which others are stored is named, and the rest is stored once', async () => {
    const refused = [7, 64];
    const rows = Array.from({ length: 100 }, (_, index) =>
      testRow(index + 1, refused.includes(index + 1) ? { timestamp: 'yesterday' } : {}),
    );
    const block = testBlock(rows, 1);
    await sink.write({ ...testRange(1, 3), token: 'another' }, FIRST);
    const failures = await sink.write(block, { signal: never, ambiguous: true });
    expect(failures.map(({ seq, permanent, code }) => [seq, permanent, code])).toEqual(
      refused.map((seq) => [seq, true, 'clickhouse_cannot_parse_datetime']),
    );
    expect(await held()).toBe('98,98');
  });

  test('a refused row while none of the block is stored: the caller halves the block', async () => {
    const rows = [testRow(1), testRow(2, { timestamp: 'yesterday' })];
    await expect(sink.write(testBlock(rows, 1), { signal: never, ambiguous: true })).rejects.toMatchObject({
      name: 'Permanent',
      scope: 'rows',
    });
    expect(await held()).toBe('0,0');
  });
});

test('an attempt that the store still works on is waited for, and named when it takes too long', async () => {
  const seen: string[] = [];
  const logger: StoreLogger = { debug: () => {}, warn: (_fields, message) => seen.push(message) };
  const target = createStoreSink(store, { logger }, { settleTimeoutMs: 0 });
  const block = testRange(1, 10);
  // The token is remembered and the rows are not there, while a query with this block's mark is under way.
  await sink.write(block, FIRST);
  await store.command('DELETE FROM weir.raw_events WHERE 1 SETTINGS mutations_sync = 2');
  const busy = store.select(
    `SELECT sleepEachRow(0.5) FROM numbers(4) SETTINGS log_comment = 'weir-insert:${block.token}:x', max_block_size = 1`,
  );
  while ((await running(block)) === 0) await Bun.sleep(5);
  await expect(target.write(block, { signal: never, ambiguous: true })).rejects.toMatchObject({
    code: 'block_in_progress',
    ambiguous: true,
  });
  await sink.write(block, { signal: never, ambiguous: true });
  await busy;
  expect(await held()).toBe('10,10');
});

async function running(block: Block): Promise<number> {
  const [row] = await store.select(
    `SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], 'weir-insert:${block.token}')`,
  );
  return Number(row?.[0]);
}
