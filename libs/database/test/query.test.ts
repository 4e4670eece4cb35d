/** /query as clients meet it: over a real socket, and through ClickHouse's own client library. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { createQueryService, type QueryService } from '../src/query-service.ts';
import type { Store } from '../src/store.ts';
import { createStoreSink } from '../src/store-sink.ts';
import { openTestStore, QUIET, testBlock, testRange, testRow } from '../src/testing.ts';
import { HOSTILE } from './hostile-queries.ts';

// Queries run into limits of seconds, on machines that do other things as well.
setDefaultTimeout(30_000);

const never = new AbortController().signal;
let store: Store;
let close: () => Promise<void>;
let service: QueryService;
let server: ReturnType<typeof Bun.serve>;

function serve(of: QueryService) {
  return Bun.serve({ port: 0, hostname: '127.0.0.1', idleTimeout: 120, fetch: (request) => of.handle(request) });
}

beforeAll(async () => {
  ({ store, close } = await openTestStore());
  const sink = createStoreSink(store, { logger: QUIET });
  await sink.connect(never);
  await sink.write(testRange(1, 300), { signal: never, ambiguous: false });
  // The same events once more, as a second instance would have stored them later and on another day.
  const copies = testRange(1, 100, {
    receivedAt: '2025-06-17T00:00:00.000Z',
    journal: '0190a1b2-0000-7000-8000-00000000beef',
    data: { late: true },
  });
  await sink.write({ ...copies, token: 'copies' }, { signal: never, ambiguous: false });
  service = createQueryService(
    store,
    { timeMsMax: 5_000, memoryBytesMax: 300e6, resultRowsMax: 10_000 },
    { logger: QUIET },
  );
  server = serve(service);
});
afterAll(async () => {
  await server.stop(true);
  await service.close();
  await close();
});

const ask = (sql: string, init: RequestInit = {}) =>
  fetch(`${server.url}query`, { method: 'POST', body: sql, ...init });
async function text(sql: string): Promise<string> {
  const answer = await ask(sql);
  return answer.ok ? (await answer.text()).trimEnd() : `${answer.status} ${await answer.text()}`;
}

test.each([
  ['SELECT count() FROM raw_events', '400'],
  ['SELECT count() FROM weir.events', '300'],
  ['select 1; ', '1'],
  ['(SELECT 1) UNION ALL (SELECT 1)', '1\n1'],
  ['WITH 2 AS x SELECT x * 3', '6'],
  ['/* a comment; with a semicolon */ SELECT 1 -- and another', '1'],
  [
    "SELECT 'it''s; -- no comment', 'a\\'b', \"seq\" FROM raw_events WHERE seq = 1 LIMIT 1",
    "it\\'s; -- no comment\ta\\'b\t1",
  ],
  ['SELECT `seq` FROM `weir`.`raw_events` ORDER BY 1 LIMIT 1', '1'],
  ["SELECT trim(BOTH 'x' FROM 'xax'), extract(DAY FROM toDate('2024-05-06'))", 'a\t6'],
  ['SELECT sum(number) FROM numbers(10)', '45'],
  ["SELECT * FROM values('a UInt8', 1, 2)", '1\n2'],
  ['SELECT count() FROM (SELECT * FROM view(SELECT 1 AS a))', '1'],
  ['SELECT count(*) FROM system.tables WHERE database = currentDatabase()', '3'],
  ["SELECT name, type FROM system.columns WHERE table = 'events' AND name = 'userId'", 'userId\tNullable(String)'],
  ['SHOW TABLES', 'events\nraw_events\nschema_migrations'],
  ["SELECT count() > 0 FROM INFORMATION_SCHEMA.TABLES WHERE table_schema = 'weir'", '1'],
  ['EXISTS TABLE raw_events', '1'],
  ['SELECT 1 SETTINGS max_execution_time = 2, output_format_json_quote_64bit_integers = 0', '1'],
  ['SELECT max(seq) FROM raw_events SETTINGS max_threads = 1', '300'],
  ["SELECT JSONExtractString(data, 'sku') FROM events WHERE storeId = 'store-1' AND eventId = 'event-1'", 'sku-1'],
  ["SELECT uniq(sessionId), countIf(eventType = 'item_added') FROM events GROUP BY ALL HAVING 1", '50\t100'],
  ["SELECT format('{}-{}', 'a', 1), path('http://x/y'), url FROM (SELECT 7 AS url)", 'a-1\t/y\t7'],
  ['SELECT version() = version(), timezone() = timezone(), count() > 100 FROM system.settings', '1\t1\t1'],
])('%s', async (sql, answer) => {
  expect(await text(sql)).toBe(answer);
});

