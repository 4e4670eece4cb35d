import { afterEach, expect, test } from 'bun:test';
import { createConnection, type Socket as TcpSocket } from 'node:net';
import type { ServerWebSocket } from 'bun';
import {
  bunSettings,
  ConnectionState,
  createWebSocketHub,
  DEFAULT_WEBSOCKET_LIMITS,
  type WebSocketHubOptions,
  type WebSocketLimits,
} from '../src/index.ts';

type Socket = ServerWebSocket<ConnectionState>;

let stopServer: (() => Promise<void>) | undefined;
afterEach(async () => {
  await stopServer?.();
  stopServer = undefined;
});

/** For tests with a thousand connections, on a machine that has other things to do. */
const MANY_TIMEOUT_MS = 60_000;

/** A hub behind a real server that echoes; `sockets` holds the server's ends. */
function start(limits: Partial<WebSocketLimits> = {}, more: Partial<WebSocketHubOptions<ConnectionState>> = {}) {
  const all: WebSocketLimits = { ...DEFAULT_WEBSOCKET_LIMITS, ...limits };
  const sockets: Socket[] = [];
  const decisions: string[] = [];
  const totals = { activeConnections: 0, totalConnections: 0, messagesReceived: 0, messagesSent: 0 };
  const hub = createWebSocketHub<ConnectionState>({
    limits: all,
    totals,
    overloaded: (cause) => `overloaded: ${cause}`,
    onClose: (_, code, reason) => decisions.push(`${code} ${reason}`),
    random: () => 0.5,
    ...more,
  });
  const server = Bun.serve<ConnectionState>({
    port: 0,
    hostname: '127.0.0.1',
    development: false,
    fetch: (request, self) => (self.upgrade(request, { data: new ConnectionState() }) ? undefined : new Response()),
    websocket: {
      ...bunSettings(all),
      open(ws) {
        sockets.push(ws);
        hub.opened(ws);
      },
      message(ws, message) {
        if (hub.received(ws)) hub.send(ws, String(message));
      },
      drain: hub.drained,
      close: hub.closed,
    },
  });
  stopServer = () => server.stop(true);
  return {
    port: server.port ?? 0,
    hub,
    sockets,
    decisions,
    totals,
    url: `ws://127.0.0.1:${server.port}`,
  };
}

async function connect(url: string) {
  const socket = new WebSocket(url);
  const messages: string[] = [];
  const closed = new Promise<number>((resolve) => {
    socket.onclose = ({ code }) => resolve(code);
  });
  socket.onmessage = ({ data }) => messages.push(String(data));
  await new Promise((resolve) => {
    socket.onopen = resolve;
  });
  return { socket, messages, closed };
}

