import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { createAuth } from '@libs/auth';
import { signToken, TEST_SECRET } from '@libs/auth/testing';
import { Overloaded, Permanent, Retryable } from '@libs/pipeline';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv';
import { call as ask, letter, type OperatorsService, startOperators } from './operators-service.ts';

let operators: OperatorsService;
beforeAll(async () => {
  operators = await startOperators();
});
afterAll(() => operators[Symbol.asyncDispose]());
beforeEach(() => {
  operators.backend.calls.length = 0;
  operators.backend.letters = [];
});

const call = (method: string, path: string, body?: unknown) => ask(operators.url, method, path, body);
const get = (path: string) => call('GET', path);

describe('GET /reconcile', () => {
  const counts = { acknowledged: 10, stored: 7, deadLettered: 1, deleted: 1, pending: 1, duplicates: 0 };

  test('adds up by type and in all', async () => {
    const { reconcile } = operators.backend;
    operators.backend.reconcile = async ({ fromMs, toMs }) => ({
      fromMs,
      toMs,
      rows: [
        {
          eventType: 'a',
          acknowledged: 10,
          sinks: { store: counts, kafka: { ...counts, acknowledged: 9, pending: 0 } },
        },
        { eventType: 'b', acknowledged: 10, sinks: { store: { ...counts, duplicates: 2 }, kafka: counts } },
      ],
      sources: { store: 'counted in the table' },
      caveats: [],
    });
    const { status, body } = await get('/reconcile?from=2026-03-14T09:26:53Z&to=2026-03-14T09:28:00Z');
    operators.backend.reconcile = reconcile;
    expect(status).toBe(200);
    expect(body).toMatchObject({
      from: '2026-03-14T09:26:00.000Z',
      to: '2026-03-14T09:28:00.000Z',
      balanced: true,
      discrepancies: [],
      total: {
        acknowledged: 20,
        sinks: {
          store: {
            acknowledged: 20,
            stored: 14,
            deadLettered: 2,
            deleted: 2,
            pending: 2,
            duplicates: 2,
            difference: 0,
          },
          kafka: { acknowledged: 19, stored: 14, deadLettered: 2, pending: 1, duplicates: 0, difference: 0 },
        },
      },
      sources: { store: 'counted in the table' },
    });
  });

  test('says where it does not, also when two mistakes cancel out', async () => {
    const { reconcile } = operators.backend;
    operators.backend.reconcile = async ({ fromMs, toMs }) => ({
      fromMs,
      toMs,
      rows: [
        { eventType: 'a', acknowledged: 10, sinks: { store: { ...counts, stored: 6 } } },
        { eventType: 'b', acknowledged: 10, sinks: { store: { ...counts, stored: 8 } } },
      ],
      sources: {},
      caveats: ['pending was counted up to 1,000,000 events'],
    });
    const { body } = await get('/reconcile');
    operators.backend.reconcile = reconcile;
    expect(body.balanced).toBe(false);
    expect(body.total.sinks.store.difference).toBe(0);
    expect(body.discrepancies).toMatchObject([
      { eventType: 'a', sink: 'store', difference: 1 },
      { eventType: 'b', sink: 'store', difference: -1 },
    ]);
    expect(body.caveats).toHaveLength(1);
  });

  test('is about the last hour, in whole minutes, when no interval is given', async () => {
    const before = Date.now();
    await get('/reconcile?deep=true');
    const [, { fromMs, toMs, deep }] = operators.backend.calls[0] as never as [
      string,
      { fromMs: number; toMs: number; deep: boolean },
    ];
    expect(deep).toBe(true);
    expect([fromMs % 60_000, toMs % 60_000]).toEqual([0, 0]);
    expect(toMs).toBeGreaterThanOrEqual(before);
    expect(toMs - fromMs).toBeGreaterThanOrEqual(3_600_000);
    expect(toMs - fromMs).toBeLessThanOrEqual(3_720_000);
  });

  test.each([
    'from=2026-03-14T10:00:00Z&to=2026-03-14T09:00:00Z',
    'from=2026-03-14T10:00:00Z&to=2026-03-14T10:00:00Z',
    'from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z',
    'from=10:00',
    'deep=1',
    'sink=kafka',
  ])('refuses %s', async (query) => {
    expect((await get(`/reconcile?${query}`)).body.error).toBe('invalid_parameter');
    expect(operators.backend.calls).toEqual([]);
  });
});

describe('/sinks', () => {
  test('lists them', async () => {
    expect((await get('/sinks')).body).toEqual({ sinks: [{ name: 'store', removed: false, state: 'healthy' }] });
  });

  test('drops one that was removed, and no other', async () => {
    const dropped = await call('DELETE', '/sinks/http:analytics');
    expect([dropped.status, dropped.body]).toEqual([200, { name: 'http:analytics', dropped: true, pendingEvents: 12 }]);
    expect((await call('DELETE', '/sinks/http%3Aanalytics')).status).toBe(200);
    const inUse = await call('DELETE', '/sinks/store');
    expect([inUse.status, inUse.body.error]).toEqual([409, 'sink_configured']);
    expect((await call('DELETE', '/sinks/nowhere')).body.error).toBe('unknown_sink');
    expect(operators.log.join('\n')).toContain('an operator dropped a sink');
  });
});