test.each([
  'DESCRIBE TABLE raw_events',
  'DESC events',
  'SHOW CREATE TABLE raw_events',
  'SHOW DATABASES',
  'SHOW COLUMNS FROM raw_events',
  'EXPLAIN SELECT 1',
  'EXPLAIN indexes = 1 SELECT count() FROM raw_events',
  'EXPLAIN SYNTAX SELECT 1',
])('%s is answered', async (sql) => {
  const answer = await ask(sql);
  expect([answer.status, (await answer.text()).length > 0]).toEqual([200, true]);
});

describe('refuses, and changes nothing:', () => {
  test.each(HOSTILE.map(([sql, code = 392]): [string, string, number] => [JSON.stringify(sql), sql, code]))(
    '%s',
    async (_name, sql, code) => {
      const answer = await ask(sql);
      const body = await answer.text();
      expect(answer.headers.get('x-clickhouse-exception-code')).toBe(String(code));
      expect(body).toMatch(new RegExp(`^Code: ${code}\\. DB::Exception: .+ \\([A-Z_]+\\)\\n$`, 's'));
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(await text('SELECT count() FROM raw_events')).toBe('400');
    },
  );
});

test('the engine refuses writes by itself, should the first wall miss one', async () => {
  const { target } = store;
  if (target.kind !== 'embedded') throw new TypeError('these tests run embedded');
  const session = target.engine.openSession();
  session.query('USE weir; SET max_execution_time = 9; SET readonly = 1');
  for (const sql of [
    'DROP TABLE raw_events',
    'INSERT INTO raw_events (eventId) VALUES (1)',
    "SELECT * FROM file('/etc/hostname')",
    "SELECT * FROM '/etc/hostname'",
    'SELECT * FROM default."/etc/hostname"',
    "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')",
    'SET max_execution_time = 0',
    'SET readonly = 0',
  ]) {
    expect(() => session.query(sql)).toThrow(/READONLY|UNKNOWN_TABLE/);
  }
  session.close();
});

