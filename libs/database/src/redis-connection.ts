/**
 * One connection to Redis that comes back by itself. Logging in, choosing the database and finding out whether the
 * server can be used happens here and not in the client, which would print its warnings to the console.
 */
import { backoffMs } from '@libs/pipeline';
import { Redis } from 'ioredis';
import { type Problem, problem, problemOf } from './redis-problem.ts';
import { parseRedisUrl, type RedisAddress } from './redis-url.ts';

export interface RedisTls {
  /** PEM. Default: the certificate authorities that the runtime knows. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface RedisConnectionOptions {
  /** `redis://[user:password@]host[:port][/database]`, or `rediss://`. */
  readonly url: string;
  readonly tls?: RedisTls;
  /** Shown by CLIENT LIST. */
  readonly clientName: string;
  /** Default 2,000. */
  readonly connectTimeoutMs?: number;
  /** A server that leaves a command unanswered for this long counts as gone, and the connection is made anew. Default 5,000. */
  readonly silenceMaxMs?: number;
}

export interface RedisConnectionHooks {
  /** Connected, logged in, nothing else sent yet. What it throws counts as a problem of the connection. */
  onReady(): void | Promise<void>;
  /** The connection is gone, or the server refused us. Told of every attempt that fails. */
  onLost(problem: Problem): void;
  onMessage?(text: string): void;
  readonly random: () => number;
}

export interface RedisConnection {
  /** Starts connecting; `onReady` or `onLost` says how it went. */
  open(): void;
  /** Sends a command, its name in lower case: the client knows no other. Rejects at once while there is no connection; never queues. */
  send(name: string, ...args: (string | number)[]): Promise<unknown>;
  /** Closes the connection because of `why` and makes a new one after a wait: a failover behind a name is found this way. */
  reconnect(why: Problem): void;
  /** The server does what is asked: the next wait is short again. */
  markGood(): void;
  close(): void;
}

const RECONNECT_WAIT = { minMs: 50, maxMs: 2_000 };
const PING_INTERVAL_MS = 5_000;

/** Throws `Permanent` when the URL is wrong. */
export function createRedisConnection(options: RedisConnectionOptions, hooks: RedisConnectionHooks): RedisConnection {
  const address = parseRedisUrl(options.url);
  const client = createClient(address, options, nextWaitMs);
  let failures = 0;
  /** What the next `close` event is about. */
  let cause: Problem | undefined;
  let isClosed = false;
  let ping: ReturnType<typeof setInterval> | undefined;

  client.on('error', (error: unknown) => {
    cause ??= problemOf(error);
  });
  client.on('ready', () => void greet());
  client.on('close', lost);
  if (hooks.onMessage !== undefined) client.on('message', (_channel: string, text: string) => hooks.onMessage?.(text));

  function nextWaitMs(): number | null {
    if (isClosed) return null;
    failures += 1;
    return backoffMs(failures, RECONNECT_WAIT, hooks.random);
  }

  function send(name: string, ...args: (string | number)[]): Promise<unknown> {
    return client.call(name, ...args);
  }

  async function greet(): Promise<void> {
    try {
      await introduce(address, options.clientName, send);
      if (isClosed) return;
      ping = setInterval(() => send('ping').catch(ignoreLostPing), PING_INTERVAL_MS);
      cause = undefined;
      await hooks.onReady();
    } catch (error) {
      reconnect(problemOf(error));
    }
  }

  function reconnect(why: Problem): void {
    cause ??= why;
    client.disconnect(true);
  }

  function lost(): void {
    clearInterval(ping);
    const why = cause ?? problem('disconnected', 'connection closed');
    cause = undefined;
    if (!isClosed) hooks.onLost(why);
  }

  return {
    open() {
      client.connect().catch(ignoreTold);
    },
    send,
    reconnect,
    markGood() {
      failures = 0;
    },
    close() {
      isClosed = true;
      clearInterval(ping);
      client.disconnect(false);
    },
  };
}

/** A first failure also arrives as `close`. */
function ignoreTold(): void {}

/** An unanswered PING has closed the connection already, which `close` tells. */
function ignoreLostPing(): void {}

function createClient(
  address: RedisAddress,
  options: RedisConnectionOptions,
  retryStrategy: () => number | null,
): Redis {
  return new Redis({
    host: address.host,
    port: address.port,
    // With RESP2 and without credentials the client sends nothing of its own: see `introduce`.
    protocol: 2,
    disableClientInfo: true,
    enableReadyCheck: false,
    autoResubscribe: false,
    lazyConnect: true,
    // A command that cannot be sent now, or whose connection is lost, fails at once: whoever sent it knows better what to do.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: options.connectTimeoutMs ?? 2_000,
    socketTimeout: options.silenceMaxMs ?? 5_000,
    keepAlive: 10_000,
    noDelay: true,
    enableAutoPipelining: false,
    retryStrategy,
    reconnectOnError: null,
    ...(address.isTls ? { tls: { ...options.tls, servername: address.host } } : {}),
  });
}

type Send = RedisConnection['send'];

async function introduce(address: RedisAddress, clientName: string, send: Send): Promise<void> {
  if (address.password !== undefined) await logIn(address.username, address.password, send);
  if (address.db !== 0) await send('select', address.db);
  // A user who may not ask or be named can still use the window.
  await send('client', 'setname', clientName).catch(ignoreRefusal);
  const info = await send('info', 'cluster').catch(ignoreRefusal);
  if (/^cluster_enabled:1/m.test(String(info))) throw new Error('CROSSSLOT the server runs in cluster mode');
}

/** A password that the server does not ask for is no reason to do without it. */
async function logIn(username: string | undefined, password: string, send: Send): Promise<void> {
  try {
    await (username === undefined ? send('auth', password) : send('auth', username, password));
  } catch (error) {
    if (!(error instanceof Error) || !/without any password configured/.test(error.message)) throw error;
  }
}

function ignoreRefusal(error: unknown): unknown {
  const isRefused = error instanceof Error && error.name === 'ReplyError' && !error.message.startsWith('NOAUTH');
  if (isRefused) return undefined;
  throw error;
}