describe('every one of them', () => {
  const CALLS = [
    ['GET', '/dead-letters'],
    ['GET', '/dead-letters/1'],
    ['POST', '/dead-letters/replay'],
    ['DELETE', '/dead-letters?all=true'],
    ['GET', '/reconcile'],
    ['GET', '/sinks'],
    ['DELETE', '/sinks/kafka'],
  ] as const;

  test('is 503 with Retry-After while deliver is away, and works again when it is back', async () => {
    await operators.stopDeliver();
    for (const [method, path] of CALLS) {
      const { status, headers, body } = await call(method, path, method === 'POST' ? { all: true } : undefined);
      expect([path, status, body.error]).toEqual([path, 503, 'deliver_unreachable']);
      expect(headers.get('retry-after')).toBe('1');
      expect(JSON.stringify(body)).not.toContain('.sock');
    }
    operators.startDeliver();
    expect((await get('/sinks')).status).toBe(200);
  });

  test.each([
    [new Retryable('audit_timeout', 'The store did not answer in time.'), 503, 'audit_timeout', '1'],
    [new Overloaded('too_many_queries', 'Later.', 4_200), 503, 'too_many_queries', '5'],
    [new Permanent('state_damaged', 'It cannot be done.'), 409, 'state_damaged', null],
    [new TypeError('the path /var/lib/secret'), 500, 'internal_error', null],
  ])('says what the backend says: %s', async (error, status, code, retryAfter) => {
    const { sinks } = operators.backend;
    operators.backend.sinks = () => {
      throw error;
    };
    const reply = await get('/sinks');
    operators.backend.sinks = sinks;
    expect([reply.status, reply.body.error, reply.headers.get('retry-after')]).toEqual([status, code, retryAfter]);
    expect(JSON.stringify(reply.body)).not.toContain('secret');
  });

  test('answers wrong methods, HEAD and OPTIONS as it should', async () => {
    for (const [path, allow] of [
      ['/dead-letters', 'DELETE, GET, HEAD, OPTIONS'],
      ['/reconcile', 'GET, HEAD, OPTIONS'],
      ['/sinks', 'GET, HEAD, OPTIONS'],
      ['/sinks/x', 'DELETE, OPTIONS'],
    ] as const) {
      const wrong = await fetch(`${operators.url}${path}`, { method: 'PUT' });
      expect([path, wrong.status, wrong.headers.get('allow')]).toEqual([path, 405, allow]);
      expect((await fetch(`${operators.url}${path}`, { method: 'OPTIONS' })).status).toBe(204);
    }
    const head = await fetch(`${operators.url}/sinks`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });

  test('ends what it asked when the client leaves', async () => {
    const asked = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const { reconcile } = operators.backend;
    operators.backend.reconcile = async ({ fromMs, toMs }, signal) => {
      asked.resolve();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      ended.resolve();
      return { fromMs, toMs, rows: [], sources: {}, caveats: [] };
    };
    const client = new AbortController();
    const reply = fetch(`${operators.url}/reconcile`, { signal: client.signal }).catch(({ name }: Error) => name);
    await asked.promise;
    client.abort();
    expect(await reply).toBe('AbortError');
    await ended.promise;
    operators.backend.reconcile = reconcile;
    expect(operators.service.log).toEqual([]);
  });

  test('needs admin once tokens are asked for', async () => {
    await using guarded = await startOperators({ auth: createAuth({ secret: TEST_SECRET }) });
    const bearer = (claims: object) => ({ authorization: `Bearer ${signToken({ ...claims })}` });
    for (const [method, path] of CALLS) {
      const send = async (headers: Record<string, string>) =>
        (await fetch(`${guarded.url}${path}`, { method, headers })).status;
      expect([path, await send({})]).toEqual([path, 401]);
      expect([path, await send(bearer({ scope: 'events:write query' }))]).toEqual([path, 403]);
      expect([path, await send(bearer({ scope: 'admin', stores: ['a'] }))]).toEqual([path, 403]);
      expect([path, [401, 403].includes(await send(bearer({ scope: 'admin' })))]).toEqual([path, false]);
    }
    expect(guarded.backend.calls.filter(([name]) => name === 'deleteDeadLetters')).toHaveLength(1);
  });
});

interface Operation {
  readonly operationId: string;
  readonly responses: Record<string, { content?: Record<string, { schema: object; example?: unknown }> }>;
}

test('the API document is valid, and its schemas fit its examples and the real replies', async () => {
  const document = (await get('/swagger/json')).body;
  expect((await new Validator().validate(structuredClone(document))).errors).toBeUndefined();
  const ajv = new Ajv({ strict: false, validateFormats: false });
  const paths = document.paths as Record<string, Record<string, Operation>>;
  let examples = 0;
  for (const [path, methods] of Object.entries(paths)) {
    if (!/^\/(dead-letters|sinks|reconcile|topics)/.test(path)) continue;
    for (const { responses } of Object.values(methods)) {
      const { schema, example } = responses['200']?.content?.['application/json'] ?? {};
      if (schema === undefined) continue;
      expect([path, ajv.validate(schema, example), ajv.errors]).toEqual([path, true, null]);
      examples += 1;
    }
  }
  expect(examples).toBe(8);
  operators.backend.letters = [letter(1), letter(2, { kind: 'range', lastSeq: 5 })];
  for (const [path, real] of [
    ['/dead-letters', '/dead-letters?limit=1'],
    ['/dead-letters/{id}', '/dead-letters/2'],
    ['/reconcile', '/reconcile'],
    ['/sinks', '/sinks'],
    ['/topics', '/topics'],
  ] as const) {
    const schema = paths[path]?.['get']?.responses['200']?.content?.['application/json']?.schema ?? {};
    expect([path, ajv.validate(schema, (await get(real)).body), ajv.errors]).toEqual([path, true, null]);
  }
});
