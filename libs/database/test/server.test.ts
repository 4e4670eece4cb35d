/** The store as a ClickHouse server over HTTP: the same code, real sockets, and connections that end at bad moments. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test';
import { Permanent, Retryable } from '@libs/pipeline';
import { createQueryService } from '../src/query-service.ts';
import { openStore, type Store } from '../src/store.ts';
import { createStoreSink } from '../src/store-sink.ts';
import { QUIET, startClickHouseFront, temporaryFolder, testBlock, testRange, testRow } from '../src/testing.ts';

const never = new AbortController().signal;
const folder = temporaryFolder();
let front: Awaited<ReturnType<typeof startClickHouseFront>>;
let store: Store;
let sink: ReturnType<typeof createStoreSink>;

beforeAll(async () => {
  front = await startClickHouseFront(folder.path);
  store = await openStore(serverOptions(front.url), { logger: QUIET });
  sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
});
afterAll(async () => {
  await store.close();
  await front.close();
  folder.remove();
});
beforeEach(async () => {
  front.fault = () => 'none';
  await store.command('TRUNCATE TABLE weir.raw_events');
  front.statements.length = 0;
});

function serverOptions(url: string) {
  return { kind: 'server', url, username: 'writer', password: 'pass word', requestTimeoutMs: 20_000 } as const;
}

const isInsert = (sql: string) => sql.startsWith('INSERT INTO weir.raw_events');

async function held(): Promise<string> {
  return (await store.select('SELECT count(), uniqExact(seq) FROM weir.raw_events')).join();
}

test('writes with the login in headers and the guarantees written out', async () => {
  await sink.write(testRange(1, 2_000), { signal: never, ambiguous: false });
  expect(await held()).toBe('2000,2000');
  const insert = front.statements.find(isInsert) ?? '';
  for (const setting of ['async_insert = 0', 'insert_deduplication_token = ', 'input_format_skip_unknown_fields = 0']) {
    expect(insert).toContain(setting);
  }
  expect(front.last.headers.authorization).toBe(`Basic ${btoa('writer:pass word')}`);
});

test.each(['drop_before', 'drop_after', 'status_502'] as const)(
  '%s: ambiguous, and then stored once',
  async (fault) => {
    let faults = 1;
    front.fault = (sql) => (isInsert(sql) && faults-- > 0 ? fault : 'none');
    const block = testRange(1, 1_000);
    const error = await sink.write(block, { signal: never, ambiguous: false }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Retryable);
    expect((error as Retryable).ambiguous).toBeTrue();
    expect(sink.health()).toMatchObject({ state: 'unhealthy' });
    await sink.write(block, { signal: never, ambiguous: true });
    expect(await held()).toBe('1000,1000');
    expect(sink.health()).toMatchObject({ state: 'healthy' });
  },
);

test('faults in the middle of finding out leave it ambiguous, and it is stored once in the end', async () => {
  const block = testRange(1, 500);
  await sink.write({ ...testRange(1, 100), token: 'another' }, { signal: never, ambiguous: false });
  const faults = ['drop_before', 'none', 'drop_after', 'none', 'none', 'drop_after', 'status_502'] as const;
  let requests = 0;
  front.fault = () => faults[requests++] ?? 'none';
  let failures = 0;
  for (;;) {
    try {
      await sink.write(block, { signal: never, ambiguous: true });
      break;
    } catch (error) {
      expect(error).toMatchObject({ name: 'Retryable', ambiguous: true });
      failures++;
    }
  }
  expect(failures).toBeGreaterThanOrEqual(2);
  expect(await held()).toBe('500,500');
});

test('an abort ends the request and is ambiguous', async () => {
  const giveUp = new AbortController();
  const write = sink.write(testRange(1, 20_000), { signal: giveUp.signal, ambiguous: false });
  giveUp.abort();
  await expect(write).rejects.toMatchObject({ name: 'Retryable', code: 'aborted', ambiguous: true });
  await sink.write(testRange(1, 20_000), { signal: never, ambiguous: true });
  expect(await held()).toBe('20000,20000');
});

test('a row that is refused is permanent here, too', async () => {
  const rows = [testRow(1), testRow(2, { seq: 'two' }), testRow(3)];
  const error = await sink
    .write(testBlock(rows, 1), { signal: never, ambiguous: false })
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Permanent);
  expect((error as Permanent).message).toContain('The row with seq 2 is refused');
  expect(await held()).toBe('0,0');
});

test.each(['gzip', 'zstd'] as const)('bodies are compressed by %s when it is asked for', async (compression) => {
  const packed = await openStore({ ...serverOptions(front.url), compression }, { logger: QUIET });
  const block = testRange(1, 5_000);
  await createStoreSink(packed, { logger: QUIET }).write(block, { signal: never, ambiguous: false });
  expect(front.last.headers['content-encoding']).toBe(compression);
  expect(Number(front.last.headers['content-length'] ?? 0)).toBeLessThan(block.byteLength / 2);
  expect(await held()).toBe('5000,5000');
  await packed.close();
});

test.each([
  [{ url: 'ftp://x' }, 'invalid_url'],
  [{ url: 'http://user:secret@x:8123' }, 'invalid_url'],
  [{ url: ' , ' }, 'invalid_url'],
  [{ url: 'http://a:8123, http://b:8123' }, 'cluster_required'],
  [{ cluster: "c' x" }, 'invalid_cluster'],
  [{ database: 'default' }, 'invalid_database'],
])('options that cannot be meant are refused: %p', async (options, code) => {
  const error = await openStore({ ...serverOptions('http://x:8123'), ...options }, { logger: QUIET }).catch(
    (caught: unknown) => caught,
  );
  expect(error).toMatchObject({ name: 'Permanent', code });
  expect(String(error)).not.toContain('secret');
});

test('a server that is not there: nothing was stored, try again', async () => {
  const gone = await openStore(serverOptions('http://127.0.0.1:1'), { logger: QUIET });
  const lonely = createStoreSink(gone, { logger: QUIET });
  await expect(lonely.connect(never)).rejects.toMatchObject({ name: 'Retryable', ambiguous: false });
  await expect(lonely.write(testRange(1, 2), { signal: never, ambiguous: false })).rejects.toMatchObject({
    name: 'Retryable',
    code: 'store_unreachable',
    ambiguous: false,
  });
  const service = createQueryService(gone, {}, { logger: QUIET });
  const answer = await service.handle(new Request('http://x/query', { method: 'POST', body: 'SELECT 1' }));
  expect([answer.status, await answer.text()]).toEqual([
    503,
    expect.stringContaining('cannot be reached. (NETWORK_ERROR)'),
  ]);
  await service.close();
  await gone.close();
});

test('/query is passed on, read-only and with the same walls and limits', async () => {
  await sink.write(testRange(1, 100), { signal: never, ambiguous: false });
  const service = createQueryService(store, { timeMsMax: 7_000 }, { logger: QUIET });
  const ask = (sql: string, search = '') =>
    service.handle(new Request(`http://x/query?${search}`, { method: 'POST', body: sql }));
  const answer = await ask(
    'SELECT count(), {x:UInt8} FROM raw_events',
    'param_x=3&max_execution_time=999&output_format_tsv_crlf_end_of_line=1',
  );
  expect(await answer.text()).toBe('100\t3\r\n');
  expect(answer.headers.get('x-clickhouse-format')).toBe('TabSeparated');
  const { search, headers } = front.last;
  expect(Object.fromEntries(search)).toMatchObject({
    readonly: '1',
    max_execution_time: '7',
    database: 'weir',
    wait_end_of_query: '1',
  });
  expect(headers).toMatchObject({ 'x-clickhouse-user': 'writer', 'x-clickhouse-key': 'pass word' });
  front.statements.length = 0;
  for (const sql of ['DROP TABLE raw_events', "SELECT * FROM url('http://x')", 'SELECT 1; SELECT 2']) {
    expect((await ask(sql)).status).toBeGreaterThanOrEqual(400);
  }
  expect(front.statements).toEqual([]);
  const unknown = await ask('SELECT * FROM nope');
  expect([unknown.status, unknown.headers.get('x-clickhouse-exception-code')]).toEqual([404, '60']);
  await service.close();
});
