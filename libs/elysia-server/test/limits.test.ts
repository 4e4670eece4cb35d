import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import zlib from 'node:zlib';
import { CONTENT_ENCODINGS, type ContentEncoding } from '../src/index.ts';
import { BODY_BYTES_MAX, type EchoServer, startEcho } from './echo-server.ts';
import { connectRaw, exchange, parseReplies, post } from './raw-connection.ts';

let echo: EchoServer;

beforeAll(async () => {
  echo = await startEcho();
});
afterAll(async () => {
  await echo.server.stop();
});

const codeOf = (body: string) => (JSON.parse(body) as { error: string }).error;
const head = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`;
const chunk = (bytes: string) => `${bytes.length.toString(16)}\r\n${bytes}\r\n`;

describe('size', () => {
  test('a Content-Length past the limit is 413 before anything is read, and what follows is still in step', async () => {
    const connection = await connectRaw(echo.port);
    connection.write(head('/echo', `Content-Length: ${BODY_BYTES_MAX + 1}\r\n`));
    await connection.until((text) => parseReplies(text).length === 1);
    connection.write('x'.repeat(BODY_BYTES_MAX + 1));
    connection.write(post('/echo', 'next'));
    const [refused, next] = parseReplies(await connection.until((text) => parseReplies(text).length === 2));
    expect(refused?.status).toBe(413);
    expect(codeOf(refused?.body ?? '')).toBe('payload_too_large');
    expect(next?.body).toBe('next');
    connection.destroy();
  });

  test('exactly the limit is read, declared or in chunks', async () => {
    const body = 'x'.repeat(BODY_BYTES_MAX);
    expect((await exchange(echo.port, post('/echo', body))).body).toHaveLength(BODY_BYTES_MAX);
    const chunked = `${head('/echo', 'Transfer-Encoding: chunked\r\n')}${chunk(body)}${chunk('')}`;
    expect((await exchange(echo.port, chunked)).body).toHaveLength(BODY_BYTES_MAX);
  });

  test('a body in small pieces arrives whole', async () => {
    const connection = await connectRaw(echo.port);
    connection.write(head('/echo', 'Content-Length: 6\r\n'));
    for (const byte of 'pieces') {
      connection.write(byte);
      await Bun.sleep(1);
    }
    const received = await connection.until((text) => parseReplies(text).length > 0);
    expect(parseReplies(received)[0]?.body).toBe('pieces');
    connection.destroy();
  });
});

describe('encodings', () => {
  const compress: Record<ContentEncoding, (data: Uint8Array) => Uint8Array> = {
    gzip: zlib.gzipSync,
    deflate: zlib.deflateSync,
    br: zlib.brotliCompressSync,
    zstd: zlib.zstdCompressSync,
  };

  test.each([...CONTENT_ENCODINGS])('%s is decompressed, small and large', async (encoding) => {
    for (const text of ['{"a":1}', JSON.stringify(Array.from({ length: 5000 }, (_, index) => index))]) {
      for (const path of ['/echo', '/count']) {
        const body = compress[encoding](Buffer.from(text));
        const headers = { 'content-encoding': encoding };
        const response = await fetch(`${echo.url}${path}`, { method: 'POST', body, headers });
        expect(await response.text()).toBe(path === '/echo' ? text : String(text.length));
      }
    }
  });

  test.each([...CONTENT_ENCODINGS])('%s past the limit after decompression is 413', async (encoding) => {
    const body = compress[encoding](Buffer.alloc(BODY_BYTES_MAX + 1, 'x'));
    const headers = { 'content-encoding': encoding };
    const response = await fetch(`${echo.url}/echo`, { method: 'POST', body, headers });
    expect(response.status).toBe(413);
  });

  test.each(['compress', 'gzip, br', 'gzip,gzip', 'aws-chunked'])(
    '%s is 415 and says what is accepted',
    async (name) => {
      const reply = await exchange(echo.port, post('/echo', 'hi', { 'content-encoding': name }));
      expect(reply.status).toBe(415);
      expect(codeOf(reply.body)).toBe('unsupported_encoding');
      expect(reply.headers.get('accept-encoding')).toBe('gzip, deflate, br, zstd');
    },
  );

  test('identity, case and x-gzip are understood', async () => {
    expect((await exchange(echo.port, post('/echo', 'hi', { 'content-encoding': 'Identity' }))).body).toBe('hi');
    for (const name of ['GZIP', 'x-gzip', 'identity, gzip']) {
      const response = await fetch(`${echo.url}/echo`, {
        method: 'POST',
        body: zlib.gzipSync('hi'),
        headers: { 'content-encoding': name },
      });
      expect(await response.text()).toBe('hi');
    }
  });
});

describe('time', () => {
  /** Sends a byte whenever the event loop turns up, until the other side closes. */
  async function trickle(path: string, headers: string, piece: string): Promise<string> {
    const connection = await connectRaw(echo.port);
    connection.write(head(path, headers));
    while (!connection.isClosed()) {
      connection.write(piece);
      await Bun.sleep(100);
    }
    return connection.received();
  }

  const chunked = 'Transfer-Encoding: chunked\r\n';
  test.concurrent.each([
    ['a declared body, byte by byte', '/echo', 'Content-Length: 1000\r\n', 'x'],
    ['chunks of one byte', '/echo', chunked, chunk('x')],
    ['a declared stream, byte by byte', '/count', 'Content-Length: 1000\r\n', 'x'],
    ['a stream in chunks of one byte', '/count', chunked, chunk('x')],
    ['a compressed stream that never begins', '/count', `Content-Encoding: gzip\r\n${chunked}`, ''],
    ['a declared body that never begins', '/echo', 'Content-Length: 1000\r\n', ''],
    ['a stream that never begins', '/count', chunked, ''],
  ])('%s is 408, and the connection ends', async (_name, path, headers, piece) => {
    const [reply] = parseReplies(await trickle(path, headers, piece));
    expect(reply?.status).toBe(408);
    expect(codeOf(reply?.body ?? '')).toBe('request_timeout');
    expect(reply?.headers.get('connection')).toBe('close');
  });

  test.concurrent.each([
    ['a declared body', '/echo', 'Content-Length: 1000000000000\r\n', 'x'.repeat(10_000)],
    ['chunks', '/echo', 'Transfer-Encoding: chunked\r\n', chunk('x'.repeat(10_000))],
    ['a body nobody wants', '/unread', 'Content-Length: 1000000000000\r\n', 'x'.repeat(10_000)],
  ])(
    'a peer that goes on sending %s hears the refusal, and is cut off',
    async (_name, path, headers, piece) => {
      const connection = await connectRaw(echo.port);
      connection.write(head(path, headers));
      while (!connection.isClosed()) {
        connection.write(piece);
        await Bun.sleep(1);
      }
      const [reply] = parseReplies(connection.received());
      expect(reply?.status).toBe(path === '/echo' ? 413 : 403);
    },
    30_000,
  );

  test.concurrent('who waits longer than the idle timeout says so, and is not cut off', async () => {
    const patient = await connectRaw(echo.port);
    patient.write(post('/held/patient', ''));
    const late = await connectRaw(echo.port);
    late.write(`${head('/late', 'Content-Length: 4\r\n')}ab`);
    await echo.held(1);
    const impatient = await connectRaw(echo.port);
    impatient.write(post('/held/impatient', ''));
    expect(await impatient.closed()).toBe('');
    late.write('cd');
    await late.until((text) => parseReplies(text)[0]?.body === 'late 4');
    echo.release();
    await patient.until((text) => parseReplies(text)[0]?.body === 'held patient');
    patient.destroy();
    // The idle timeout is back where it was only put off.
    await late.closed();
  }, 30_000);

  test.concurrent('headers that trickle in end in a closed connection, the first ones and later ones', async () => {
    const first = await connectRaw(echo.port);
    const later = await connectRaw(echo.port);
    later.write('GET /hello HTTP/1.1\r\nHost: test\r\n\r\n');
    await later.until((text) => text.endsWith('hello'));
    for (const connection of [first, later]) connection.write('GET /hello HTTP/1.1\r\nHost: test\r\nX: ');
    while (!first.isClosed() || !later.isClosed()) {
      first.write('x');
      later.write('x');
      await Bun.sleep(100);
    }
    expect(first.received()).toBe('');
    expect(parseReplies(later.received())).toHaveLength(1);
  }, 30_000);

  test.concurrent('a stream that goes on is read for as long as it does, past the idle timeout', async () => {
    const connection = await connectRaw(echo.port);
    connection.write(head('/count', 'Transfer-Encoding: chunked\r\n'));
    // Bun's idle timeout is 8 s here, counted from the headers.
    for (let pieces = 0; pieces < 30; pieces += 1) {
      connection.write(chunk('x'.repeat(300)));
      await Bun.sleep(300);
    }
    connection.write(chunk(''));
    const received = await connection.until((text) => parseReplies(text).length > 0);
    expect(parseReplies(received)[0]?.body).toBe('9000');
    connection.write('GET /hello HTTP/1.1\r\nHost: test\r\n\r\n');
    await connection.until((text) => parseReplies(text).length === 2);
    // Idle from here on: the timeout is back.
    await connection.closed();
  }, 30_000);

  test('a peer that goes away in the middle of its body costs nothing', async () => {
    for (const path of ['/echo', '/count']) {
      const connection = await connectRaw(echo.port);
      connection.write(`${head(path, 'Content-Length: 1000\r\n')}begin`);
      await Bun.sleep(5);
      connection.destroy();
    }
    expect((await exchange(echo.port, post('/echo', 'still here'))).body).toBe('still here');
    const started = Date.now();
    while (echo.server.stats.requestsInFlight > 0 && Date.now() - started < 5000) await Bun.sleep(5);
    expect(echo.server.stats.requestsInFlight).toBe(0);
    expect(echo.log).toEqual([]);
  });
});

describe('how much at once', () => {
  test('past connectionsMax requests are refused, and taken again afterwards', async () => {
    const few = await startEcho({ connectionsMax: 2 });
    const waiting = ['a', 'b'].map((name) => exchange(few.port, post(`/held/${name}`, '')));
    await few.held(2);
    const refused = await exchange(few.port, post('/echo', 'one too many'));
    expect(refused.status).toBe(503);
    expect(codeOf(refused.body)).toBe('overloaded');
    expect(refused.headers.get('retry-after')).toBe('1');
    few.release();
    expect((await Promise.all(waiting)).map((reply) => reply.body).sort()).toEqual(['held a', 'held b']);
    expect((await exchange(few.port, post('/echo', 'now'))).body).toBe('now');
    expect(few.server.stats).toMatchObject({ requests: 4, requestsInFlight: 0 });
    expect(few.server.stats.responses).toEqual({ '1xx': 0, '2xx': 3, '3xx': 0, '4xx': 0, '5xx': 1 });
    await few.server.stop();
  });

  test('bodies that are still arriving may hold only so much memory together', async () => {
    const small = await startEcho({ bodyMemoryBytesMax: 1000, requestTimeoutMs: 60_000 });
    const stalled = await connectRaw(small.port);
    stalled.write(`${head('/echo', 'Content-Length: 900\r\n')}begin`);
    while (small.server.stats.requestsInFlight === 0) await Bun.sleep(1);
    const refused = await exchange(small.port, post('/echo', 'x'.repeat(200)));
    expect(refused.status).toBe(503);
    expect(codeOf(refused.body)).toBe('overloaded');
    const chunked = `${head('/echo', 'Transfer-Encoding: chunked\r\n')}${chunk('x'.repeat(200))}${chunk('')}`;
    expect((await exchange(small.port, chunked)).status).toBe(503);
    stalled.destroy();
    while (small.server.stats.requestsInFlight > 0) await Bun.sleep(1);
    expect((await exchange(small.port, post('/echo', 'x'.repeat(900)))).status).toBe(200);
    await small.server.stop();
  });
});
