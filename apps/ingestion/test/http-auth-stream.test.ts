/** Tokens on the WebSocket: at the handshake, for its stores, and until they expire. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createAuth } from '@libs/auth';
import { signToken, TEST_SECRET } from '@libs/auth/testing';
import { createElysiaServer, type ElysiaServer } from '@libs/elysia-server';
import { createLogger } from '@libs/monitoring';
import { createStream, type Stream, streamRoutes } from '../src/routes/stream.ts';
import { cartEvent, createFakeIngestion, event, LIMITS, turnOver, waitUntil } from './stream-testing.ts';

const NOW_MS = Date.now();
const clock = { ms: NOW_MS };
const log: string[] = [];
const fake = createFakeIngestion();
let stream: Stream;
let server: ElysiaServer;
let url: string;

beforeAll(async () => {
  const logger = createLogger({ level: 'debug', name: 'test', destination: { write: (line) => void log.push(line) } });
  stream = createStream({
    ingestion: fake.ingestion,
    turn: turnOver(fake.ingestion.accept),
    limits: LIMITS,
    logger,
    wallMs: () => clock.ms,
  });
  server = createElysiaServer({
    name: 'test',
    version: '0.0.0',
    description: 'test',
    hostname: '127.0.0.1',
    port: 0,
    reusePort: false,
    requestTimeoutMs: 5_000,
    corsOrigins: [],
    logger,
    openapi: {},
    websocket: stream.websocket,
    auth: createAuth({ secret: TEST_SECRET, nowMs: () => clock.ms }),
  });
  streamRoutes(server, stream);
  const { port } = await server.listen();
  url = `127.0.0.1:${port}/events/stream`;
});
afterAll(async () => {
  await stream.closeAll(1001, 'bye');
  await server.stop();
});

/** Subprotocols, or Bun's own options. */
type HandshakeOptions = string[] | { readonly headers: Record<string, string> };

interface Client {
  readonly socket: WebSocket;
  readonly frames: Record<string, unknown>[];
  /** Resolves with the first frame of that type. */
  frame(type: string): Promise<Record<string, unknown>>;
  readonly closed: Promise<{ code: number; reason: string }>;
}

/** Rejects when the handshake is refused. */
function open(address: string, options?: HandshakeOptions): Promise<Client> {
  const socket = new WebSocket(address, options as string[]);
  const frames: Record<string, unknown>[] = [];
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.addEventListener('close', ({ code, reason }) => resolve({ code, reason }));
  });
  const listeners = new Set<() => void>();
  socket.addEventListener('message', ({ data }) => {
    frames.push(JSON.parse(String(data)));
    for (const listener of listeners) listener();
  });
  const frame = (type: string) =>
    new Promise<Record<string, unknown>>((resolve) => {
      const look = () => {
        const found = frames.find((one) => one['type'] === type);
        if (found === undefined) return;
        listeners.delete(look);
        resolve(found);
      };
      listeners.add(look);
      look();
    });
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', () => resolve({ socket, frames, frame, closed }));
    closed.then(({ code }) => reject(new Error(`refused: ${code}`)));
  });
}

const frameOf = (...frame: Parameters<typeof cartEvent>) => JSON.stringify(cartEvent(...frame));
const header = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const isOpen = (address: string, options?: HandshakeOptions) =>
  open(address, options).then(
    ({ socket }) => {
      socket.close();
      return true;
    },
    () => false,
  );

test('the handshake takes a token from the header, the URL or the subprotocol, and none without', async () => {
  const token = signToken({});
  expect(await isOpen(`ws://${url}`)).toBe(false);
  expect(await isOpen(`ws://${url}`, header('x.y.z'))).toBe(false);
  expect(await isOpen(`ws://${url}`, header(signToken({ scope: 'query' })))).toBe(false);
  expect(await isOpen(`ws://${url}?access_token=${signToken({ exp: 1 })}`)).toBe(false);
  expect(await isOpen(`ws://${url}`, header(token))).toBe(true);
  expect(await isOpen(`ws://${url}?access_token=${signToken({ sub: 'url' })}`)).toBe(true);
  const { socket } = await open(`ws://${url}`, ['bearer', signToken({ sub: 'protocol' })]);
  expect(socket.protocol).toBe('bearer');
  socket.close();
  const refused = await fetch(`http://${url}`, { headers: { upgrade: 'websocket' } });
  expect(refused.status).toBe(401);
});

