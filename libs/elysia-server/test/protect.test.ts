import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createAuth } from '@libs/auth';
import { signToken, TEST_SECRET } from '@libs/auth/testing';
import { Validator } from '@seriousme/openapi-schema-validator';
import { BEARER_SECURITY, createElysiaServer, type ElysiaServer, type TokenPlace } from '../src/index.ts';
import { type EchoServer, startEcho } from './echo-server.ts';
import { exchange } from './raw-connection.ts';

let echo: EchoServer;

const DETAIL = { security: BEARER_SECURITY, responses: { '200': { description: 'Let in.' } } };
const PLACES = ['header', 'basic', 'url', 'socket'] as const satisfies readonly TokenPlace[];

function addGuarded(server: ElysiaServer): void {
  for (const place of PLACES) {
    server.app.get(
      `/guarded/${place}`,
      async ({ request }) => new Response((await server.protect?.(request, 'read', place))?.subject),
      { detail: DETAIL },
    );
  }
  server.app.post('/guarded/write', ({ request }) => {
    const admitted = server.protect?.(request, 'write');
    return admitted instanceof Promise ? admitted.then(() => new Response('new')) : new Response('known');
  });
}

beforeAll(async () => {
  const auth = createAuth({ secret: TEST_SECRET });
  echo = await startEcho({ auth, corsOrigins: ['https://shop.example'] }, addGuarded);
});
afterAll(() => echo.server.stop());

const reader = () => signToken({ sub: 'r', scope: 'query' });
const get = (path: string, headers: Record<string, string> = {}) => fetch(`${echo.url}${path}`, { headers });
const statusOf = async (path: string, headers: Record<string, string> = {}) => (await get(path, headers)).status;

describe('a request', () => {
  test('without a valid token hears the same, whatever is wrong', async () => {
    const wrong: Record<string, string>[] = [
      {},
      { authorization: 'Bearer' },
      { authorization: 'Bearer x.y.z' },
      { authorization: `Bearer ${signToken({ exp: 1 })}` },
      { authorization: `Bearer ${signToken({}, { secret: 'another secret that has more than 32 bytes' })}` },
      { authorization: `Basic ${btoa(`x:${reader()}`)}` },
      { authorization: `Bearer ${'x'.repeat(9_000)}` },
    ];
    const bodies = new Set<string>();
    for (const headers of wrong) {
      const reply = await get('/guarded/header', headers);
      expect([headers, reply.status]).toEqual([headers, 401]);
      expect(reply.headers.get('www-authenticate')).toBe('Bearer');
      const { requestId, ...body } = (await reply.json()) as Record<string, unknown>;
      expect(requestId).toBeString();
      bodies.add(JSON.stringify(body));
    }
    expect(bodies.size).toBe(1);
    expect(JSON.parse([...bodies][0] as string)).toMatchObject({ error: 'unauthorized' });
    expect(echo.log).toEqual([]);
  });

  test('with a token that does not allow it is forbidden, and told which scopes do', async () => {
    for (const claims of [{}, { scope: 'events:write' }, { scope: 'admin', stores: ['a'] }]) {
      const reply = await get('/guarded/header', { authorization: `Bearer ${signToken(claims)}` });
      expect(reply.status).toBe(403);
      expect(reply.headers.get('www-authenticate')).toContain('insufficient_scope');
      expect(await reply.json()).toMatchObject({ error: 'forbidden', details: { scopes: ['query', 'admin'] } });
    }
  });

  test('with one is let in, at first after a wait and then at once', async () => {
    expect(await (await get('/guarded/header', { authorization: `Bearer ${reader()}` })).text()).toBe('r');
    const headers = { authorization: `Bearer ${signToken({ sub: 'writer' })}` };
    const write = async () => (await fetch(`${echo.url}/guarded/write`, { method: 'POST', headers })).text();
    expect([await write(), await write(), await write()]).toEqual(['new', 'known', 'known']);
  });

  test('with two Authorization headers is refused, as with one that goes on in a second line', async () => {
    const token = reader();
    const line = `Authorization: Bearer ${token}\r\n`;
    const send = (lines: string) => exchange(echo.port, `GET /guarded/header HTTP/1.1\r\nHost: x\r\n${lines}\r\n`);
    expect((await send(line)).status).toBe(200);
    expect((await send(line + line)).status).toBe(401);
    expect((await send(`${line}Authorization: x\r\n`)).status).toBe(401);
    expect((await send(`Authorization: x\r\n${line}`)).status).toBe(401);
    expect((await send(`Authorization:\r\n Bearer ${token}\r\n`)).status).toBe(400);
  });

  test('that is refused leaves nothing of its body behind', async () => {
    const body = 'x'.repeat(200_000);
    const reply = await fetch(`${echo.url}/guarded/write`, { method: 'POST', body });
    expect(reply.status).toBe(401);
  });
});