describe("ClickHouse's conventions", () => {
  test('the query in the URL, the body, or both', async () => {
    const url = `${server.url}query?query=${encodeURIComponent('SELECT 1 +')}`;
    expect(await (await fetch(url, { method: 'POST', body: '41' })).text()).toBe('42\n');
    expect(await (await fetch(`${server.url}query?query=SELECT%205`)).text()).toBe('5\n');
    const head = await fetch(`${server.url}query?query=SELECT%205`, { method: 'HEAD' });
    expect([head.status, head.headers.get('x-clickhouse-format')]).toEqual([200, 'TabSeparated']);
    for (const path of ['query', 'query/ping', 'query?query=']) {
      expect(await (await fetch(`${server.url}${path}`)).text()).toBe('Ok.\n');
    }
    expect((await fetch(`${server.url}query`, { method: 'DELETE' })).status).toBe(405);
  });

  test('headers', async () => {
    const answer = await fetch(`${server.url}query?query_id=my-id&query=SELECT%20count()%20FROM%20raw_events`);
    expect(answer.headers.get('x-clickhouse-query-id')).toBe('my-id');
    expect(answer.headers.get('content-type')).toBe('text/tab-separated-values; charset=UTF-8');
    const summary = JSON.parse(answer.headers.get('x-clickhouse-summary') ?? '{}');
    expect(Number(summary.read_rows)).toBeGreaterThan(0);
    expect(Number(summary.elapsed_ns)).toBeGreaterThan(0);
  });

  test.each([
    ['SELECT 1 AS a FORMAT JSONEachRow', '', 'JSONEachRow', 'application/x-ndjson; charset=UTF-8', '{"a":1}\n'],
    ['SELECT 1 AS a FORMAT CSV SETTINGS extremes = 0', '', 'CSV', 'text/csv; charset=UTF-8; header=absent', '1\n'],
    [
      'SELECT 1 AS a',
      '?default_format=CSVWithNames',
      'CSVWithNames',
      'text/csv; charset=UTF-8; header=present',
      '"a"\n1\n',
    ],
    ['SELECT 1 AS a FORMAT TSV', '?default_format=JSON', 'TSV', 'text/tab-separated-values; charset=UTF-8', '1\n'],
  ])('format: %s%s', async (sql, search, format, type, body) => {
    const answer = await fetch(`${server.url}query${search}`, { method: 'POST', body: sql });
    expect([answer.headers.get('x-clickhouse-format'), answer.headers.get('content-type')]).toEqual([format, type]);
    expect(await answer.text()).toBe(body);
  });

  test('the format as a header', async () => {
    const answer = await ask('SELECT 1 AS a', { headers: { 'X-ClickHouse-Format': 'JSONCompactEachRow' } });
    expect(await answer.text()).toBe('[1]\n');
  });

  test('parameters, also with quotes, backslashes, NULL and names', async () => {
    const search = new URLSearchParams({
      param_x: '42',
      param_s: "it's; DROP TABLE x --",
      param_n: '\\N',
      param_t: 'raw_events',
      param_a: "['a','b']",
    });
    const sql =
      'SELECT {x:UInt32} + 1, {s:String}, {n:Nullable(String)} IS NULL, {a:Array(String)}[2], count() FROM {t:Identifier} FORMAT JSONCompactEachRow';
    const answer = await fetch(`${server.url}query?${search}`, { method: 'POST', body: sql });
    expect(await answer.json()).toEqual(
      [43, "it's; DROP TABLE x --", 1, 'b', '400'].map((value) => (value === '400' ? 400 : value)),
    );
  });

  test('parameters of concurrent queries do not mix', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, x) =>
        fetch(
          `${server.url}query?param_x=${x}&query=${encodeURIComponent('SELECT {x:UInt32}, sum(number) FROM numbers(300000)')}`,
        ).then((answer) => answer.text()),
      ),
    );
    expect(answers.map((answer) => Number(answer.split('\t')[0]))).toEqual(Array.from({ length: 12 }, (_, x) => x));
  });

  test.each([
    ['SELECT', 400, 62],
    ['SELECT nope', 404, 47],
    ['SELECT * FROM nope', 404, 60],
    ['SELECT nope(1)', 404, 46],
    ['SELECT {x:UInt8}', 400, 456],
    ['SELECT 1 FORMAT Nope', 404, 73],
    ['SELECT count() FROM numbers(1e14) SETTINGS max_execution_time = 1', 408, 159],
    ['SELECT number FROM numbers(20000)', 400, 396],
    ['SELECT groupArray(number) FROM numbers(1e9)', 400, 241],
  ])('%s: status %d, code %d', async (sql, status, code) => {
    const answer = await ask(sql);
    const body = await answer.text();
    expect([answer.status, answer.headers.get('x-clickhouse-exception-code'), body.slice(0, 6)]).toEqual([
      status,
      String(code),
      'Code: ',
    ]);
    expect(body).not.toContain(store.target.kind === 'embedded' ? store.target.engine.folder : '');
  });

  test('settings in the URL: formats count, limits count when lower, others are tolerated', async () => {
    const search = new URLSearchParams({
      session_timezone: 'Asia/Tokyo',
      max_execution_time: '99999',
      max_result_rows: '5',
      readonly: '0',
      async_insert: '1',
      no_such_setting: 'x',
      log_comment: 'mine',
    });
    const settings =
      "SELECT getSetting('session_timezone'), getSetting('max_execution_time'), getSetting('max_result_rows'), getSetting('readonly') FORMAT JSONCompactEachRow";
    const answer = await fetch(`${server.url}query?${search}`, { method: 'POST', body: settings });
    expect(await answer.json()).toEqual(['Asia/Tokyo', 5, 5, 1]);
  });

  test('databases: our own, or none; others are said to be unknown', async () => {
    for (const database of ['default', 'weir', '']) {
      expect(
        await (await fetch(`${server.url}query?database=${database}&query=SELECT%20currentDatabase()`)).text(),
      ).toBe('weir\n');
    }
    const answer = await fetch(`${server.url}query?database=system&query=SELECT%201`);
    expect([answer.status, answer.headers.get('x-clickhouse-exception-code')]).toEqual([404, '81']);
  });

  test('compressed bodies, within limits', async () => {
    const sql = new TextEncoder().encode('SELECT 11');
    const gzip = await ask('', { body: Bun.gzipSync(sql), headers: { 'Content-Encoding': 'gzip' } });
    expect(await gzip.text()).toBe('11\n');
    const bomb = await ask('', {
      body: Bun.gzipSync(new Uint8Array(50e6).fill(32)),
      headers: { 'Content-Encoding': 'gzip' },
    });
    expect(bomb.status).toBe(413);
    const wrong = await ask('', { body: sql, headers: { 'Content-Encoding': 'gzip' } });
    expect(wrong.status).toBe(400);
    expect((await ask('x'.repeat(300_000))).status).toBe(413);
    expect((await ask('', { body: new Uint8Array([0x53, 0xff, 0xfe]) })).status).toBe(400);
  });
});

