import { afterEach, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  connectLink,
  createLinkServer,
  type LinkClient,
  type LinkClientOptions,
  type LinkFault,
  type LinkServer,
  type LinkServerOptions,
} from '../src/index.ts';
import { cleanUp, start, temporaryFolder, until } from './harness.ts';

interface Message {
  readonly n: number;
  readonly text?: string;
}

const open: { close(): void }[] = [];

setDefaultTimeout(60_000);
afterEach(async () => {
  for (const one of open.splice(0)) one.close();
  await cleanUp();
});

function serve(path: string, options: Partial<LinkServerOptions<Message, Message>> = {}): LinkServer<Message> {
  const server = createLinkServer<Message, Message>({ path, onMessage: () => undefined, ...options });
  open.push(server);
  return server;
}

function connect(path: string, options: Partial<LinkClientOptions<Message>> = {}): LinkClient<Message> {
  const client = connectLink<Message, Message>({ path, onMessage: () => undefined, ...options });
  open.push(client);
  return client;
}

/** A peer that speaks bytes of its own choice and reads when it likes. */
async function rawPeer(path: string, onClose: () => void = () => undefined): Promise<Bun.Socket> {
  const socket = await Bun.connect({ unix: path, socket: { data: () => undefined, close: onClose } });
  open.push({ close: () => socket.terminate() });
  return socket;
}

test('messages travel both ways, in order and whole, however large the backlog', async () => {
  const path = join(temporaryFolder(), 'link');
  const received: number[] = [];
  const answered: number[] = [];
  serve(path, {
    onMessage(connection, message) {
      received.push(message.n);
      connection.send({ n: -message.n });
    },
  });
  const client = connect(path, { onMessage: (message) => answered.push(message.n) });
  await until(client.connected, 'the connection');
  const count = 400;
  for (let n = 1; n <= count; n++) {
    // The kernel takes a small line whole or not at all, and a part of a large one.
    const text = 'ä\n"\u2028'.repeat(n % 50 === 0 ? 30_000 : 300);
    expect(client.send({ n, text })).toBe(true);
  }
  await until(() => answered.length === count, 'every answer');
  const expected = Array.from({ length: count }, (_, i) => i + 1);
  expect(received).toEqual(expected);
  expect(answered.map((n) => -n)).toEqual(expected);
});

test('a client waits for its server, and comes back after the server went and came', async () => {
  const path = join(temporaryFolder(), 'link');
  const events: string[] = [];
  const client = connect(path, {
    onOpen: () => events.push('open'),
    onClose: () => events.push('close'),
  });
  expect(client.connected()).toBe(false);
  expect(client.send({ n: 1 })).toBe(false);
  for (let round = 1; round <= 3; round++) {
    const server = serve(path, { onOpen: (connection) => connection.send({ n: round }) });
    await until(() => events.length === round * 2 - 1, 'the connection');
    expect(client.connected()).toBe(true);
    expect(server.connections.size).toBe(1);
    server.close();
    expect(existsSync(path)).toBe(false);
    await until(() => events.length === round * 2, 'the end of the connection');
    expect(client.send({ n: 1 })).toBe(false);
  }
  expect(events).toEqual(['open', 'close', 'open', 'close', 'open', 'close']);
});

test('a client that was closed stays away', async () => {
  const path = join(temporaryFolder(), 'link');
  const server = serve(path);
  const client = connect(path);
  await until(() => server.connections.size === 1, 'the connection');
  client.close();
  await until(() => server.connections.size === 0, 'the end of the connection');
  expect(client.connected()).toBe(false);
  const early = connect(path);
  early.close();
  const later = connect(path);
  // The early one may be heard of, and has gone.
  await until(() => later.connected() && server.connections.size === 1, 'a later client alone');
  expect(later.connected()).toBe(true);
  expect(server.connections.size).toBe(1);
});

test('a peer that gets SIGKILL with unread bytes costs its connection only', async () => {
  const path = join(temporaryFolder(), 'link');
  const heard = new Map<number, number>();
  const server = serve(path, {
    onMessage: (connection, message) => heard.set(connection.id, message.n),
  });
  const [victim, other] = [start('link-peer', path, 'echo'), start('link-peer', path, 'echo')];
  await until(() => heard.size === 2, 'both to speak');
  victim.kill('SIGSTOP');
  server.broadcast({ n: 1 });
  victim.kill('SIGKILL');
  await until(() => server.connections.size === 1, 'the end of one connection');
  server.broadcast({ n: 2 });
  await until(() => [...heard.values()].includes(2), 'the other to answer');
  expect(other.stdout()).toBe('open\n');
});

test('a line over the limit ends that connection and no other', async () => {
  const path = join(temporaryFolder(), 'link');
  const faults: (LinkFault | undefined)[] = [];
  const received: number[] = [];
  const server = serve(path, {
    lineBytesMax: 100,
    onMessage: (_connection, message) => received.push(message.n),
    onClose: (_connection, fault) => faults.push(fault),
  });
  const client = connect(path);
  await until(client.connected, 'the connection');
  for (const bytes of ['x'.repeat(101), `{"n":7}\n${'y'.repeat(101)}\n{"n":8}\n`]) {
    let closed = false;
    const peer = await rawPeer(path, () => {
      closed = true;
    });
    peer.write(bytes);
    await until(() => closed, 'the peer to be disconnected');
  }
  client.send({ n: 1, text: 'x'.repeat(100 - '{"n":1,"text":""}'.length) });
  await until(() => received.includes(1), 'a line of just the limit');
  expect(received).toEqual([7, 1]);
  expect(faults).toEqual(['line_too_long', 'line_too_long']);
  expect(server.connections.size).toBe(1);
});