describe('other places for a token', () => {
  test('count only where they are allowed', async () => {
    const token = reader();
    const url = `?access_token=${token}`;
    const basic = { authorization: `Basic ${btoa(`user:${token}`)}` };
    const protocol = { 'sec-websocket-protocol': `bearer, ${token}` };
    const statuses = async (place: string) => [
      await statusOf(`/guarded/${place}`, { authorization: `Bearer ${token}` }),
      await statusOf(`/guarded/${place}`, basic),
      await statusOf(`/guarded/${place}${url}`),
      await statusOf(`/guarded/${place}`, protocol),
    ];
    expect(await statuses('header')).toEqual([200, 401, 401, 401]);
    expect(await statuses('basic')).toEqual([200, 200, 401, 401]);
    expect(await statuses('url')).toEqual([200, 401, 200, 401]);
    expect(await statuses('socket')).toEqual([200, 401, 200, 200]);
  });

  test('hold one token in all', async () => {
    const token = reader();
    const bearer = { authorization: `Bearer ${token}` };
    const url = `/guarded/socket?access_token=${token}`;
    expect(await statusOf(url, bearer)).toBe(401);
    expect(await statusOf(`${url}&access_token=${token}`)).toBe(401);
    expect(await statusOf(url, { 'sec-websocket-protocol': `bearer, ${token}` })).toBe(401);
    expect(await statusOf('/guarded/socket', { 'sec-websocket-protocol': `bearer, ${token}, ${token}` })).toBe(401);
    expect(await statusOf('/guarded/socket', { 'sec-websocket-protocol': token })).toBe(401);
    expect(await statusOf('/guarded/socket?access_token=')).toBe(401);
  });

  test('are never logged', () => {
    expect(JSON.stringify(echo.log)).not.toContain('eyJ');
  });
});

test('a browser at an allowed origin may send a token, and read why it was refused', async () => {
  const origin = { origin: 'https://shop.example' };
  const preflight = await fetch(`${echo.url}/guarded/header`, {
    method: 'OPTIONS',
    headers: { ...origin, 'access-control-request-method': 'GET' },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('access-control-allow-headers')).toContain('Authorization');
  const refused = await get('/guarded/header', origin);
  expect(refused.status).toBe(401);
  expect(refused.headers.get('access-control-allow-origin')).toBe('https://shop.example');
});

interface Document {
  readonly paths: Readonly<Record<string, { get: { security?: unknown; responses: Record<string, unknown> } }>>;
  readonly components: { readonly securitySchemes?: unknown };
}

test('the API document has the button where tokens are asked for, and only there', async () => {
  const open = await startEcho({}, addGuarded);
  for (const _again of [1, 2]) {
    const documents: Document[] = [];
    for (const { url } of [open, echo]) {
      const document = (await (await fetch(`${url}/swagger/json`)).json()) as Document;
      expect((await new Validator().validate(structuredClone(document) as never)).errors).toBeUndefined();
      documents.push(document);
    }
    const [without, guarded] = documents as [Document, Document];
    expect(guarded.components.securitySchemes).toMatchObject({ bearerAuth: { type: 'http', scheme: 'bearer' } });
    expect(guarded.paths['/guarded/header']?.get.security).toEqual([{ bearerAuth: [] }]);
    expect(Object.keys(guarded.paths['/guarded/header']?.get.responses ?? {})).toEqual(['200', '401', '403']);
    expect(guarded.paths['/hello']?.get.security).toBeUndefined();
    expect(without.components.securitySchemes).toBeUndefined();
    expect(without.paths['/guarded/header']?.get.security).toBeUndefined();
    expect(Object.keys(without.paths['/guarded/header']?.get.responses ?? {})).toEqual(['200']);
  }
  expect((await fetch(`${open.url}/guarded/header`)).status).toBe(200);
  await open.server.stop();
});

test('a server without auth has nothing to protect with', () => {
  const options = { name: 'x', version: '1', description: 'x', hostname: '127.0.0.1', port: 0, reusePort: false };
  const rest = { requestTimeoutMs: 1000, corsOrigins: [], openapi: {} };
  expect(createElysiaServer({ ...options, ...rest, logger: echo.log as never }).protect).toBeUndefined();
});