describe('formats with bytes of their own', () => {
  test('RowBinary, Native and Parquet arrive intact', async () => {
    const sql =
      'SELECT number, toString(number) AS text, reinterpretAsString(toUInt64(number * 1234567891011)) AS bytes FROM numbers(2000)';
    const rowBinary = new Uint8Array(
      await (await ask('SELECT toUInt32(number * 65537) FROM numbers(1000) FORMAT RowBinary')).arrayBuffer(),
    );
    const view = new DataView(rowBinary.buffer);
    expect(Array.from({ length: 1000 }, (_, index) => view.getUint32(index * 4, true))).toEqual(
      Array.from({ length: 1000 }, (_, index) => index * 65_537),
    );
    const { target } = store;
    if (target.kind !== 'embedded') throw new TypeError('these tests run embedded');
    const session = target.engine.openSession();
    for (const format of ['Native', 'Parquet', 'Arrow']) {
      const answer = await ask(`${sql} FORMAT ${format}`);
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
      const bytes = Buffer.from(await answer.arrayBuffer());
      // The engine reads its own bytes back, from a text of hexadecimal digits.
      const back = session.query(
        `SELECT count(), sum(cityHash64(*)) FROM format(${format}, unhex('${bytes.toString('hex')}'))`,
        'TSV',
      );
      expect(back).toBe(session.query(`SELECT count(), sum(cityHash64(*)) FROM (${sql})`, 'TSV'));
    }
    session.close();
  });
});

describe("ClickHouse's own client", () => {
  test('pings, queries with parameters, and gets typed errors', async () => {
    const client = createClient({
      url: String(server.url),
      pathname: '/query',
      log: { level: ClickHouseLogLevel.OFF },
    });
    expect(await client.ping()).toEqual({ success: true });
    expect((await client.ping({ select: true })).success).toBeTrue();
    const rows = await client.query({
      query: 'SELECT eventId, seq FROM raw_events WHERE storeId = {store:String} AND seq < {below:UInt64} ORDER BY seq',
      format: 'JSONEachRow',
      query_params: { store: 'store-1', below: 8 },
      clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
    });
    // The rows of both journals.
    expect(await rows.json<{ seq: string }>()).toHaveLength(6);
    const json = await client.query({ query: 'SELECT count() AS c FROM events', format: 'JSON' });
    expect((await json.json<{ c: string | number }>()).data).toEqual([{ c: expect.anything() }]);
    await expect(client.query({ query: 'SELECT * FROM nope' })).rejects.toMatchObject({
      code: '60',
      type: 'UNKNOWN_TABLE',
    });
    await expect(client.command({ query: 'DROP TABLE raw_events' })).rejects.toMatchObject({
      code: '164',
      type: 'READONLY',
    });
    await expect(
      client.insert({ table: 'raw_events', values: [testRow(9)], format: 'JSONEachRow' }),
    ).rejects.toMatchObject({ type: 'READONLY' });
    await client.close();
  });
});

describe('limits', () => {
  test('a full queue answers 503 and says when to come back; a client that leaves ends its query', async () => {
    const narrow = createQueryService(
      store,
      { concurrentMax: 1, queueMax: 1, queueTimeoutMs: 20_000, timeMsMax: 30_000 },
      { logger: QUIET },
    );
    const endless = 'SELECT count() FROM numbers(1e14)';
    const leaving = new AbortController();
    await untilNoneRuns();
    const request = (signal: AbortSignal) =>
      narrow.handle(new Request('http://x/query', { method: 'POST', body: endless, signal }));
    const running = request(leaving.signal);
    while ((await countRunning()) === 0) await Bun.sleep(10);
    const waiting = request(leaving.signal);
    await Bun.sleep(0);
    const refused = await request(never);
    expect([
      refused.status,
      refused.headers.get('retry-after'),
      refused.headers.get('x-clickhouse-exception-code'),
    ]).toEqual([503, '1', '202']);
    leaving.abort();
    expect([(await running).status, (await waiting).status]).toEqual([503, 503]);
    await untilNoneRuns();
    expect(await countRunning()).toBe(0);
    await narrow.close();
    expect((await request(never)).status).toBe(503);
  });

  test('inserts go on beside an endless query', async () => {
    const sink = createStoreSink(store, { logger: QUIET });
    await sink.connect(never);
    await untilNoneRuns();
    const endless = ask('SELECT count() FROM numbers(1e14) SETTINGS max_execution_time = 5');
    while ((await countRunning()) === 0) await Bun.sleep(10);
    await sink.write(testBlock([testRow(5_000_001)], 5_000_001), { signal: never, ambiguous: false });
    expect(await countRunning()).toBe(1);
    expect((await endless).status).toBe(408);
    await store.command('DELETE FROM weir.raw_events WHERE seq = 5000001 SETTINGS mutations_sync = 2');
  });
});

/** The engine lists a query for a moment after it has answered. One that nobody ended would be there until the test's time is up. */
async function untilNoneRuns(): Promise<void> {
  while ((await countRunning()) > 0) await Bun.sleep(10);
}

async function countRunning(): Promise<number> {
  const [row] = await store.select(
    "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], 'weir-query:')",
  );
  return Number(row?.[0]);
}
