/** A TCP connection that says exactly what a test wants, byte for byte. */
import net from 'node:net';

export interface RawConnection {
  write(bytes: string | Uint8Array): void;
  /** Ends our side only. */
  end(): void;
  destroy(): void;
  readonly received: () => string;
  readonly isClosed: () => boolean;
  /** Resolves with all that was received once `done` says so; rejects when the connection ends before. */
  until(done: (received: string) => boolean): Promise<string>;
  /** Resolves with all that was received once the other side has closed. */
  closed(): Promise<string>;
}

export async function connectRaw(port: number): Promise<RawConnection> {
  const socket = net.connect(port, '127.0.0.1');
  let received = '';
  let isClosed = false;
  let wake: (() => void)[] = [];
  const changed = (): void => {
    for (const call of wake.splice(0)) call();
    wake = [];
  };
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
    changed();
  });
  // A reset counts as closed: 'close' follows.
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
    changed();
  });
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  const next = (): Promise<void> => new Promise((resolve) => wake.push(resolve));

  return {
    write: (bytes) => socket.write(bytes),
    end: () => socket.end(),
    destroy: () => socket.destroy(),
    received: () => received,
    isClosed: () => isClosed,
    async until(done) {
      while (!done(received)) {
        if (isClosed) throw new Error(`closed after ${JSON.stringify(received)}`);
        await next();
      }
      return received;
    },
    async closed() {
      while (!isClosed) await next();
      return received;
    },
  };
}

export interface RawReply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** The replies that `received` holds in full, in order (Content-Length only). */
export function parseReplies(received: string, options: { head?: boolean } = {}): RawReply[] {
  const replies: RawReply[] = [];
  let at = 0;
  for (;;) {
    const end = received.indexOf('\r\n\r\n', at);
    if (end === -1) return replies;
    const [statusLine, ...lines] = received.slice(at, end).split('\r\n');
    const headers = new Headers(lines.map((line) => splitHeader(line)));
    const length = options.head === true ? 0 : Number(headers.get('content-length') ?? 0);
    const start = end + 4;
    if (received.length < start + length) return replies;
    const status = Number(statusLine?.split(' ')[1]);
    if (status !== 100) replies.push({ status, headers, body: received.slice(start, start + length) });
    at = start + length;
  }
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}

/** Sends `bytes` on a connection of its own and returns the first whole reply. */
export async function exchange(port: number, bytes: string, options: { head?: boolean } = {}): Promise<RawReply> {
  const connection = await connectRaw(port);
  connection.write(bytes);
  const received = await connection.until((text) => parseReplies(text, options).length > 0);
  connection.destroy();
  return parseReplies(received, options)[0] as RawReply;
}

/** A request with a Content-Length that fits. */
export function post(path: string, body: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ host: 'test', 'content-length': String(body.length), ...headers });
  return `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}
