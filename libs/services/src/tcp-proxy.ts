/** A proxy between a client and its server, in this process, that can be slow, silent, refusing or resetting. */
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';

export type ProxyFault =
  | { readonly kind: 'none' }
  /** Every chunk of bytes arrives this much later, in both directions. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Connections are taken and kept, and no byte passes. What was sent meanwhile arrives once the fault is over. */
  | { readonly kind: 'silent' }
  /** Nobody listens: connections are refused, those that were open are closed. */
  | { readonly kind: 'refusing' }
  /** Open connections and every new one are reset (RST). */
  | { readonly kind: 'resetting' };

export interface TcpTarget {
  readonly host: string;
  readonly port: number;
}

export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Where bytes go; settable, since a Kafka broker must know the proxy's port before it starts. */
  target: TcpTarget | undefined;
  /** Resolves once it is so for every connection, open and new. */
  fault(fault: ProxyFault): Promise<void>;
  /** Resets those that are open now; new ones are as the fault says. */
  resetConnections(): void;
  connections(): number;
  close(): Promise<void>;
}

/** Listens on a port of 127.0.0.1, which stays its own while it refuses. */
export async function startTcpProxy(target?: TcpTarget): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let current: ProxyFault = { kind: 'none' };
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;

  function listen(on: number): Promise<NetServer> {
    const { promise, resolve, reject } = Promise.withResolvers<NetServer>();
    const made = createServer(take);
    made.once('error', reject);
    made.listen({ port: on, host: '127.0.0.1' }, () => resolve(made));
    return promise;
  }

  function take(client: Socket): void {
    if (current.kind === 'resetting' || proxy.target === undefined) return void client.resetAndDestroy();
    const pair = createPair(client, connect(proxy.target), () => current);
    pairs.add(pair);
    pair.onEnd(() => pairs.delete(pair));
  }

  function endAll(how: 'reset' | 'close'): void {
    for (const pair of pairs) pair.end(how);
    pairs.clear();
  }

  async function stopListening(): Promise<void> {
    if (!server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    endAll('close');
    await promise;
  }

  const proxy: TcpProxy = {
    port,
    target,
    async fault(next) {
      current = next;
      if (next.kind === 'refusing') return stopListening();
      if (!server.listening) server = await listen(port);
      if (next.kind === 'resetting') endAll('reset');
      for (const pair of pairs) pair.update();
    },
    resetConnections: () => endAll('reset'),
    connections: () => pairs.size,
    close: stopListening,
    [Symbol.asyncDispose]: stopListening,
  };
  return proxy;
}

interface Pair {
  /** The fault has changed. */
  update(): void;
  end(how: 'reset' | 'close'): void;
  onEnd(listener: () => void): void;
}

function createPair(client: Socket, server: Socket, fault: () => ProxyFault): Pair {
  const both = [client, server] as const;
  const listeners: (() => void)[] = [];
  let isOver = false;

  function end(how: 'reset' | 'close'): void {
    if (isOver) return;
    isOver = true;
    for (const socket of both) how === 'reset' ? socket.resetAndDestroy() : socket.destroy();
    for (const listener of listeners) listener();
  }

  function pass(from: Socket, to: Socket): void {
    let last: Promise<unknown> = Promise.resolve();
    from.on('data', (chunk: Buffer) => {
      const now = fault();
      const delayMs = now.kind === 'slow' ? now.delayMs : 0;
      // One after the other, also when the delay changes; reading pauses meanwhile, so nothing piles up here.
      from.pause();
      last = last.then(() => Bun.sleep(delayMs)).then(() => write(from, to, chunk));
    });
    from.on('end', () => void last.then(() => to.end()));
    from.on('error', () => end('close'));
    from.on('close', () => void last.then(() => end('close')));
  }

  function write(from: Socket, to: Socket, chunk: Uint8Array): void {
    if (isOver) return;
    to.write(chunk, () => {
      if (fault().kind !== 'silent') from.resume();
    });
  }

  pass(client, server);
  pass(server, client);
  const pair: Pair = {
    update() {
      for (const socket of both) fault().kind === 'silent' ? socket.pause() : socket.resume();
    },
    end,
    onEnd: (listener) => void listeners.push(listener),
  };
  pair.update();
  return pair;
}
