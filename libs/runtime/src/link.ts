/**
 * Messages between processes of one machine: newline-delimited JSON over a Unix socket. Nothing that matters may depend on
 * one message: a connection may end at any time, and what was sent or buffered then is gone. Whoever uses it says things again.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createLineConnection, type LineConnection, type LinkFault, type LinkLimits } from './lines.ts';

const CONNECTIONS_MAX = 64;
const RECONNECT_MIN_MS = 50;
const RECONNECT_MAX_MS = 500;

/** One connection as the server sees it. */
export interface LinkConnection<Out> {
  /** Counts up from 1. */
  readonly id: number;
  /** False when the message was not taken: the connection is (now) closed. */
  send(message: Out): boolean;
  close(): void;
}

export interface LinkServerOptions<In, Out> extends LinkLimits {
  /** From `socketPath`. A file that a former process left there is replaced: hold the folder's lock. */
  readonly path: string;
  readonly onOpen?: (connection: LinkConnection<Out>) => void;
  /** Messages are JSON objects as the peer sent them; their shape is a matter of trust between our own processes. */
  readonly onMessage: (connection: LinkConnection<Out>, message: In) => void;
  /** `fault` is set when this side ended it. */
  readonly onClose?: (connection: LinkConnection<Out>, fault: LinkFault | undefined) => void;
}

export interface LinkServer<Out> {
  readonly connections: ReadonlySet<LinkConnection<Out>>;
  /** Sends to every connection. */
  broadcast(message: Out): void;
  /** Ends every connection and removes the socket file. */
  close(): void;
}

interface ServerSide<Out> {
  readonly lines: LineConnection<Out>;
  readonly connection: LinkConnection<Out>;
}

/** Listens at once. Throws what the system throws when the path cannot be bound. */
export function createLinkServer<In extends object, Out extends object>(
  options: LinkServerOptions<In, Out>,
): LinkServer<Out> {
  const connections = new Set<LinkConnection<Out>>();
  let lastId = 0;
  rmSync(options.path, { force: true });

  function open(socket: Bun.Socket<ServerSide<Out> | undefined>): void {
    if (connections.size >= CONNECTIONS_MAX) {
      socket.terminate();
      return;
    }
    lastId += 1;
    const connection: LinkConnection<Out> = {
      id: lastId,
      send: (message) => lines.send(message),
      close: () => socket.terminate(),
    };
    const lines = createLineConnection<Out>(socket, (message) => options.onMessage(connection, message as In), options);
    socket.data = { lines, connection };
    connections.add(connection);
    options.onOpen?.(connection);
  }

  const listener = Bun.listen<ServerSide<Out> | undefined>({
    unix: options.path,
    data: undefined,
    socket: {
      open: crashing(open),
      data: crashing((socket, chunk) => socket.data?.lines.receive(chunk)),
      drain: crashing((socket) => socket.data?.lines.drain()),
      close: crashing((socket) => {
        const side = socket.data;
        if (side === undefined || !connections.delete(side.connection)) return;
        options.onClose?.(side.connection, side.lines.closed());
      }),
      error: closeFollows,
    },
  });
  chmodSync(options.path, 0o600);

  return {
    connections,
    broadcast(message) {
      for (const connection of connections) connection.send(message);
    },
    close: () => listener.stop(true),
  };
}

export interface LinkClientOptions<In> extends LinkLimits {
  readonly path: string;
  /** Connected, also again: say what the peer must know. */
  readonly onOpen?: () => void;
  readonly onMessage: (message: In) => void;
  /** It was connected and is not any more; another attempt follows. */
  readonly onClose?: (fault: LinkFault | undefined) => void;
}

export interface LinkClient<Out> {
  /** False when the message was not taken, since there is no connection (now). */
  send(message: Out): boolean;
  connected(): boolean;
  /** Ends the connection and the attempts. */
  close(): void;
}

/** Connects, and again whenever the connection ends or fails, after 50 ms that double up to 500 ms. */
export function connectLink<In extends object, Out extends object>(options: LinkClientOptions<In>): LinkClient<Out> {
  let current: { readonly lines: LineConnection<Out>; readonly socket: Bun.Socket } | undefined;
  let ended = false;
  let delayMs = RECONNECT_MIN_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function attempt(): void {
    timer = undefined;
    Bun.connect({
      unix: options.path,
      socket: {
        open: crashing(open),
        data: crashing((_socket: Bun.Socket, chunk: Uint8Array) => current?.lines.receive(chunk)),
        drain: crashing(() => current?.lines.drain()),
        close: crashing(lost),
        connectError: closeFollows, // and the promise below rejects
        error: closeFollows,
      },
    }).catch(again);
  }

  function open(socket: Bun.Socket): void {
    if (ended) {
      socket.terminate();
      return;
    }
    delayMs = RECONNECT_MIN_MS;
    const lines = createLineConnection<Out>(socket, (message) => options.onMessage(message as In), options);
    current = { lines, socket };
    options.onOpen?.();
  }

  function lost(socket: Bun.Socket): void {
    if (current?.socket !== socket) return;
    const fault = current.lines.closed();
    current = undefined;
    options.onClose?.(fault);
    again();
  }

  function again(): void {
    if (ended || timer !== undefined || current !== undefined) return;
    timer = setTimeout(attempt, delayMs);
    delayMs = Math.min(delayMs * 2, RECONNECT_MAX_MS);
  }

  attempt();
  return {
    send: (message) => current?.lines.send(message) ?? false,
    connected: () => current !== undefined,
    close() {
      ended = true;
      clearTimeout(timer);
      current?.socket.terminate();
    },
  };
}

/**
 * Bun hands what a socket callback throws to the `error` callback, as if the peer were at fault. It is a bug of ours and must
 * end the process, not the connection: thrown from a task of its own it does.
 */
function crashing<Arguments extends unknown[]>(
  callback: (...args: Arguments) => unknown,
): (...args: Arguments) => void {
  return (...args) => {
    try {
      callback(...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}

/** For the errors of the connection itself (the peer was killed): `close` is called as well, and deals with it. */
function closeFollows(): void {
  return;
}
