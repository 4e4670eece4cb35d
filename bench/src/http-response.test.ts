import { expect, test } from 'bun:test';
import { createResponseReader } from './http-response.ts';

const STREAM = Buffer.from(
  [
    'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\n{"a"}',
    'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n',
    'HTTP/1.1 422 Unprocessable Entity\r\nContent-Length:21\r\n\r\nHTTP/1.1 202 Accepted',
    'HTTP/1.1 200 OK\r\nX-Content-Length: 99\r\nContent-Length: 2\r\n\r\n\r\n',
  ].join(''),
);

function statusesOf(chunks: readonly Uint8Array[]): number[] {
  const statuses: number[] = [];
  const reader = createResponseReader((status) => statuses.push(status));
  for (const chunk of chunks) reader.read(chunk);
  return statuses;
}

test('responses are counted with their status, bodies that look like responses are not', () => {
  expect(statusesOf([STREAM])).toEqual([202, 503, 422, 200]);
});

test('it does not matter where the stream is cut', () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    expect(statusesOf([STREAM.subarray(0, cut), STREAM.subarray(cut)])).toEqual([202, 503, 422, 200]);
  }
  expect(statusesOf(Array.from(STREAM, (byte) => Uint8Array.of(byte)))).toEqual([202, 503, 422, 200]);
});

test('a chunk that is overwritten after the call does no harm', () => {
  const statuses: number[] = [];
  const reader = createResponseReader((status) => statuses.push(status));
  const chunk = Buffer.alloc(10);
  for (let at = 0; at < STREAM.length; at += chunk.length) {
    const copied = STREAM.copy(chunk, 0, at);
    reader.read(chunk.subarray(0, copied));
    chunk.fill(0);
  }
  expect(statuses).toEqual([202, 503, 422, 200]);
});

test('the beginning of the body is shown with it', () => {
  const bodies: string[] = [];
  const reader = createResponseReader((_status, bytes, start, end) => bodies.push(bytes.toString('utf8', start, end)));
  reader.read(STREAM);
  const whole = ['{"a"}', '', 'HTTP/1.1 202 Accepted', '\r\n'];
  expect(bodies).toEqual(whole);
  for (const byte of STREAM) reader.read(Uint8Array.of(byte));
  expect(bodies).toEqual([...whole, ...whole]);
});

test('of a long body, the beginning is shown, however it comes', () => {
  const body = `{"totalEvents":1000}${'x'.repeat(100_000)}`;
  const bytes = Buffer.from(`HTTP/1.1 202 Accepted\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  for (const chunkBytes of [7, 64, 1_000, 65_536, bytes.length]) {
    const shown: string[] = [];
    const reader = createResponseReader((_status, buffer, start, end) =>
      shown.push(buffer.toString('utf8', start, end)),
    );
    for (let at = 0; at < bytes.length; at += chunkBytes) reader.read(bytes.subarray(at, at + chunkBytes));
    expect(shown).toEqual([body.slice(0, 512)]);
  }
});

test('a response that is not complete is not counted', () => {
  expect(statusesOf([Buffer.from('HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n{"a"')])).toEqual([]);
});

test('what belongs to another protocol after an upgrade is left as it came', () => {
  const statuses: number[] = [];
  const reader = createResponseReader((status) => statuses.push(status));
  reader.read(Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02'));
  expect(statuses).toEqual([101]);
  expect([...reader.takeRest()]).toEqual([1, 2]);
});

test('what cannot be counted is an error', () => {
  expect(() => statusesOf([Buffer.from('+OK Redis ready\r\n\r\n')])).toThrow('no HTTP/1.1 response');
  expect(() => statusesOf([Buffer.from('HTTP/1.1 200 OK\r\nServer: x\r\n\r\n')])).toThrow('without Content-Length');
  const inChunks = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  expect(statusesOf([Buffer.from(`${inChunks}0\r\n\r\n`)])).toEqual([200]);
  expect(() => statusesOf([Buffer.from(`${inChunks}5\r\nabcde\r\n0\r\n\r\n`)])).toThrow('no HTTP/1.1 response');
  expect(() => statusesOf([Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n')])).toThrow('is none');
  expect(() => statusesOf([Buffer.alloc(20_000, 'a')])).toThrow('no head of a response ends');
});
