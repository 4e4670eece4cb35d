import { describe, expect, spyOn, test } from 'bun:test';
import { createServer } from 'node:net';
import {
  type Action,
  blockOf,
  deliverAll,
  NEVER,
  repeated,
  sinkOf,
  startService,
  until,
  writeOnce,
} from './downstream-fixture.ts';

const OK: Action = { status: 200, body: 'ok' };

describe('a connection that fails leaves the event to be sent again', () => {
  const faults: readonly (readonly [string, Action, string])[] = [
    ['reset', 'reset', 'connection_reset'],
    ['closed without a word', { raw: '' }, 'connection_reset'],
    ['half a status line', { raw: 'HTTP/1.1 20' }, 'connection_reset'],
    ['half of the headers', { raw: 'HTTP/1.1 200 OK\r\nContent-Le' }, 'connection_reset'],
    ['something that is not HTTP', { raw: 'SSH-2.0-OpenSSH_9\r\n\r\n' }, 'malformed_reply'],
    ['an upgrade', { raw: 'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n' }, 'malformed_reply'],
  ];
  test.each(faults)('%s', async (_, action, code) => {
    await using service = await startService((__, attempt) => (attempt === 1 ? action : OK));
    const { sink } = sinkOf(`${service.url}?key=hidden-key`);
    const failures = await writeOnce(sink, blockOf(repeated(2)));
    // A client may try a request again by itself when a connection that was used before is closed.
    for (const failure of failures) expect(failure).toMatchObject({ code, permanent: false });
    expect(failures).toHaveLength(2);
    expect(JSON.stringify([failures, sink.health()])).not.toContain('hidden-key');
    expect(await deliverAll(sink, blockOf(repeated(2)))).toEqual([]);
    expect(sink.health().state).toBe('healthy');
  });

  test('nobody listens, the name is unknown, no TLS there', async () => {
    const gone = await startService();
    await gone[Symbol.asyncDispose]();
    const plain = createServer((socket) => socket.on('error', () => socket.destroy()).end('220 mail.example\r\n'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const { port } = plain.address() as { port: number };
    const cases = [
      [gone.url, 'connection_refused'],
      ['http://nobody.invalid/hook', 'dns_failed'],
      [`https://127.0.0.1:${port}/`, 'tls_failed'],
    ] as const;
    for (const [url, code] of cases) {
      // A resolver may ask its server twice.
      const { sink } = sinkOf(url, { timeoutMs: 60_000 });
      const [failure] = await writeOnce(sink, blockOf([{}]));
      expect(failure).toMatchObject({ code, permanent: false });
      expect(sink.health()).toMatchObject({ state: 'degraded', lastError: expect.stringContaining(code) });
    }
    await new Promise((resolve) => plain.close(resolve));
  });

  test('one connection in three is reset: every event is taken', async () => {
    let count = 0;
    await using service = await startService(() => (++count % 3 === 0 ? 'reset' : OK));
    const { sink } = sinkOf(service.url, { breaker: { failures: 1_000 } });
    expect(await deliverAll(sink, blockOf(repeated(90)))).toEqual([]);
    expect(new Set(service.taken.map(({ seq }) => seq)).size).toBe(90);
    expect(service.taken).toHaveLength(90);
  });
});

describe('a service that is too slow', () => {
  test('hangs: the request ends after timeoutMs, its connection is closed, other events go on', async () => {
    await using service = await startService(({ event }) => (event.seq % 5 === 0 ? 'hang' : OK));
    const { sink } = sinkOf(service.url, { timeoutMs: 1_000, concurrency: 4, breaker: { failures: 1_000 } });
    const failures = await writeOnce(sink, blockOf(repeated(20)));
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual(
      [5, 10, 15, 20].map((seq) => [seq, 'timeout', false]),
    );
    expect(service.taken).toHaveLength(16);
    await until(() => service.openSockets() <= 4);
  });

  test('trickles its headers: the same', async () => {
    await using service = await startService(() => ({ raw: 'HTTP/1.1 200 OK\r\nX-A: ', open: true }));
    const { sink } = sinkOf(service.url, { timeoutMs: 50 });
    expect(await writeOnce(sink, blockOf([{}]))).toMatchObject([{ code: 'timeout', permanent: false }]);
    await until(() => service.openSockets() === 0);
  });

  test('is slow but within the time: taken', async () => {
    await using service = await startService(async () => {
      await Bun.sleep(80);
      return OK;
    });
    const { sink } = sinkOf(service.url, { timeoutMs: 5_000 });
    expect(await writeOnce(sink, blockOf(repeated(8)))).toEqual([]);
    expect(sink.health().latencyMs).toBeGreaterThan(0);
  });
});

describe('once the status has come, the body changes nothing', () => {
  test.each([
    ['breaks off', { raw: 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc' }],
    ['breaks off in a chunk', { raw: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab' }],
    ['never ends', { raw: 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc', open: true }],
    [
      'is not what its encoding says',
      { raw: 'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc' },
    ],
  ] as const)('when it %s: taken, and not sent again', async (_, action) => {
    await using service = await startService(() => action);
    const { sink } = sinkOf(service.url, { timeoutMs: 1_000 });
    expect(await writeOnce(sink, blockOf(repeated(3)))).toEqual([]);
    expect(service.requests).toHaveLength(3);
  });

  test('of a refusal that hangs: still refused', async () => {
    await using service = await startService(() => ({
      raw: 'HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\n{"error":"no such cart"',
      open: true,
    }));
    const { sink } = sinkOf(service.url, { timeoutMs: 1_000 });
    const [failure] = await writeOnce(sink, blockOf([{}]));
    expect(failure).toEqual({
      seq: 1,
      code: 'http_422',
      message: 'it answered 422: {"error":"no such cart"',
      permanent: true,
    });
  });

  test('nothing is decompressed: a short reply may hold gigabytes', async () => {
    const bytes = Bun.gzipSync(Buffer.alloc(1_000_000, 'a'));
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => new Response(bytes, { status: 400, headers: { 'content-encoding': 'gzip' } }),
    });
    try {
      const { sink } = sinkOf(`http://127.0.0.1:${server.port}/`);
      const [failure] = await writeOnce(sink, blockOf([{}]));
      expect(failure).toMatchObject({ code: 'http_400', permanent: true });
      expect(failure?.message).not.toContain('aaaaaaaa');
    } finally {
      await server.stop(true);
    }
  });

  test('an abort while it is read takes nothing back', async () => {
    await using service = await startService(() => ({
      raw: 'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nabc',
      open: true,
    }));
    const { sink } = sinkOf(service.url);
    const ending = new AbortController();
    const requests = spyOn(globalThis, 'fetch');
    const writing = writeOnce(sink, blockOf([{}]), undefined, ending.signal);
    await until(() => requests.mock.results.length === 1);
    await requests.mock.results[0]?.value;
    requests.mockRestore();
    // The status has come: what is read now is the body.
    ending.abort();
    expect(await writing).toEqual([]);
  });
});

test('a reply without end is cut off: bounded in what is read, and the event is taken', async () => {
  const chunk = new Uint8Array(64 * 1024).fill(97);
  let sent = 0;
  let cancelled = 0;
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            sent += chunk.length;
            controller.enqueue(chunk);
            await Bun.sleep(1);
          },
          cancel() {
            cancelled++;
          },
        }),
        { status: 200 },
      ),
  });
  try {
    const { sink } = sinkOf(`http://127.0.0.1:${server.port}/`, { replyBytesMax: 100_000 });
    expect(await writeOnce(sink, blockOf(repeated(4)))).toEqual([]);
    await until(() => cancelled === 4);
    expect(sent).toBeLessThan(64 * 1_048_576);
    await sink.close(NEVER);
  } finally {
    await server.stop(true);
  }
});