test('a line in many pieces is put together, and the limit counts all of them', async () => {
  const path = join(temporaryFolder(), 'link');
  const received: Message[] = [];
  const faults: (LinkFault | undefined)[] = [];
  serve(path, {
    lineBytesMax: 64,
    onMessage: (_connection, message) => received.push(message),
    onClose: (_connection, fault) => faults.push(fault),
  });
  const peer = await rawPeer(path);
  for (const byte of Buffer.from('{"n":1,"text":"ä€"}\n{"n":2}\n')) {
    peer.write(Uint8Array.of(byte));
    peer.flush();
    await Bun.sleep(0);
  }
  await until(() => received.length === 2, 'both lines');
  expect(received).toEqual([{ n: 1, text: 'ä€' }, { n: 2 }]);
  while (faults.length === 0) {
    peer.write('x'.repeat(10));
    await Bun.sleep(0);
  }
  expect(faults).toEqual(['line_too_long']);
});

test('what is no JSON object ends the connection', async () => {
  const path = join(temporaryFolder(), 'link');
  const faults: (LinkFault | undefined)[] = [];
  serve(path, {
    onMessage: () => {
      throw new Error('Nothing of this may arrive');
    },
    onClose: (_connection, fault) => faults.push(fault),
  });
  const lines = ['\n', '{\n', '7\n', 'null\n', '"x"\n', '\u0000\n', '{}}\n'];
  for (const [i, line] of lines.entries()) {
    const peer = await rawPeer(path);
    peer.write(line);
    await until(
      () => faults.length === i + 1,
      () => `the end of ${JSON.stringify(line)}`,
    );
  }
  expect(faults).toEqual(lines.map(() => 'malformed_line'));
});

test('a peer that does not read is disconnected once too much waits for it', async () => {
  const path = join(temporaryFolder(), 'link');
  const faults: (LinkFault | undefined)[] = [];
  const server = serve(path, {
    bufferedBytesMax: 100_000,
    onClose: (_connection, fault) => faults.push(fault),
  });
  const peer = start('link-peer', path, 'echo');
  await until(() => server.connections.size === 1, 'the connection');
  peer.kill('SIGSTOP');
  const [connection] = [...server.connections];
  let sent = 0;
  while (connection?.send({ n: sent, text: 'x'.repeat(1_000) })) sent += 1;
  expect(sent).toBeGreaterThan(90);
  expect(sent).toBeLessThan(10_000);
  await until(() => faults.length === 1, 'the end of the connection');
  expect(faults).toEqual(['peer_too_slow']);
  expect(connection?.send({ n: 0 })).toBe(false);
  peer.kill('SIGCONT');
  await until(() => server.connections.size === 1, 'the peer to come back');
});

test('a peer that reads nothing for too long is disconnected, however little waits', async () => {
  const path = join(temporaryFolder(), 'link');
  const faults: (LinkFault | undefined)[] = [];
  const server = serve(path, { stallTimeoutMs: 300, onClose: (_connection, fault) => faults.push(fault) });
  const peer = start('link-peer', path, 'echo');
  await until(() => server.connections.size === 1, 'the connection');
  peer.kill('SIGSTOP');
  const [connection] = [...server.connections];
  // More than any kernel buffers for a socket, less than the limit of what may wait.
  for (let n = 0; n < 30; n++) expect(connection?.send({ n, text: 'x'.repeat(100_000) })).toBe(true);
  await until(() => faults.length === 1, 'the end of the connection');
  expect(faults).toEqual(['peer_too_slow']);
});

test('an error in a callback is a bug: it ends the process', async () => {
  const path = join(temporaryFolder(), 'link');
  const buggy = start('link-peer', path, 'buggy-server');
  await until(() => buggy.stdout().includes('listening'), 'the server');
  const client = connect(path);
  await until(client.connected, 'the connection');
  client.send({ n: 1 });
  expect(await buggy.exited).toBe(1);
  await until(() => buggy.stderr().includes('a bug of ours'), 'the reason');
});

test('a socket file that a killed server left is replaced, and only its owner may use the new one', async () => {
  const path = join(temporaryFolder(), 'link');
  const former = start('link-peer', path, 'buggy-server');
  await until(() => former.stdout().includes('listening'), 'the server');
  former.kill('SIGKILL');
  await former.exited;
  expect(existsSync(path)).toBe(true);
  serve(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const client = connect(path);
  await until(client.connected, 'the connection');
  expect(() => serve(join(path, 'below-a-file'))).toThrow();
  writeFileSync(`${path}.other`, 'x');
  serve(`${path}.other`);
});

test('connections past the limit are turned away, and the others stay', async () => {
  const path = join(temporaryFolder(), 'link');
  const server = serve(path);
  let closed = 0;
  await Promise.all(
    Array.from({ length: 70 }, () =>
      rawPeer(path, () => {
        closed += 1;
      }),
    ),
  );
  await until(() => closed === 6, 'six to be turned away');
  expect(server.connections.size).toBe(64);
});
