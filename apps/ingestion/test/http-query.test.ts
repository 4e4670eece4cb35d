import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Retryable } from '@libs/pipeline';
import { type HttpService, startHttpService } from './http-service.ts';

/** Stands in for deliver: a real server on a local socket, whose answers a test can choose. */
interface Deliver {
  answer: (request: Request) => Response | Promise<Response>;
  stop(): Promise<void>;
  readonly socket: string;
}

let service: HttpService;
let deliver: Deliver;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-query-'));
  service = await startHttpService();
  deliver = startDeliver(join(folder, 'deliver.sock'));
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await deliver.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  deliver.answer = () => new Response('Ok.\n');
  service.ingestion.ask = (path, init) => fetch(`http://deliver${path}`, { ...init, unix: deliver.socket });
});

function startDeliver(socket: string): Deliver {
  const server = Bun.serve({ unix: socket, fetch: (request) => state.answer(request) });
  const state: Deliver = { answer: () => new Response('Ok.\n'), stop: () => server.stop(true), socket };
  return state;
}

describe('/query', () => {
  test('passes on path, parameters, method, headers and body, and brings back status, headers and body', async () => {
    let seen: Request | undefined;
    let body = '';
    deliver.answer = async (request) => {
      seen = request;
      body = await request.text();
      return new Response('Code: 62. DB::Exception: Syntax error\n', {
        status: 400,
        headers: { 'x-clickhouse-exception-code': '62', 'content-type': 'text/plain; charset=UTF-8' },
      });
    };
    const response = await fetch(
      `${service.url}/query?query=SELECT%20%7Bx%3AUInt8%7D&param_x=%C3%A9%26&database=weir`,
      {
        method: 'POST',
        body: 'FORMAT JSON',
        headers: { 'x-clickhouse-format': 'TSV', authorization: 'Basic eDp5', 'x-request-id': 'q-1' },
      },
    );
    expect(seen?.method).toBe('POST');
    expect(new URL(seen?.url ?? '').search).toBe('?query=SELECT%20%7Bx%3AUInt8%7D&param_x=%C3%A9%26&database=weir');
    expect(body).toBe('FORMAT JSON');
    expect(seen?.headers.get('x-clickhouse-format')).toBe('TSV');
    expect(seen?.headers.get('authorization')).toBe('Basic eDp5');
    expect(seen?.headers.get('x-request-id')).toBe('q-1');
    expect(response.status).toBe(400);
    expect(response.headers.get('x-clickhouse-exception-code')).toBe('62');
    expect(response.headers.get('content-type')).toBe('text/plain; charset=UTF-8');
    expect(response.headers.get('x-request-id')).toBe('q-1');
    expect(await response.text()).toStartWith('Code: 62.');
  });

  test('GET has no body, and needs no query', async () => {
    let method = '';
    deliver.answer = (request) => {
      method = request.method;
      return new Response('Ok.\n');
    };
    expect(await (await fetch(`${service.url}/query`)).text()).toBe('Ok.\n');
    expect(method).toBe('GET');
  });

  test('brings back binary data byte for byte, whatever its length', async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    for (const length of [0, 1, 60_000]) {
      deliver.answer = () => new Response(bytes.slice(0, length), { headers: { 'x-clickhouse-format': 'Native' } });
      const response = await fetch(`${service.url}/query?query=SELECT%201%20FORMAT%20Native`);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes.slice(0, length));
      expect(response.headers.get('x-clickhouse-format')).toBe('Native');
    }
  });

  test('leaves a compressed answer as it is', async () => {
    const zipped = Bun.gzipSync('1\n'.repeat(1000));
    let asked: string | null = null;
    deliver.answer = (request) => {
      asked = request.headers.get('accept-encoding');
      return new Response(zipped, { headers: { 'content-encoding': 'gzip' } });
    };
    const response = await fetch(`${service.url}/query`, { headers: { 'accept-encoding': 'gzip' } });
    expect(asked as string | null).toBe('gzip');
    expect(response.headers.get('content-encoding')).toBe('gzip');
    expect(await response.text()).toBe('1\n'.repeat(1000));
  });

  test('takes a compressed query', async () => {
    let body = '';
    let encoding: string | undefined = '';
    deliver.answer = async (request) => {
      encoding = request.headers.get('content-encoding') ?? undefined;
      body = await request.text();
      return new Response('Ok.\n');
    };
    const zipped = new Uint8Array(Bun.gzipSync('SELECT 1'));
    await fetch(`${service.url}/query`, { method: 'POST', body: zipped, headers: { 'content-encoding': 'gzip' } });
    expect(body).toBe('SELECT 1');
    expect(encoding as string | undefined).toBeUndefined();
  });

  test('streams: the first rows arrive while deliver is still writing', async () => {
    const release = Promise.withResolvers<void>();
    deliver.answer = () =>
      new Response(
        (async function* () {
          yield 'first\n';
          await release.promise;
          yield 'last\n';
        })() as unknown as ReadableStream,
      );
    const reader = (await fetch(`${service.url}/query`)).body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('first\n');
    release.resolve();
    let rest = '';
    for (;;) {
      const part = await reader?.read();
      if (part?.done !== false) break;
      rest += new TextDecoder().decode(part.value);
    }
    expect(rest).toBe('last\n');
  });

  test('reads from deliver no faster than the client does', async () => {
    const chunk = new Uint8Array(64 * 1024);
    const totalChunks = 4000;
    let produced = 0;
    const stalled = Promise.withResolvers<void>();
    deliver.answer = () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            if (produced === totalChunks) return controller.close();
            produced += 1;
            controller.enqueue(chunk);
            await new Promise<void>((resolve) => setImmediate(resolve));
          },
        }),
      );
    const socket = connect(service.port, '127.0.0.1', () => {
      socket.write('GET /query HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.once('readable', () => stalled.resolve());
    });
    await stalled.promise;
    for (let seen = -1, turns = 0; turns < 2000; turns += 1) {
      if (seen !== produced) turns = 0;
      seen = produced;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(produced).toBeLessThan(totalChunks / 4);
    socket.destroy();
  });

  test('a client that leaves ends the query', async () => {
    const ended = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    deliver.answer = async (request) => {
      asked.resolve();
      await new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve()));
      ended.resolve();
      return new Response('too late');
    };
    const client = new AbortController();
    const reply = fetch(`${service.url}/query`, { signal: client.signal }).catch((error: Error) => error.name);
    await asked.promise;
    client.abort();
    expect(await reply).toBe('AbortError');
    await ended.promise;
    expect(service.log).toEqual([]);
  });

  test.each(['Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n', 'Content-Length: 100\r\n\r\nfirst'])(
    'an answer that breaks off does not end like a whole one: %j',
    async (part) => {
      const unix = join(folder, 'killed.sock');
      const killed = createServer((socket) => {
        socket.once('data', () =>
          socket.write(`HTTP/1.1 200 OK\r\n${part}`, () => setImmediate(() => socket.destroy())),
        );
      });
      await new Promise<void>((resolve) => killed.listen(unix, resolve));
      service.ingestion.ask = (path, init) => fetch(`http://deliver${path}`, { ...init, unix });
      const text = fetch(`${service.url}/query`).then((response) => response.text());
      expect(await text.then(() => 'whole').catch(() => 'broken')).toBe('broken');
      await new Promise((resolve) => killed.close(resolve));
    },
  );

  test('503 with Retry-After while deliver is away', async () => {
    service.ingestion.ask = () => Promise.reject(new Retryable('deliver_unavailable', 'no such socket: /a/path'));
    const response = await fetch(`${service.url}/query?query=SELECT+1`);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    const body = await response.text();
    expect(JSON.parse(body)).toMatchObject({ error: 'deliver_unavailable', details: { retryAfterMs: 1000 } });
    expect(body).not.toContain('/a/path');
  });

  test('a query over the limit is 413', async () => {
    const response = await fetch(`${service.url}/query`, { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1) });
    expect(response.status).toBe(413);
  });
});
