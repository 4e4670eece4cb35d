/** Ports for servers that cannot be told to choose one themselves. */
import { createConnection, createServer } from 'node:net';

/** Below the range from which the system takes the ports of outgoing connections (32,768 and up on Linux). */
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;
const ATTEMPTS_MAX = 100;

/** A port of 127.0.0.1 that nobody listens on now. Somebody may take it before the caller does. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (await isFree(port)) return port;
  }
  throw new Error(`No free port was found between ${PORT_MIN} and ${PORT_MAX}`);
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  return promise;
}

/**
 * Sends the bytes to a port of 127.0.0.1 and resolves with what came back as soon as `isWhole` says so. Undefined: refused,
 * closed, or not within `timeoutMs` milliseconds.
 */
export function exchange(
  port: number,
  bytes: Uint8Array,
  isWhole: (reply: Buffer) => boolean,
  timeoutMs: number,
): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  let reply = Buffer.alloc(0);
  const socket = createConnection({ port, host: '127.0.0.1' });
  const settle = (value: Buffer | undefined) => {
    clearTimeout(timer);
    socket.destroy();
    resolve(value);
  };
  const timer = setTimeout(() => settle(undefined), timeoutMs);
  socket.on('connect', () => socket.write(bytes));
  socket.on('data', (chunk: Buffer) => {
    reply = Buffer.concat([reply, chunk]);
    if (isWhole(reply)) settle(reply);
  });
  socket.on('error', () => settle(undefined));
  socket.on('close', () => settle(undefined));
  return promise;
}
