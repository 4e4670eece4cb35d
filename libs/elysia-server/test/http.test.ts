import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type EchoServer, startEcho } from './echo-server.ts';
import { connectRaw, exchange, parseReplies, post } from './raw-connection.ts';

let echo: EchoServer;

beforeAll(async () => {
  echo = await startEcho();
});
afterAll(async () => {
  await echo.server.stop();
});

const get = (target: string, rest = 'Host: test\r\n') => `GET ${target} HTTP/1.1\r\n${rest}\r\n`;
const errorOf = (body: string) => JSON.parse(body) as { error: string; message: string; requestId: string };

describe('methods and paths', () => {
  test('a path that is not there is 404 in the error body, with the request id that the header names', async () => {
    const reply = await exchange(echo.port, get('/nowhere'));
    expect(reply.status).toBe(404);
    expect(errorOf(reply.body).error).toBe('not_found');
    expect(errorOf(reply.body).requestId).toBe(reply.headers.get('x-request-id') as string);
  });

  test('a known path with another method is 405 and names what is allowed', async () => {
    const reply = await exchange(echo.port, get('/echo'));
    expect(reply.status).toBe(405);
    expect(reply.headers.get('allow')).toBe('OPTIONS, POST');
    const put = await exchange(echo.port, 'DELETE /hello HTTP/1.1\r\nHost: test\r\n\r\n');
    expect(put.status).toBe(405);
    expect(put.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
  });

  test.each(['PROPFIND', 'TRACE', 'QUERY', 'M-SEARCH'])('%s is 501', async (method) => {
    const reply = await exchange(echo.port, `${method} /hello HTTP/1.1\r\nHost: test\r\n\r\n`);
    expect(reply.status).toBe(501);
    expect(errorOf(reply.body).error).toBe('not_implemented');
  });

  test('CONNECT is 501', async () => {
    const reply = await exchange(echo.port, 'CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n');
    expect(reply.status).toBe(501);
  });

  test('a method that Bun does not know closes the connection, without a reply', async () => {
    const connection = await connectRaw(echo.port);
    connection.write('FROBNICATE /hello HTTP/1.1\r\nHost: test\r\n\r\n');
    expect(await connection.closed()).toBe('');
  });

  test('HEAD answers as GET does, without the body', async () => {
    const reply = await exchange(echo.port, 'HEAD /hello HTTP/1.1\r\nHost: test\r\n\r\n', { head: true });
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-length')).toBe('5');
    const connection = await connectRaw(echo.port);
    connection.write(`HEAD /things/7?q=1 HTTP/1.1\r\nHost: test\r\n\r\n${get('/hello')}`);
    const received = await connection.until((text) => text.endsWith('hello'));
    expect(received.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    connection.destroy();
  });

  test('HEAD of a POST route is 405, of nothing 404', async () => {
    expect((await exchange(echo.port, 'HEAD /echo HTTP/1.1\r\nHost: test\r\n\r\n', { head: true })).status).toBe(405);
    expect((await exchange(echo.port, 'HEAD /no HTTP/1.1\r\nHost: test\r\n\r\n', { head: true })).status).toBe(404);
  });

  test('OPTIONS says what a path answers to', async () => {
    const reply = await exchange(echo.port, 'OPTIONS /things/9 HTTP/1.1\r\nHost: test\r\n\r\n');
    expect(reply.status).toBe(204);
    expect(reply.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
    expect((await exchange(echo.port, 'OPTIONS /no HTTP/1.1\r\nHost: test\r\n\r\n')).status).toBe(404);
  });

  test.each([
    ['/%68ello', 200],
    ['/hello/', 200],
    ['/hello?a=%zz&b', 200],
    ['http://elsewhere/hello', 200],
    ['//hello', 404],
    ['/./../hello', 200],
    ['/%2fhello', 404],
    ['/%zz', 404],
    ['/things/%zz', 200],
    ['/things/%00', 200],
    ['/%ff%fe', 404],
    ['/hello%', 404],
  ])('GET %p is %p', async (target, status) => {
    expect((await exchange(echo.port, get(target))).status).toBe(status);
  });

  test('a path of 12,000 bytes is 404', async () => {
    expect((await exchange(echo.port, get(`/${'a'.repeat(12_000)}`))).status).toBe(404);
  });

  test('an escaped path keeps its body', async () => {
    const reply = await exchange(echo.port, post('/ech%6F', 'kept'));
    expect(reply.body).toBe('kept');
  });
});

describe('hosts and versions', () => {
  test('HTTP/1.0 without Host is served and closed', async () => {
    const connection = await connectRaw(echo.port);
    connection.write('POST /echo?x=1 HTTP/1.0\r\nContent-Length: 3\r\n\r\nold');
    const [reply] = parseReplies(await connection.closed());
    expect(reply?.body).toBe('old');
    const hello = await exchange(echo.port, 'GET /hello HTTP/1.0\r\n\r\n');
    expect(hello.status).toBe(200);
    expect((await exchange(echo.port, 'HEAD /hello HTTP/1.0\r\n\r\n', { head: true })).status).toBe(200);
    expect((await exchange(echo.port, 'DELETE /hello HTTP/1.0\r\n\r\n')).status).toBe(405);
  });

  test.each(['Host: a b\r\n', 'Host: x/hello?\r\n', 'Host: x#y\r\n'])('%p is 400', async (line) => {
    const reply = await exchange(echo.port, get('/hello', line));
    expect(reply.status).toBe(400);
    expect(errorOf(reply.body).error).toBe('invalid_host');
  });

  test('short and unusual hosts are routed like all others', async () => {
    for (const host of ['x', 'test:1', '[::1]:80', '', '[::1', 'test:99999', 'test:word']) {
      const reply = await exchange(echo.port, get('/query?a=1%262', `Host: ${host}\r\n`));
      expect(reply.body).toBe('1&2');
    }
  });

  test.each([
    ['no Host in HTTP/1.1', get('/hello', '')],
    ['a header without a colon', get('/hello', 'Host: test\r\nnonsense\r\n')],
    ['a folded header', get('/hello', 'Host: test\r\nA: b\r\n c\r\n')],
    ['no request at all', 'hello?\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ])('%s is 400', async (_name, bytes) => {
    expect((await exchange(echo.port, bytes)).status).toBe(400);
  });

  test('headers past 16 KiB are 431', async () => {
    expect((await exchange(echo.port, get('/hello', `Host: test\r\nA: ${'a'.repeat(20_000)}\r\n`))).status).toBe(431);
  });
});

test('a handler can learn where a connection comes from, with or without Host', async () => {
  expect((await exchange(echo.port, get('/address'))).body).toBe('127.0.0.1');
  expect((await exchange(echo.port, 'GET /address HTTP/1.0\r\n\r\n')).body).toBe('127.0.0.1');
});

describe('request ids', () => {
  test('a valid one comes back, also on errors; an invalid one is replaced by a UUIDv7', async () => {
    for (const target of ['/hello', '/nowhere', '/broken']) {
      const reply = await exchange(echo.port, get(target, 'Host: test\r\nX-Request-Id: a.B-1:_\r\n'));
      expect(reply.headers.get('x-request-id')).toBe('a.B-1:_');
      const bad = await exchange(echo.port, get(target, `Host: test\r\nX-Request-Id: ${'a'.repeat(129)}\r\n`));
      expect(bad.headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    }
  });

  test('a valid traceparent is echoed, another one is not', async () => {
    const valid = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const reply = await exchange(echo.port, get('/hello', `Host: test\r\nTraceparent: ${valid}\r\n`));
    expect(reply.headers.get('traceparent')).toBe(valid);
    const bad = await exchange(echo.port, get('/hello', `Host: test\r\nTraceparent: ${valid}x\r\n`));
    expect(bad.headers.has('traceparent')).toBe(false);
  });
});

describe('our own bugs', () => {
  test.each(['/broken', '/broken-now'])('%s is 500 without a word about the inside, and logged whole', async (path) => {
    const reply = await exchange(echo.port, get(path));
    expect(reply.status).toBe(500);
    expect(errorOf(reply.body).error).toBe('internal_error');
    expect(reply.body).not.toMatch(/secret|passwd|\.ts|at /);
    const entry = echo.log.find((line) => line['requestId'] === errorOf(reply.body).requestId);
    expect(entry?.['level']).toBe('error');
    expect(JSON.stringify(entry)).toContain('secret');
  });
});

describe('framing', () => {
  test.each([
    ['both lengths', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
    ['both, the other way round', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'],
    ['an unknown transfer coding', 'Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'],
    ['two transfer codings', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', '0\r\n\r\n'],
    ['two different lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n', 'hi!'],
    ['a list of lengths', 'Content-Length: 2, 2\r\n', 'hi'],
    ['a word', 'Content-Length: two\r\n', 'hi'],
    ['a sign', 'Content-Length: +2\r\n', 'hi'],
    ['a negative length', 'Content-Length: -2\r\n', 'hi'],
    ['a length past 2^64', 'Content-Length: 99999999999999999999999\r\n', 'hi'],
    ['an empty length', 'Content-Length:\r\n', 'hi'],
  ])('%s is 400, nothing is handled, and the connection ends', async (_name, lines, body) => {
    const before = echo.bodies.length;
    const connection = await connectRaw(echo.port);
    connection.write(`POST /echo HTTP/1.1\r\nHost: test\r\n${lines}\r\n${body}${get('/hello')}`);
    const received = await connection.closed();
    expect(received).toStartWith('HTTP/1.1 400');
    expect(received).not.toContain('hello');
    expect(echo.bodies).toHaveLength(before);
  });

  test('broken chunks end in 400 and a closed connection', async () => {
    const connection = await connectRaw(echo.port);
    connection.write('POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n');
    expect(await connection.closed()).toStartWith('HTTP/1.1 400');
  });

  test('chunks are put together', async () => {
    const chunks = 'Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n';
    const reply = await exchange(echo.port, `POST /echo HTTP/1.1\r\nHost: test\r\n${chunks}`);
    expect(reply.body).toBe('abcde');
  });

  test('Expect: 100-continue is answered before the body is sent', async () => {
    const connection = await connectRaw(echo.port);
    connection.write('POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
    await connection.until((text) => text.startsWith('HTTP/1.1 100'));
    connection.write('hi');
    const received = await connection.until((text) => parseReplies(text).length > 0);
    expect(parseReplies(received)[0]?.body).toBe('hi');
    connection.destroy();
  });

  test('a connection is kept, and ends where it is asked to', async () => {
    const connection = await connectRaw(echo.port);
    for (const count of [1, 2, 3]) {
      connection.write(post('/echo', `body ${count}`));
      await connection.until((text) => parseReplies(text).length === count);
    }
    connection.write(get('/hello', 'Host: test\r\nConnection: close\r\n'));
    expect(parseReplies(await connection.closed()).map((reply) => reply.body)).toEqual([
      'body 1',
      'body 2',
      'body 3',
      'hello',
    ]);
  });

  test('a GET with a body does not shift what follows', async () => {
    const connection = await connectRaw(echo.port);
    connection.write(`${get('/hello', 'Host: test\r\nContent-Length: 4\r\n')}XXXX${get('/things/next')}`);
    const received = await connection.until((text) => parseReplies(text).length === 2 || text.includes(' 400 '));
    expect(parseReplies(received).map((reply) => reply.body)).toEqual(['hello', 'next']);
    connection.destroy();
  });

  test('pipelined requests get their own replies in order, or a closed connection; never a mixed or wrong one', async () => {
    const quick = await connectRaw(echo.port);
    quick.write(post('/echo', 'first') + post('/echo', 'second') + post('/echo', 'third'));
    await quick.until((text) => parseReplies(text).length === 3);
    expect(parseReplies(quick.received()).map((reply) => reply.body)).toEqual(['first', 'second', 'third']);
    quick.destroy();

    const slow = await connectRaw(echo.port);
    slow.write(post('/held/a', '') + post('/held/b', ''));
    expect(await slow.closed()).toBe('');
    echo.release();
    expect((await exchange(echo.port, get('/hello'))).status).toBe(200);
  });
});