/** A client that has shaken hands and reads nothing more. */
async function connectStalled(port: number): Promise<TcpSocket> {
  const socket = createConnection(port, '127.0.0.1');
  const key = Buffer.alloc(16).toString('base64');
  socket.write(
    `GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  await new Promise((resolve) => socket.once('data', resolve));
  return socket.pause();
}

/** The server's end of the connection that was opened last. */
function last(sockets: readonly Socket[]): Socket {
  const ws = sockets.at(-1);
  if (ws === undefined) throw new Error('nobody has connected');
  return ws;
}

test('credit: exactly as much as there is, by items and by bytes, and settled it is there again', async () => {
  const { hub, sockets, url } = start({ creditItems: 10, creditBytes: 100 });
  await connect(url);
  const ws = last(sockets);
  expect(hub.take(ws, 10, 100)).toBe(true);
  hub.settle(ws, 10, 100);
  expect(hub.take(ws, 9, 100)).toBe(true);
  hub.settle(ws, 9, 100);
  expect(hub.take(ws, 1, 50)).toBe(true);
  expect(hub.take(ws, 1, 51)).toBe(false);
});

test('over credit: told, deaf from then on, closed with 1013 after the last answer', async () => {
  const { hub, sockets, decisions, url } = start({ creditItems: 1 });
  const client = await connect(url);
  const ws = last(sockets);
  hub.take(ws, 1, 1);
  expect(hub.take(ws, 1, 1)).toBe(false);
  expect(hub.received(ws)).toBe(false);
  expect(hub.send(ws, 'the answer')).toBe(true);
  expect(decisions).toEqual([]);
  hub.settle(ws, 1, 1);
  expect(await client.closed).toBe(1013);
  expect(client.messages).toEqual(['overloaded: credit', 'the answer']);
  expect(decisions).toEqual(['1013 overloaded']);
  expect(hub.send(ws, 'too late')).toBe(false);
  hub.end(ws, 1000, 'twice');
  expect(hub.stats()).toEqual({ connections: 0, outboundBytes: 0, closed: { 1013: 1 } });
});

test('the first reason to end a connection is the one that it is closed with', async () => {
  const { hub, sockets, url } = start();
  const client = await connect(url);
  const ws = last(sockets);
  hub.take(ws, 1, 1);
  hub.end(ws, 1008, 'first');
  const all = hub.closeAll(1001, 'second');
  hub.settle(ws, 1, 1);
  expect(await client.closed).toBe(1008);
  await all;
});

test('closeAll: one that opens afterwards is closed too, and calling it twice resolves twice', async () => {
  const { hub, sockets, url } = start();
  const early = await connect(url);
  hub.take(last(sockets), 1, 1);
  const first = hub.closeAll(1001, 'bye');
  const second = hub.closeAll(1001, 'bye');
  expect(hub.hasRoom()).toBe(false);
  const late = new WebSocket(url);
  expect(await new Promise((resolve) => late.addEventListener('close', ({ code }) => resolve(code)))).toBe(1001);
  const [ws] = sockets;
  if (ws !== undefined) hub.settle(ws, 1, 1);
  await Promise.all([first, second, early.closed]);
  expect(hub.stats().connections).toBe(0);
});

test('when all together hold too much unread, only one that holds more than its share is closed', async () => {
  const totalMax = 1_048_576;
  const { hub, sockets, port } = start({ outboundTotalBytesMax: totalMax });
  const clients = [await connectStalled(port)];
  const greedy = last(sockets);
  clients.push(await connectStalled(port));
  const modest = last(sockets);
  const text = 'x'.repeat(16_384);
  while (greedy.data.outboundBytes < totalMax - 20_000) expect(hub.send(greedy, text)).toBe(true);
  while (hub.stats().outboundBytes <= totalMax) expect(hub.send(modest, text)).toBe(true);
  expect(modest.readyState).toBe(WebSocket.OPEN);
  expect(hub.send(greedy, text)).toBe(false);
  expect(hub.stats()).toEqual({ connections: 1, outboundBytes: modest.data.outboundBytes, closed: { 1013: 1 } });
  expect(hub.send(modest, text)).toBe(true);
  for (const client of clients) client.destroy();
});

test('totals count connections that are open and that ever were, and messages each way', async () => {
  const { totals, url, hub } = start();
  const one = await connect(url);
  const two = await connect(url);
  const echoed = new Promise((resolve) => two.socket.addEventListener('message', resolve));
  two.socket.send('hello');
  await echoed;
  one.socket.close();
  while (hub.stats().connections > 1) await new Promise(setImmediate);
  expect(totals).toEqual({ activeConnections: 1, totalConnections: 2, messagesReceived: 1, messagesSent: 1 });
});

test('last words go out before a close, whoever decided on it, but not after a client has gone', async () => {
  const said: Socket[] = [];
  const lastWords = (ws: Socket) => {
    said.push(ws);
    return `last ${said.length}`;
  };
  const { hub, sockets, totals, url } = start({}, { lastWords });
  const [ended, closed, gone] = [await connect(url), await connect(url), await connect(url)];
  const [first, second, third] = sockets as [Socket, Socket, Socket];
  hub.take(first, 1, 1);
  hub.take(second, 1, 1);
  hub.end(first, 1008, 'later');
  hub.close(second, 4001, 'at once');
  expect(said).toEqual([second]);
  hub.settle(first, 1, 1);
  expect([await ended.closed, await closed.closed]).toEqual([1008, 4001]);
  expect([ended.messages, closed.messages]).toEqual([['last 2'], ['last 1']]);
  gone.socket.terminate();
  while (hub.stats().connections > 0) await new Promise(setImmediate);
  hub.close(third, 1000, 'too late');
  expect(said).toHaveLength(2);
  expect(totals.messagesSent).toBe(2);
});

test('a client that does not read hears its last words once, and is closed once', async () => {
  let said = 0;
  const lastWords = () => {
    said += 1;
    return 'x'.repeat(1_000);
  };
  const { hub, sockets, port } = start({ outboundBytesMax: 65_536 }, { lastWords });
  const client = await connectStalled(port);
  const ws = last(sockets);
  while (hub.send(ws, 'y'.repeat(16_384)));
  expect(said).toBe(1);
  expect(hub.stats()).toEqual({ connections: 0, outboundBytes: 0, closed: { 1013: 1 } });
  client.destroy();
});

test('going away is said once, and what is owed before it: at once to those who wait for answers, too', async () => {
  const owed = new Map<Socket, string>();
  const lastWords = (ws: Socket) => {
    const text = owed.get(ws);
    owed.delete(ws);
    return text;
  };
  const { hub, sockets, decisions, url } = start({}, { lastWords, goingAway: (reason) => `going: ${reason}` });
  const [idle, busy, ending] = [await connect(url), await connect(url), await connect(url)];
  const [first, second, third] = sockets as [Socket, Socket, Socket];
  owed.set(first, 'ack 1').set(second, 'ack 2');
  hub.take(second, 1, 1);
  hub.take(third, 1, 1);
  hub.end(third, 1008, 'its own reason');
  const all = hub.closeAll(1001, 'bye');
  expect(await idle.closed).toBe(1001);
  expect(idle.messages).toEqual(['ack 1', 'going: bye']);
  // It is told, nothing of it is taken any more, and what it waits for still comes.
  while (busy.messages.length < 2) await new Promise(setImmediate);
  expect(busy.messages).toEqual(['ack 2', 'going: bye']);
  expect(hub.received(second)).toBe(false);
  owed.set(second, 'ack 3');
  hub.settle(second, 1, 1);
  hub.settle(third, 1, 1);
  await all;
  expect([await busy.closed, await ending.closed]).toEqual([1001, 1008]);
  expect([busy.messages, ending.messages]).toEqual([['ack 2', 'going: bye', 'ack 3'], []]);
  expect(decisions).toEqual(['1001 bye', '1001 bye', '1008 its own reason']);
});

test(
  'closeAll tells everyone to go before it closes anyone',
  async () => {
    const toldAtClose: number[] = [];
    let told = 0;
    const { hub, url } = start(
      {},
      {
        goingAway: () => {
          told += 1;
          return 'going';
        },
        onClose: () => toldAtClose.push(told),
      },
    );
    // More than are told in one turn, and than are closed in one.
    const clients = [];
    for (let at = 0; at < 1_200; at += 100)
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(url)))));
    await hub.closeAll(1001, 'bye');
    expect(new Set(toldAtClose)).toEqual(new Set([1_200]));
    await Promise.all(clients.map(({ closed }) => closed));
    expect(clients.every(({ messages }) => messages.join() === 'going')).toBe(true);
  },
  MANY_TIMEOUT_MS,
);

test(
  'closeAll goes in slices: between them, other work gets its turn',
  async () => {
    const { hub, url, sockets } = start();
    for (let at = 0; at < 1_000; at += 100) await Promise.all(Array.from({ length: 100 }, () => connect(url)));
    expect(sockets).toHaveLength(1_000);
    const seen: number[] = [];
    let over = false;
    const look = () => {
      seen.push(hub.stats().connections);
      if (!over) setImmediate(look);
    };
    setImmediate(look);
    await hub.closeAll(1001, 'bye');
    over = true;
    expect(hub.stats()).toMatchObject({ connections: 0, closed: { 1001: 1_000 } });
    const steps = seen.map((left, at) => (seen[at - 1] ?? 1_000) - left);
    expect(Math.max(...steps)).toBeLessThanOrEqual(250);
    expect(seen.filter((left) => left > 0 && left < 1_000).length).toBeGreaterThan(1);
  },
  MANY_TIMEOUT_MS,
);

test(
  'the more there are, the later they are asked to come back, also while they go',
  async () => {
    const { hub, url } = start();
    expect(hub.retryAfterMs()).toBe(1_500);
    for (let at = 0; at < 1_200; at += 100) await Promise.all(Array.from({ length: 100 }, () => connect(url)));
    expect(hub.retryAfterMs()).toBe(1_600);
    await hub.closeAll(1001, 'bye');
    expect(hub.retryAfterMs()).toBe(1_600);
  },
  MANY_TIMEOUT_MS,
);

test('without a connection, closeAll is done at once', async () => {
  const { hub } = start();
  await hub.closeAll(1001, 'nobody is here');
  expect(hub.hasRoom()).toBe(false);
});
