/** A line between a client and the stream that ends after so many bytes in one direction, or goes dead. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Cut {
  readonly direction: 'up' | 'down';
  /** Counted from the first byte of the handshake. */
  readonly afterBytes: number;
  readonly how: 'closed' | 'reset';
}

export interface Cutter extends AsyncDisposable {
  readonly port: number;
  /** For the next connections, in order, instead of what was set before; those after them are left alone. */
  cutNext(...cuts: Cut[]): void;
  /** Nothing passes any more on the lines that are open, and nobody is told, as when a phone has lost its network. */
  freeze(): void;
  /** Bytes that have passed on the connection that was made last. */
  passed(): { readonly up: number; readonly down: number };
}

export async function startCutter(targetPort: number): Promise<Cutter> {
  let cuts: Cut[] = [];
  let freezes = 0;
  const open = new Set<Socket>();
  let passed = { up: 0, down: 0 };

  const server = createServer((client) => {
    const cut = cuts.shift();
    const upstream = connect(targetPort, '127.0.0.1');
    const counts = { up: 0, down: 0 };
    passed = counts;
    const madeAt = freezes;
    const isFrozen = () => freezes > madeAt;

    function end(how: Cut['how']): void {
      for (const socket of [client, upstream]) {
        open.delete(socket);
        if (how === 'reset') socket.resetAndDestroy();
        else socket.destroy();
      }
    }

    function pass(from: Socket, to: Socket, direction: Cut['direction']): void {
      open.add(from);
      from.on('data', (chunk: Buffer) => {
        if (isFrozen()) return;
        const room = cut?.direction === direction ? cut.afterBytes - counts[direction] : Number.POSITIVE_INFINITY;
        const through = chunk.subarray(0, Math.max(0, room));
        counts[direction] += through.length;
        if (chunk.length < room) return void to.write(through);
        to.write(through, () => end(cut?.how ?? 'closed'));
      });
      // On a dead line neither side hears of the other's end.
      for (const event of ['close', 'error'] as const) from.on(event, () => (isFrozen() ? undefined : end('closed')));
    }

    pass(client, upstream, 'up');
    pass(upstream, client, 'down');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    port: (server.address() as AddressInfo).port,
    cutNext(...next) {
      cuts = next;
    },
    freeze() {
      freezes += 1;
    },
    passed: () => passed,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
