/** A downstream service in this process that takes events over HTTP, and fails in every way that a test asks for. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export type DownstreamMode =
  | { readonly kind: 'ok' }
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSeconds?: number }
  /** The request is read and never answered. */
  | { readonly kind: 'hang' }
  /** The event is taken, and the connection reset instead of an answer. */
  | { readonly kind: 'reset' }
  /** 422 for events whose position ends with this digit, for good; 200 for the others. */
  | { readonly kind: 'picky'; readonly digit: number };

/** A request that was read to its end. */
export interface Arrival {
  /** `Idempotency-Key`. */
  readonly key: string;
  readonly row: Readonly<Record<string, unknown>>;
  /** Answered with 200. */
  readonly isTaken: boolean;
}

export interface DownstreamServer {
  readonly url: string;
  mode(mode: DownstreamMode): void;
  /** Nobody listens: connections are refused, open ones closed. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** In the order of their ends. */
  arrivals(): readonly Arrival[];
  close(): Promise<void>;
}

export async function startDownstreamServer(): Promise<DownstreamServer> {
  const arrivals: Arrival[] = [];
  const sockets = new Set<Socket>();
  let current: DownstreamMode = { kind: 'ok' };
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;

  async function listen(on: number): Promise<Server> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const made = createServer((request, response) => void take(request, response));
    made.on('connection', (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    made.once('error', reject);
    made.listen(on, '127.0.0.1', resolve);
    await promise;
    return made;
  }

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // the sender went away before the end
    }
    const row = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    const status = statusOf(row);
    arrivals.push({ key: String(request.headers['idempotency-key']), row, isTaken: status === 200 });
    if (current.kind === 'hang') return;
    if (current.kind === 'reset') return void request.socket.resetAndDestroy();
    const after = current.kind === 'status' ? current.retryAfterSeconds : undefined;
    response.writeHead(status, after === undefined ? {} : { 'retry-after': String(after) }).end('{}');
  }

  function statusOf(row: Readonly<Record<string, unknown>>): number {
    switch (current.kind) {
      case 'status':
        return current.status;
      case 'picky':
        return Number(row['seq']) % 10 === current.digit ? 422 : 200;
      case 'ok':
        return 200;
      default:
        return 0;
    }
  }

  async function down(): Promise<void> {
    if (!server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
    await promise;
  }

  return {
    url: `http://127.0.0.1:${port}/events`,
    mode(next) {
      current = next;
    },
    down,
    async up() {
      if (!server.listening) server = await listen(port);
    },
    arrivals: () => arrivals,
    close: down,
  };
}
