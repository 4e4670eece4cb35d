import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { runCli } from './run-cli.ts';

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | readonly string[]>>;
  readonly body: unknown;
  readonly authorization: string | null;
}

const asked: Asked[] = [];
let answer: (one: Asked) => Response;
let server: Bun.Server<undefined>;
let url: string;

beforeAll(() => {
  server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      const text = await request.text();
      const query = Object.fromEntries(
        [...searchParams.keys()].map((name) => {
          const values = searchParams.getAll(name);
          return [name, values.length === 1 ? (values[0] as string) : values];
        }),
      );
      const authorization = request.headers.get('authorization');
      const body = text.startsWith('{') && pathname.startsWith('/dead') ? JSON.parse(text) : undefined;
      const one = { method: request.method, path: decodeURIComponent(pathname), query, body, authorization };
      asked.push(one);
      return answer(one);
    },
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterAll(() => server.stop(true));
beforeEach(() => {
  asked.length = 0;
  answer = () => Response.json({ error: 'not_found', message: 'There is nothing at this path.' }, { status: 404 });
});

const run = (...args: string[]) => runCli([...args, '--url', url]);

function letter(id: number, more: object = {}) {
  return {
    id,
    kind: 'row',
    sink: 'kafka',
    eventType: 'cart_updated',
    storeId: 'store-1',
    eventId: `e-${id}`,
    code: 'message_too_large',
    message: 'too large',
    attempts: 1200,
    firstFailedAt: '2026-03-14T09:26:53.700Z',
    event: { eventId: `e-${id}` },
    ...more,
  };
}

/** Serves so many letters in pages, as the service does. */
function serveLetters(count: number): (one: Asked) => Response {
  const letters = Array.from({ length: count }, (_, at) => letter(at + 1));
  return ({ query }) => {
    const behind = letters.filter(({ id }) => id > Number(query['after'] ?? 0));
    const page = behind.slice(0, Number(query['limit'] ?? 100));
    return Response.json({ deadLetters: page, next: page.length < behind.length ? page.at(-1)?.id : null });
  };
}

describe('weir dlq list', () => {
  test('a table, with all filters passed on', async () => {
    answer = () =>
      Response.json({
        deadLetters: [
          letter(3),
          letter(4, { eventId: 'red \u001b[31m', storeId: undefined }),
          letter(17, { kind: 'range', events: 1500, eventType: undefined, eventId: undefined }),
        ],
        next: null,
      });
    const filters = [
      '--sink',
      'http:a b',
      '--type',
      't',
      '--store',
      's',
      '--code',
      'c',
      '--from',
      '2026-03-14T09:26:53Z',
    ];
    const { exitCode, out, err } = await run('dlq', 'list', ...filters, '--to', '1800000000000');
    expect([exitCode, err]).toEqual([0, '']);
    expect(out).toBe(
      [
        'id  sink   type          store    event           code               attempts  first failed',
        '3   kafka  cart_updated  store-1  e-3             message_too_large     1,200  2026-03-14T09:26:53.700Z',
        '4   kafka  cart_updated  -        red \\u001b[31m  message_too_large     1,200  2026-03-14T09:26:53.700Z',
        '17  kafka  1,500 events  store-1  -               message_too_large     1,200  2026-03-14T09:26:53.700Z',
        '',
      ].join('\n'),
    );
    expect(asked[0]).toMatchObject({
      method: 'GET',
      path: '/dead-letters',
      query: {
        sink: 'http:a b',
        eventType: 't',
        storeId: 's',
        code: 'c',
        from: '2026-03-14T09:26:53Z',
        to: '1800000000000',
        after: '0',
        limit: '50',
      },
    });
  });

  test('goes through the pages up to the limit, and says that there are more', async () => {
    answer = serveLetters(500);
    const some = await run('dlq', 'list', '--limit', '250');
    expect(some.out.split('\n')).toHaveLength(1 + 250 + 2);
    expect(some.out).toContain('there are more');
    const all = await run('dlq', 'list', '--limit', '1000', '--json');
    const { deadLetters, next } = JSON.parse(all.out) as { deadLetters: { id: number }[]; next: null };
    expect(deadLetters.map(({ id }) => id)).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
    expect(next).toBeNull();
  });

  test('says so when there are none', async () => {
    answer = serveLetters(0);
    expect((await run('dlq', 'list')).out).toBe('No dead letters.\n');
  });
});

test('weir dlq show prints one as JSON that no terminal obeys', async () => {
  answer = () => Response.json(letter(3, { message: 'a\u001b[31m\u009b31m\u202e' }));
  const { out } = await run('dlq', 'show', '3');
  for (const control of ['\u001b', '\u009b', '\u202e']) expect(out).not.toContain(control);
  expect(JSON.parse(out)).toEqual(letter(3, { message: 'a\u001b[31m\u009b31m\u202e' }));
  expect(asked[0]?.path).toBe('/dead-letters/3');
});

describe('weir dlq replay', () => {
  const serve = (count: number, fails: (id: number) => boolean) => {
    const list = serveLetters(count);
    answer = (one) => {
      if (one.method === 'GET') return list(one);
      const { ids } = one.body as { ids: number[] };
      const results = ids.map((id) =>
        fails(id)
          ? { id, outcome: 'failed', code: 'message_too_large', message: 'still too large' }
          : { id, outcome: 'replayed', rows: 1 },
      );
      const failed = ids.filter(fails).length;
      return Response.json({ replayed: ids.length - failed, failed, results }, { status: failed === 0 ? 200 : 207 });
    };
  };

  test('by filter tries each of them once, also behind those that fail again', async () => {
    serve(250, (id) => id <= 120);
    const { exitCode, out } = await run('dlq', 'replay', '--sink', 'kafka');
    expect(exitCode).toBe(1);
    expect(out).toStartWith('130 replayed, 120 failed.\n');
    expect(out).toContain('still too large');
    expect(out).toContain('--json names them all');
    const tried = asked.flatMap(({ method, body }) => (method === 'POST' ? (body as { ids: number[] }).ids : []));
    expect(tried).toEqual(Array.from({ length: 250 }, (_, at) => at + 1));
    expect(asked.filter(({ method }) => method === 'GET').every(({ query }) => query['sink'] === 'kafka')).toBe(true);
  });

  test('by number, without asking first', async () => {
    serve(0, () => false);
    const { exitCode, out } = await run('dlq', 'replay', '7', '9', '--json');
    expect([exitCode, JSON.parse(out)]).toEqual([0, { replayed: 2, failed: 0, failures: [] }]);
    expect(asked).toMatchObject([{ method: 'POST', path: '/dead-letters/replay', body: { ids: [7, 9] } }]);
  });
});

describe('weir dlq delete', () => {
  test('by number, by filter, or all', async () => {
    answer = () => Response.json({ deleted: 2 });
    expect((await run('dlq', 'delete', '7', '9')).out).toBe('2 deleted.\n');
    await run('dlq', 'delete', '--code', 'c');
    await run('dlq', 'delete', '--all');
    expect(asked.map(({ method, query }) => [method, query])).toEqual([
      ['DELETE', { id: ['7', '9'] }],
      ['DELETE', { code: 'c' }],
      ['DELETE', { all: 'true' }],
    ]);
  });

  test.each([
    [[]],
    [['7', '--all']],
    [['7', '--sink', 'kafka']],
    [['--all', '--sink', 'kafka']],
    [['x']],
    [['0']],
    [['1e3']],
  ])('refuses %j before it asks anybody', async (args) => {
    for (const command of ['replay', 'delete']) {
      const { exitCode, err } = await run('dlq', command, ...args);
      expect([command, exitCode, err.length > 0]).toEqual([command, 2, true]);
    }
    expect(asked).toEqual([]);
  });
});

describe('weir sink', () => {
  test('lists them', async () => {
    answer = () =>
      Response.json({
        sinks: [
          { name: 'store', removed: false, state: 'healthy', pendingEvents: 12_345, deadLetters: 0 },
          { name: 'kafka', removed: false, state: 'unhealthy', stopped: 'a row\nit refuses', pendingEvents: 1 },
          { name: 'http:analytics', removed: true, pendingEvents: 7 },
        ],
      });
    expect((await run('sink', 'list')).out).toBe(
      [
        'sink            state    pending  dead letters  last error',
        'store           healthy   12,345             0',
        'kafka           stopped        1             -  a row\\nit refuses',
        'http:analytics  removed        7             -',
        '',
      ].join('\n'),
    );
  });

  test('drops one, or says why not', async () => {
    answer = () => Response.json({ name: 'http:a/b', dropped: true, pendingEvents: 1200 });
    const { exitCode, out } = await run('sink', 'drop', 'http:a/b');
    expect([exitCode, out]).toEqual([0, 'http:a/b is dropped; it had not had 1,200 events.\n']);
    expect(asked).toMatchObject([{ method: 'DELETE', path: '/sinks/http:a/b' }]);
    answer = () => Response.json({ error: 'sink_configured', message: 'It is in use.' }, { status: 409 });
    const refused = await run('sink', 'drop', 'kafka', '--json');
    expect([refused.exitCode, JSON.parse(refused.err)]).toEqual([
      1,
      { error: 'sink_configured', message: 'It is in use.' },
    ]);
  });
});

describe('weir reconcile', () => {
  const counts = { acknowledged: 10, stored: 7, deadLettered: 1, deleted: 1, pending: 1, duplicates: 0, difference: 0 };
  const balanced = {
    from: '2026-03-14T09:00:00.000Z',
    to: '2026-03-14T10:00:00.000Z',
    balanced: true,
    discrepancies: [],
    total: { acknowledged: 10, sinks: { store: counts } },
    eventTypes: [{ eventType: 'cart_updated', acknowledged: 10, sinks: { store: counts } }],
    sources: { store: 'counted in the table' },
    caveats: [],
  };

  test('shows the figures, and that they add up', async () => {
    answer = () => Response.json(balanced);
    const { exitCode, out } = await run(
      'reconcile',
      '--from',
      '2026-03-14T09:00:00Z',
      '--to',
      '1800000000000',
      '--deep',
    );
    expect(exitCode).toBe(0);
    expect(out).toBe(
      [
        'From 2026-03-14T09:00:00.000Z to 2026-03-14T10:00:00.000Z',
        'type          sink   acknowledged  stored  dead letters  deleted  pending  difference  duplicates',
        'cart_updated  store            10       7             1        1        1           0           0',
        'all           store            10       7             1        1        1           0           0',
        'Everything adds up.',
        'store: counted in the table',
        '',
      ].join('\n'),
    );
    expect(asked[0]?.query).toEqual({ from: '2026-03-14T09:00:00Z', to: '1800000000000', deep: 'true' });
  });

  test('says where they do not, and fails', async () => {
    answer = () =>
      Response.json({
        ...balanced,
        balanced: false,
        discrepancies: [{ message: '1 is missing' }],
        caveats: ['cut off'],
      });
    const { exitCode, out } = await run('reconcile');
    expect(exitCode).toBe(1);
    expect(out).toContain('It does not add up:\n  1 is missing\nNote: cut off\n');
    expect(asked[0]?.query).toEqual({});
  });
});

describe('a token', () => {
  const authorizations = () => asked.map(({ authorization }) => authorization);

  test('comes from --token, else from WEIR_TOKEN, else there is none', async () => {
    answer = () => Response.json({ sinks: [] });
    const environment = { WEIR_TOKEN: 'from.the.environment', WEIR_URL: url };
    await runCli(['sink', 'list'], { environment });
    await runCli(['sink', 'list', '--token', 'from.an.option'], { environment });
    await runCli(['sink', 'list'], { environment: { ...environment, WEIR_TOKEN: ' ' } });
    expect(authorizations()).toEqual(['Bearer from.the.environment', 'Bearer from.an.option', null]);
  });

  test('goes with every command that talks to the service', async () => {
    answer = () => new Response('v\nString\n', { headers: { 'x-clickhouse-format': 'TabSeparatedWithNamesAndTypes' } });
    await run('query', 'SELECT 1', '--token', 't.o.k');
    await runCli(['import', '-', '--format', 'ndjson', '--retry-for', '0', '--url', url, '--token', 't.o.k'], {
      stdin: '{"eventId":"a"}\n',
    });
    expect(asked.map(({ path }) => path)).toEqual(['/query', '/events/batch']);
    expect(new Set(authorizations())).toEqual(new Set(['Bearer t.o.k']));
  });

  test('that no header could carry is refused, and not shown', async () => {
    for (const token of ['', 'hush hush', 'hush\nhush', 'hüsh-hush']) {
      const { exitCode, err } = await run('sink', 'list', '--token', token);
      expect([exitCode, asked.length]).toEqual([2, 0]);
      expect(err).toStartWith('The token (--token or WEIR_TOKEN) cannot be sent: ');
      expect(err).not.toContain('hush');
    }
  });

  test('is not shown by --help', async () => {
    const { out } = await runCli(['sink', 'list', '--help'], { environment: { WEIR_TOKEN: 'very.secret.token' } });
    expect(out).toContain('--token');
    expect(out).not.toContain('very.secret.token');
  });
});

test('what cannot be reached is exit code 3', async () => {
  const { exitCode, err } = await runCli(['dlq', 'list', '--url', 'http://127.0.0.1:1']);
  expect(exitCode).toBe(3);
  expect(err).toContain('Is it running?');
});