test('a socket of a token that is bound to stores writes for these only', async () => {
  const client = await open(`ws://${url}`, header(signToken({ stores: ['a'] })));
  client.socket.send(frameOf(event('one', { storeId: 'b' }), { seq: 1 }));
  expect(await client.frame('event_error')).toMatchObject({
    seq: 1,
    code: 'forbidden_store',
    field: 'payload.storeId',
  });
  client.socket.send(frameOf([event('two', { storeId: 'b' }), event('three', { storeId: 'a' })], { seq: 2 }));
  expect(await client.frame('event_ack')).toMatchObject({ eventId: 'three', seq: 3, status: 'received' });
  expect(client.frames.filter((frame) => frame['code'] === 'forbidden_store').map((frame) => frame['seq'])).toEqual([
    1, 2,
  ]);
  expect(fake.records().map((record) => (record as { eventId?: string }).eventId)).not.toContain('two');
  client.socket.close();
});

test('a connection is resumed by its own principal only, and nobody else learns of it', async () => {
  const of = (claims: object) => header(signToken({ ...claims }));
  const first = await open(`ws://${url}`, of({ sub: 'one', stores: ['shop'] }));
  first.socket.send(frameOf([event('of-one'), event('bad', { reject: 'data' })], { seq: 1 }));
  await first.frame('event_ack');
  await first.frame('event_error');
  const { resume } = await first.frame('hello');
  const address = `ws://${url}?resume=${resume}`;

  const strangers = [{ sub: 'two', stores: ['shop'] }, { sub: 'one', stores: ['shop', 'b'] }, { sub: 'one' }, {}];
  for (const claims of strangers) {
    const stranger = await open(address, of(claims));
    const hello = await stranger.frame('hello');
    expect(hello).toMatchObject({ recovered: false });
    for (const name of ['throughSeq', 'errorsDropped']) expect(hello).not.toHaveProperty(name);
    stranger.socket.send('{"type":"heartbeat"}');
    await stranger.frame('heartbeat_ack');
    expect(stranger.frames).toHaveLength(2);
    stranger.socket.close();
  }
  expect(first.socket.readyState).toBe(WebSocket.OPEN);

  // A fresh token of the same one.
  const fresh = of({ sub: 'one', stores: ['shop'], exp: Math.floor(NOW_MS / 1000) + 50_000 });
  const second = await open(address, fresh);
  expect(await second.frame('hello')).toMatchObject({ recovered: true, throughSeq: 2 });
  expect(await second.frame('event_error')).toMatchObject({ seq: 2 });
  expect((await first.closed).code).toBe(4001);
  second.socket.close();
});

test('a token without subject is resumed with the same one only', async () => {
  const seconds = Math.floor(NOW_MS / 1000);
  const mine = header(signToken({ exp: seconds + 1_000 }));
  const first = await open(`ws://${url}`, mine);
  first.socket.send(frameOf(event('of-nobody'), { seq: 1 }));
  await first.frame('event_ack');
  const { resume } = await first.frame('hello');
  const other = await open(`ws://${url}?resume=${resume}`, header(signToken({ exp: seconds + 2_000 })));
  expect(await other.frame('hello')).toMatchObject({ recovered: false });
  const second = await open(`ws://${url}?resume=${resume}`, mine);
  expect(await second.frame('hello')).toMatchObject({ recovered: true, throughSeq: 1 });
  for (const { socket } of [other, second]) socket.close();
});

test('a socket ends when its token expires, once what is in flight has been answered', async () => {
  const seconds = Math.floor(NOW_MS / 1000);
  const short = await open(`ws://${url}`, header(signToken({ exp: seconds + 10 })));
  const long = await open(`ws://${url}`, header(signToken({ exp: seconds + 100_000 })));
  fake.hold();
  short.socket.send(frameOf(event('in-flight'), { seq: 1 }));
  await waitUntil(() => fake.records().some((record) => (record as { eventId?: string }).eventId === 'in-flight'));
  // Within the leeway it goes on, behind it not.
  clock.ms = (seconds + 10 + 29) * 1000;
  expect(await isOpen(`ws://${url}`, header(signToken({ exp: seconds + 10 })))).toBe(true);
  clock.ms = (seconds + 10 + 31) * 1000;
  expect(await isOpen(`ws://${url}`, header(signToken({ exp: seconds + 10 })))).toBe(false);
  // The sweep has passed once a socket with nothing in flight has gone.
  const idle = await open(`ws://${url}`, header(signToken({ exp: seconds + 42 })));
  clock.ms = (seconds + 42 + 31) * 1000;
  expect(await idle.closed).toEqual({ code: 1008, reason: 'token_expired' });
  expect(short.frames.filter((frame) => frame['type'] === 'event_ack')).toEqual([]);
  expect(short.socket.readyState).toBe(WebSocket.OPEN);
  fake.release();
  expect(await short.closed).toEqual({ code: 1008, reason: 'token_expired' });
  expect(short.frames.filter((frame) => frame['type'] === 'event_ack')).toMatchObject([{ eventId: 'in-flight' }]);
  expect(long.socket.readyState).toBe(WebSocket.OPEN);
  long.socket.close();
});

test('no token reaches the log', () => {
  expect(log.join('')).not.toContain('eyJ');
});
