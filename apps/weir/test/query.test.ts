import { describe, expect, test } from 'bun:test';
import { runCli } from './run-cli.ts';

interface Asked {
  readonly sql: string;
  readonly parameters: Readonly<Record<string, string>>;
}

function startStore(answer: (asked: Asked) => Response) {
  const asked: Asked[] = [];
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const url = new URL(request.url);
      if (url.pathname !== '/query' || request.method !== 'POST') return new Response('not found', { status: 404 });
      const one = { sql: await request.text(), parameters: Object.fromEntries(url.searchParams) };
      asked.push(one);
      return answer(one);
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, asked, [Symbol.dispose]: () => void server.stop(true) };
}

const format = (name: string) => ({ headers: { 'x-clickhouse-format': name } });
const TABLE = 'TabSeparatedWithNamesAndTypes';

describe('weir query', () => {
  test('a table: aligned, typed, NULL told from text, numbers exact, escapes shown', async () => {
    const rows = [
      'id\tbrand\tat',
      'UInt64\tNullable(String)\tDateTime64(3)',
      '18446744073709551615\t\\N\t2019-10-01 00:00:00.000',
      '7\ttab\\tand \\\\N \u001b[31mred\t2019-10-01 00:00:01.000',
      '8\t日本\t2019-10-01 00:00:02.000',
    ];
    using store = startStore(() => new Response(`${rows.join('\n')}\n`, format(TABLE)));
    const { exitCode, out, err } = await runCli(['query', 'SELECT 1', '--url', store.url]);
    expect(err).toBe('');
    expect(exitCode).toBe(0);
    expect(out).toBe(
      [
        '                  id  brand                      at',
        '              UInt64  Nullable(String)           DateTime64(3)',
        '────────────────────  ─────────────────────────  ───────────────────────',
        '18446744073709551615  NULL                       2019-10-01 00:00:00.000',
        '                   7  tab\\tand \\N \\u001b[31mred  2019-10-01 00:00:01.000',
        '                   8  日本                       2019-10-01 00:00:02.000',
        '(3 rows)',
        '',
      ].join('\n'),
    );
    expect(store.asked).toEqual([{ sql: 'SELECT 1', parameters: { default_format: TABLE } }]);
  });

  test('wide cells are cut, unless told not to; a long answer is counted to its end', async () => {
    const rows = Array.from({ length: 1200 }, () => 'x'.repeat(80));
    using store = startStore(() => new Response(`v\nString\n${rows.join('\n')}\n`, format(TABLE)));
    const cut = await runCli(['query', 'SELECT 1', '--url', store.url]);
    expect(cut.out).toContain(`\n${'x'.repeat(47)}…\n`);
    expect(cut.out).toContain('(1,200 rows; the first 1,000 are shown');
    const whole = await runCli(['query', 'SELECT 1', '--url', store.url, '--cell-width', '0']);
    expect(whole.out).toContain('x'.repeat(80));
  });

  test('--format passes bytes on untouched; --param, --json and standard input', async () => {
    const bytes = new Uint8Array(300_000).map((_, index) => index * 7);
    using store = startStore(({ parameters }) => new Response(bytes, format(parameters['default_format'] ?? '')));
    const child = Bun.spawn(
      [
        process.execPath,
        `${import.meta.dir}/../src/main.ts`,
        'query',
        '-',
        '--format',
        'Parquet',
        '--param',
        'type=a=b',
        '--param',
        'n=1',
        '--url',
        store.url,
      ],
      { stdin: Buffer.from('SELECT {n:Int8}\n'), stdout: 'pipe', stderr: 'pipe' },
    );
    expect(Buffer.from(await child.stdout.bytes()).equals(bytes)).toBe(true);
    expect(await child.exited).toBe(0);
    await runCli(['query', 'SELECT 2', '--json', '--url', store.url]);
    expect(store.asked).toEqual([
      { sql: 'SELECT {n:Int8}\n', parameters: { default_format: 'Parquet', param_type: 'a=b', param_n: '1' } },
      { sql: 'SELECT 2', parameters: { default_format: 'JSON' } },
    ]);
  });

  test("the statement's own FORMAT clause is passed on as it is", async () => {
    using store = startStore(() => new Response('1,2\n', format('CSV')));
    const { out } = await runCli(['query', 'SELECT 1, 2 FORMAT CSV', '--url', store.url]);
    expect(out).toBe('1,2\n');
  });

  test('a reader that leaves early is no error', async () => {
    const rows = 'x\n'.repeat(1_000_000);
    using store = startStore(() => new Response(rows, format('TSV')));
    const main = `${import.meta.dir}/../src/main.ts`;
    const command = `"${process.execPath}" "${main}" query 'SELECT 1' --format TSV --url ${store.url} | head -n 1`;
    const child = Bun.spawn(['sh', '-c', command], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
    expect(await child.stdout.text()).toBe('x\n');
    expect(await child.stderr.text()).toBe('');
  });

  test("errors are the service's words, exit code 1", async () => {
    using clickhouse = startStore(
      () => new Response('Code: 47. DB::Exception: Unknown identifier `x`', { status: 404 }),
    );
    const exception = await runCli(['query', 'SELECT x', '--url', clickhouse.url]);
    expect(exception).toEqual({ exitCode: 1, out: '', err: 'Code: 47. DB::Exception: Unknown identifier `x`\n' });
    using weir = startStore(() =>
      Response.json({ error: 'statement_not_allowed', message: 'only SELECT', requestId: 'r' }, { status: 403 }),
    );
    const refused = await runCli(['query', 'DROP TABLE x', '--json', '--url', weir.url]);
    expect(refused.exitCode).toBe(1);
    expect(JSON.parse(refused.err)).toEqual({ error: 'statement_not_allowed', message: 'only SELECT' });
  });

  test('an exception in mid-answer is not taken for a row', async () => {
    using store = startStore(
      () => new Response('a\tb\nUInt8\tUInt8\n1\t2\nCode: 241. DB::Exception: Memory limit\n', format(TABLE)),
    );
    const { exitCode, out, err } = await runCli(['query', 'SELECT 1', '--url', store.url]);
    expect(exitCode).toBe(1);
    expect(out).toBe('');
    expect(err).toContain('Memory limit');
  });

  test('nobody there is 3, nothing to ask is 2', async () => {
    const gone = startStore(() => new Response());
    gone[Symbol.dispose]();
    const { exitCode, err } = await runCli(['query', 'SELECT 1', '--url', gone.url]);
    expect(exitCode).toBe(3);
    expect(err).toContain('nothing listens there');
    expect((await runCli(['query'], { stdin: ' \n' })).exitCode).toBe(2);
    expect((await runCli(['query', 'SELECT 1', '--format', 'a b'])).exitCode).toBe(2);
    expect((await runCli(['query', 'SELECT 1', '--param', '=x'])).exitCode).toBe(2);
  });

  test('WEIR_URL names the service where --url does not', async () => {
    using store = startStore(() => new Response('v\nUInt8\n1\n', format(TABLE)));
    const { exitCode } = await runCli(['query', 'SELECT 1'], { environment: { WEIR_URL: `${store.url}/` } });
    expect(exitCode).toBe(0);
  });
});
