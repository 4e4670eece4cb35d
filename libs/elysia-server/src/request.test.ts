import { describe, expect, test } from 'bun:test';
import { contentEncodingOf } from './content-encoding.ts';
import { contentTypeOf, requireContentType } from './content-type.ts';
import { errorResponse, HttpError } from './http-error.ts';
import { readBody } from './read-body.ts';
import { requestIdOf, traceparentOf } from './request-id.ts';
import { normalizePath, pathOf, queryOf } from './request-url.ts';
import { createRouteTable } from './route-table.ts';
import { streamBody } from './stream-body.ts';

const withHeaders = (headers: Record<string, string>) => new Request('http://test/', { method: 'POST', headers });

describe('request ids', () => {
  test('are kept when valid, replaced when not, and the same at every call', () => {
    for (const valid of ['a', 'A-b_c.d:e', '0198c0de-0000-7000-8000-000000000000', 'x'.repeat(128)]) {
      expect(requestIdOf(withHeaders({ 'x-request-id': valid }))).toBe(valid);
    }
    for (const invalid of ['', 'a b', 'ä', 'a/b', '<a>', 'x'.repeat(129)]) {
      const request = withHeaders({ 'x-request-id': invalid });
      expect(requestIdOf(request)).toMatch(/^[0-9a-f-]{36}$/);
      expect(requestIdOf(request)).toBe(requestIdOf(request));
    }
  });

  test('traceparent is taken as W3C defines it', () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const span = '00f067aa0ba902b7';
    expect(traceparentOf(withHeaders({ traceparent: `00-${trace}-${span}-01` }))).toBe(`00-${trace}-${span}-01`);
    for (const invalid of [
      `ff-${trace}-${span}-01`,
      `00-${'0'.repeat(32)}-${span}-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
      `00-${trace}-${span}`,
      `00-${trace}-${span}-01-more`,
      '',
    ]) {
      expect(traceparentOf(withHeaders({ traceparent: invalid }))).toBeUndefined();
    }
  });
});

describe('content types', () => {
  test('missing counts as JSON; case, blanks and parameters do not matter', () => {
    expect(contentTypeOf(withHeaders({})).type).toBe('application/json');
    expect(contentTypeOf(withHeaders({ 'content-type': 'Application/JSON ; Charset="UTF-8"' }))).toEqual({
      type: 'application/json',
      charset: 'utf-8',
    });
    expect(contentTypeOf(withHeaders({ 'content-type': 'text/plain' }))).toEqual({
      type: 'text/plain',
      charset: undefined,
    });
  });

  test('another type or charset is 415 and says what is accepted', () => {
    const accepted = ['application/json', 'text/plain'];
    expect(requireContentType(withHeaders({ 'content-type': 'text/plain;charset=utf-8' }), accepted).type).toBe(
      'text/plain',
    );
    for (const type of ['application/xml', 'text/html; a=b', 'json', 'text/plain; charset=utf-16']) {
      try {
        requireContentType(withHeaders({ 'content-type': type }), accepted);
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(HttpError);
        expect((error as HttpError).status).toBe(415);
        expect((error as HttpError).details).toHaveProperty('accepted');
      }
    }
  });

  test('an empty Content-Encoding is none', () => {
    expect(contentEncodingOf(withHeaders({ 'content-encoding': '' }))).toBeUndefined();
    expect(contentEncodingOf(withHeaders({ 'content-encoding': ' identity , ' }))).toBeUndefined();
    expect(contentEncodingOf(withHeaders({ 'content-encoding': 'BR' }))).toBe('br');
  });
});

describe('URLs', () => {
  test('the path of whatever Bun gives', () => {
    expect(pathOf('http://x/a/b?c/d')).toBe('/a/b');
    expect(pathOf('/bare?q')).toBe('/bare');
    expect(pathOf('http://x')).toBe('/');
    expect(pathOf('http://x/a#b?c')).toBe('/a');
    expect(pathOf('host:443')).toBe('/');
  });

  test('the query, decoded, without a fragment', () => {
    expect(queryOf(new Request('http://x/a?b=1%262&b=3')).getAll('b')).toEqual(['1&2', '3']);
    expect(queryOf(new Request('http://x/a')).size).toBe(0);
  });

  test('only what needs no escaping is unescaped', () => {
    expect(normalizePath('/%65vents%2Fb%41tch%7e%2e%00%zz%C3%A9')).toBe('/events%2FbAtch~%2e%00%zz%C3%A9');
  });
});

test('the table of routes follows the routes', () => {
  const routes = [
    { method: 'GET', path: '/events' },
    { method: 'POST', path: '/events' },
    { method: 'POST', path: '/events/:type' },
    { method: 'GET', path: '/files/*' },
    { method: 'GET', path: '/a/:b?' },
  ];
  const table = createRouteTable(() => routes);
  expect(table.methodsOf('/events')).toEqual(['GET', 'HEAD', 'OPTIONS', 'POST']);
  expect(table.methodsOf('/events/')).toEqual(['GET', 'HEAD', 'OPTIONS', 'POST']);
  expect(table.methodsOf('/events/x')).toEqual(['OPTIONS', 'POST']);
  expect(table.methodsOf('/events/x/y')).toEqual([]);
  expect(table.methodsOf('/events//')).toEqual([]);
  expect(table.methodsOf('/files/a/b')).toEqual(['GET', 'HEAD', 'OPTIONS']);
  expect(table.methodsOf('/a')).toEqual(['GET', 'HEAD', 'OPTIONS']);
  expect(table.methodsOf('//events')).toEqual([]);
  expect(table.hasOwn('HEAD', '/events')).toBe(false);
  routes.push({ method: 'PUT', path: '/late' });
  expect(table.methodsOf('/late')).toEqual(['OPTIONS', 'PUT']);
});

test('an error body holds the code, the message, the details and the request id', async () => {
  const error = new HttpError(429, 'rate_limited', 'Slow down.', {
    details: { perSecond: 5 },
    headers: { 'retry-after': '2' },
  });
  const response = errorResponse(error, 'id-1');
  expect(response.status).toBe(429);
  expect(response.headers.get('retry-after')).toBe('2');
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(await response.json()).toEqual({
    error: 'rate_limited',
    message: 'Slow down.',
    details: { perSecond: 5 },
    requestId: 'id-1',
  });
  expect(Object.keys((await errorResponse(new HttpError(404, 'a', 'b'), 'c').json()) as object)).not.toContain(
    'details',
  );
});

describe('bodies without a server', () => {
  const stalled = () => new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
  const request = (body: string | ReadableStream | null) => new Request('http://test/', { method: 'POST', body });

  test('a stream that stalls is 408 for both readers', async () => {
    await expect(readBody(request(stalled()), { bytesMax: 10, timeoutMs: 20 })).rejects.toMatchObject({ status: 408 });
    const reading = streamBody(request(stalled()), { timeoutMs: 20, chunkBytesMax: 10 }).next();
    await expect(reading).rejects.toMatchObject({ status: 408, code: 'request_timeout' });
  });

  test('no body is an empty one', async () => {
    expect(await readBody(request(null), { bytesMax: 10, timeoutMs: 1000 })).toHaveLength(0);
    const chunks = streamBody(request(null), { timeoutMs: 1000, chunkBytesMax: 10 });
    expect((await chunks.next()).done).toBe(true);
  });

  test('chunks are never larger than asked for, and the limit counts', async () => {
    const sizes: number[] = [];
    for await (const chunk of streamBody(request('x'.repeat(25)), { timeoutMs: 1000, chunkBytesMax: 10 })) {
      sizes.push(chunk.length);
    }
    expect(sizes).toEqual([10, 10, 5]);
    const tooMuch = streamBody(request('x'.repeat(25)), { timeoutMs: 1000, chunkBytesMax: 10, bytesMax: 24 });
    await expect(tooMuch.next()).rejects.toMatchObject({ status: 413 });
  });

  test('a slow reader slows the source down', async () => {
    let pulled = 0;
    const source = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1;
        controller.enqueue(new Uint8Array(1000));
      },
    });
    const chunks = streamBody(request(source), { timeoutMs: 1000, chunkBytesMax: 1000 });
    for (let count = 0; count < 3; count += 1) await chunks.next();
    await Bun.sleep(10);
    expect(pulled).toBeLessThan(10);
    await chunks.return(undefined);
  });
});
