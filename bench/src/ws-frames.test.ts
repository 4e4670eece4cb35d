import { expect, test } from 'bun:test';
import { clientFrame, clientFrameEnd, createFrameReader } from './ws-frames.ts';

/** As a server sends them: not masked. */
function serverFrame(payload: string, opcode = 1): Buffer {
  const bytes = Buffer.from(payload);
  const head =
    bytes.length < 126 ? [0x80 | opcode, bytes.length] : [0x80 | opcode, 126, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from(head), bytes]);
}

function framesIn(chunks: readonly Uint8Array[]): (readonly [number, string])[] {
  const frames: (readonly [number, string])[] = [];
  const reader = createFrameReader((opcode, bytes, start, end) =>
    frames.push([opcode, bytes.toString('utf8', start, end)]),
  );
  for (const chunk of chunks) reader.read(chunk);
  return frames;
}

const LONG = 'x'.repeat(300);
const STREAM = Buffer.concat([serverFrame('{"a":1}'), serverFrame(LONG), serverFrame('', 9), serverFrame('bye', 8)]);
const EXPECTED = [
  [1, '{"a":1}'],
  [1, LONG],
  [9, ''],
  [8, 'bye'],
] as const;

test('frames are read wherever the stream is cut', () => {
  expect(framesIn([STREAM])).toEqual([...EXPECTED]);
  for (let cut = 0; cut <= STREAM.length; cut++) {
    expect(framesIn([STREAM.subarray(0, cut), STREAM.subarray(cut)])).toEqual([...EXPECTED]);
  }
  expect(framesIn(Array.from(STREAM, (byte) => Uint8Array.of(byte)))).toEqual([...EXPECTED]);
});

test('what no server under test sends is an error', () => {
  expect(() => framesIn([Buffer.from([0x01, 0x00])])).toThrow('fragmented');
  expect(() => framesIn([Buffer.from([0x81, 0x80])])).toThrow('masked');
  expect(() => framesIn([Buffer.from([0x81, 127, 0, 0])])).toThrow('64 KiB');
});

test.each([0, 5, 125, 126, 400, 65_535])('a client frame of %d bytes is what a real server reads', async (length) => {
  const payload = 'y'.repeat(length);
  const heard = Promise.withResolvers<string | Buffer>();
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('no', { status: 400 })),
    websocket: { message: (_socket, message) => heard.resolve(message) },
  });
  const { openWebSocket } = await import('./lanes.ts');
  const target = { host: '127.0.0.1', port: server.port as number };
  const connection = await openWebSocket(target, { data() {}, lost: (reason) => heard.reject(new Error(reason)) });
  const { bytes } = clientFrame(Buffer.from(payload), 0xdead_beef);
  expect(clientFrameEnd(Buffer.from(bytes))).toBe(length === 0 ? 6 : bytes.length);
  connection.write(bytes, 0, bytes.length);
  expect(await heard.promise).toBe(payload);
  connection.close();
  await server.stop(true);
});

test('a payload that needs the long length is refused', () => {
  expect(() => clientFrame(Buffer.alloc(65_536), 1)).toThrow('too long');
});
