import { expect, test } from 'bun:test';
import net from 'node:net';
import { startEcho } from './echo-server.ts';
import { connectRaw, exchange, parseReplies, post } from './raw-connection.ts';

const HELLO = 'GET /hello HTTP/1.1\r\nHost: test\r\n\r\n';

test('stop: replies under way finish, idle connections close, no new one is taken', async () => {
  const echo = await startEcho();
  const idle = await connectRaw(echo.port);
  idle.write(HELLO);
  await idle.until((text) => text.endsWith('hello'));
  const busy = await connectRaw(echo.port);
  busy.write(post('/held/a', ''));
  await echo.held(1);

  const stopped = echo.server.stop();
  await idle.closed();
  await expect(connectRefused(echo.port)).resolves.toBe(true);
  expect(busy.isClosed()).toBe(false);
  echo.release();
  const [reply] = parseReplies(await busy.closed());
  expect(reply?.body).toBe('held a');
  expect(reply?.headers.get('connection')).toBe('close');
  await stopped;
});

test.each(['/swagger/swagger-ui-bundle.js', '/numbers'])(
  'stop: a reply of megabytes (%s) to a slow reader arrives whole',
  async (path) => {
    const echo = await startEcho({ stopTimeoutMs: 60_000 });
    const whole = await (await fetch(`${echo.url}${path}`)).arrayBuffer();
    const socket = net.connect(echo.port, '127.0.0.1');
    const pieces: Buffer[] = [];
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.on('data', (piece) => pieces.push(Buffer.from(piece)));
    socket.once('data', () => {
      socket.pause();
      void echo.server.stop();
      // Long enough for several looks at what is pending, while nobody reads.
      setTimeout(() => socket.resume(), 500);
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
    await ended;
    await echo.server.stop();
    const received = Buffer.concat(pieces);
    expect(whole.byteLength).toBeGreaterThan(1_500_000);
    expect(received.length).toBeGreaterThan(whole.byteLength);
    const end = path === '/numbers' ? '\r\n0\r\n\r\n' : Buffer.from(whole.slice(-50)).toString();
    expect(received.subarray(-end.length).toString()).toBe(end);
  },
);

test('stop ends at its time limit with what never finishes', async () => {
  const echo = await startEcho({ stopTimeoutMs: 100 });
  const busy = await connectRaw(echo.port);
  busy.write(post('/held/a', ''));
  await echo.held(1);
  await echo.server.stop();
  expect(await busy.closed()).toBe('');
  echo.release();
});

test('stop does not wait for WebSockets beyond its time limit', async () => {
  const echo = await startEcho({ stopTimeoutMs: 100, websocket: { message: () => undefined } });
  const socket = new WebSocket(`ws://127.0.0.1:${echo.port}/socket`);
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
  await echo.server.stop();
  await closed;
});

test('stop does not wait for refused bodies that are still on their way', async () => {
  const echo = await startEcho({ stopTimeoutMs: 60_000 });
  const uploads = await Promise.all([1, 2, 3].map(() => connectRaw(echo.port)));
  for (const upload of uploads) {
    upload.write('POST /unread HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\nbegin');
    await upload.until((text) => parseReplies(text).length === 1);
    upload.write('more');
  }
  await fetch(`${echo.url}/unread`, { method: 'POST', body: 'x'.repeat(10_000_000) });
  await echo.server.stop();
  await Promise.all(uploads.map((upload) => upload.closed()));
});

test('while draining, every reply ends its connection', async () => {
  let draining = false;
  const echo = await startEcho({ draining: () => draining });
  const connection = await connectRaw(echo.port);
  connection.write(HELLO);
  await connection.until((text) => text.endsWith('hello'));
  draining = true;
  connection.write(HELLO);
  const replies = parseReplies(await connection.closed());
  expect(replies.map((reply) => reply.headers.get('connection'))).toEqual([null, 'close']);
  await echo.server.stop();
});

test('a taken port is an error that says so', async () => {
  const echo = await startEcho();
  await expect(startEcho({ port: echo.port })).rejects.toMatchObject({ code: 'port_taken' });
  expect((await exchange(echo.port, HELLO)).body).toBe('hello');
  await echo.server.stop();
});

async function connectRefused(port: number): Promise<boolean> {
  try {
    const late = await fetch(`http://127.0.0.1:${port}/hello`);
    await late.text();
    return false;
  } catch {
    return true;
  }
}
