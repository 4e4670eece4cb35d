import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { createAuth } from '@libs/auth';
import { signToken, TEST_SECRET } from '@libs/auth/testing';
import { event, type HttpService, post, startHttpService } from './http-service.ts';

let service: HttpService;
beforeAll(async () => {
  service = await startHttpService({}, { auth: createAuth({ secret: TEST_SECRET }) });
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(() => {
  service.ingestion.calls.length = 0;
});

const bearer = (claims: Record<string, unknown> = {}) => ({ authorization: `Bearer ${signToken(claims)}` });
const NDJSON = { 'content-type': 'application/x-ndjson' };
const send = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  post(`${service.url}${path}`, JSON.stringify(body), headers);

describe('writing', () => {
  test('needs a token, and without one nothing reaches accept', async () => {
    for (const [path, body, headers] of [
      ['/events', event(), {}],
      ['/events', event(), { authorization: 'Bearer x.y.z' }],
      ['/events/batch', { events: [event()] }, {}],
      ['/events/batch', event(), NDJSON],
      // Refused before anything of the request is read or judged.
      ['/events?ack=nonsense', '{', {}],
    ] as const) {
      const reply = await send(path, body, headers);
      expect([path, reply.status, reply.body.error]).toEqual([path, 401, 'unauthorized']);
      expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    }
    expect(service.ingestion.calls).toEqual([]);
  });

  test.each([{}, { scope: 'events:write' }, { scopes: ['events:write', 'x'] }, { scope: 'admin' }])(
    'is allowed with %j',
    async (claims) => {
      expect((await send('/events', event(), bearer(claims))).status).toBe(202);
      expect((await send('/events/batch', { events: [event(), event()] }, bearer(claims))).status).toBe(202);
      expect((await send('/events/batch', event(), { ...bearer(claims), ...NDJSON })).status).toBe(202);
    },
  );

  test.each([{ scope: 'query' }, { scope: '' }, { scopes: [] }])('is forbidden with %j', async (claims) => {
    const reply = await send('/events', event(), bearer(claims));
    expect([reply.status, reply.body.error]).toEqual([403, 'forbidden']);
    expect(service.ingestion.calls).toEqual([]);
  });

  test('is not allowed by a token in the URL or as a password', async () => {
    const token = signToken({});
    expect((await send(`/events?access_token=${token}`, event())).status).toBe(401);
    expect((await send('/events', event(), { authorization: `Basic ${btoa(`x:${token}`)}` })).status).toBe(401);
  });

  test('goes on with the methods that are there for everyone', async () => {
    const url = `${service.url}/events`;
    expect((await fetch(url)).status).toBe(405);
    expect((await fetch(url, { method: 'OPTIONS' })).status).toBe(204);
    expect((await fetch(`${service.url}/nowhere`)).status).toBe(404);
  });
});

describe('a token that is bound to stores', () => {
  const bound = () => bearer({ stores: ['store-1', 'store-2'] });

  test('writes for these only', async () => {
    expect((await send('/events', event({ storeId: 'store-2' }), bound())).status).toBe(202);
    const refused = await send('/events', event({ storeId: 'store-3' }), bound());
    expect(refused.status).toBe(422);
    expect(refused.body).toMatchObject({ status: 'rejected', code: 'forbidden_store', field: 'storeId' });
  });

  test('gets a verdict for each event of a batch', async () => {
    const events = [event(), event({ storeId: 'store-3' }), event({ storeId: 7 }), null, {}, event()];
    for (const [body, headers] of [
      [JSON.stringify({ events }), {}],
      [events.map((one) => JSON.stringify(one)).join('\n'), NDJSON],
    ] as const) {
      const reply = await post(`${service.url}/events/batch`, body, { ...bound(), ...headers });
      expect(reply.status).toBe(207);
      const codes = reply.body.results.map(({ index, code }: { index: number; code?: string }) => [index, code]);
      const judged = codes.filter(([, code]: [number, string?]) => code !== undefined);
      expect(judged).toEqual([
        [1, 'forbidden_store'],
        [2, 'invalid_type'],
        [3, 'invalid_type'],
        [4, 'missing_field'],
      ]);
      expect(reply.body.successful).toBe(2);
    }
    const records = service.ingestion.calls.flatMap((call) => call.records) as Record<string, unknown>[];
    expect(records.filter((record) => record?.['storeId'] === 'store-3')).toEqual([]);
  });

  test('stores nothing of an all-or-nothing batch with an event of another store', async () => {
    let atomic: boolean | undefined;
    let offered: readonly unknown[] = [];
    service.ingestion.answer = (records, options) => {
      ({ atomic } = options);
      offered = records;
      return records.map(() => ({ kind: 'rejected', code: 'batch_rejected', field: '', message: 'not stored' }));
    };
    const events = [event(), event({ storeId: 'store-3' })];
    const reply = await send('/events/batch?failOnError=true', { events }, bound());
    service.ingestion.answer = undefined;
    expect(atomic).toBe(true);
    expect(offered[1]).toEqual({});
    expect(reply.status).toBe(422);
    expect(reply.body.results.map((one: { code: string }) => one.code)).toEqual(['batch_rejected', 'forbidden_store']);
  });

  test('cannot read, because what is read is not bound to stores', async () => {
    const reply = await fetch(`${service.url}/query`, { headers: bearer({ scope: 'admin', stores: ['store-1'] }) });
    expect(reply.status).toBe(403);
  });

  test('of no store writes nothing', async () => {
    for (const stores of [[], null, 7]) {
      expect((await send('/events', event(), bearer({ stores }))).body.code).toBe('forbidden_store');
    }
  });
});

describe('reading', () => {
  test('needs query or admin, as a bearer or as the password that database clients send', async () => {
    const status = async (headers: Record<string, string>) =>
      (await fetch(`${service.url}/query?query=SELECT+1`, { headers })).status;
    expect(await status({})).toBe(401);
    expect(await status(bearer())).toBe(403);
    expect(await status(bearer({ scope: 'events:write' }))).toBe(403);
    expect(await status(bearer({ scope: 'query' }))).toBe(200);
    expect(await status(bearer({ scope: 'admin' }))).toBe(200);
    expect(await status({ authorization: `Basic ${btoa(`grafana:${signToken({ scope: 'query' })}`)}` })).toBe(200);
    expect(await status({ authorization: `Basic ${btoa('default:secret')}` })).toBe(401);
  });

  test('keeps the token to itself', async () => {
    let seen: Headers | undefined;
    service.ingestion.ask = async (_path, init) => {
      seen = new Headers(init.headers);
      return new Response('1\n');
    };
    await fetch(`${service.url}/query?query=SELECT+1`, { headers: bearer({ scope: 'query' }) });
    expect(seen?.get('authorization')).toBeNull();
    expect(seen?.get('x-request-id')).not.toBeNull();
  });

  test('stays open where it shows no events', async () => {
    for (const path of ['/health', '/health/live', '/health/ready', '/metrics', '/swagger', '/swagger/json']) {
      expect([path, (await fetch(`${service.url}${path}`)).status]).toEqual([path, 200]);
    }
  });
});

test('tokens never reach the log', () => {
  expect(service.log.join('')).not.toContain('eyJ');
});

test('what needs a token says so in the API document', async () => {
  const document = (await (await fetch(`${service.url}/swagger/json`)).json()) as {
    paths: Record<string, Record<string, { security?: unknown; responses: object }>>;
  };
  const guarded = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { security }]) => (security === undefined ? [] : [`${method} ${path}`])),
  );
  expect(guarded.sort()).toEqual(['get /query', 'post /events', 'post /events/batch', 'post /query']);
});
