/** Requests byte by byte: what `fetch` would never send. */
import { connect } from 'node:net';

interface RawReply {
  readonly status: number;
  readonly head: string;
  readonly text: string;
}

/**
 * Writes the pieces, each one as soon as the one before it was taken, and resolves with the reply once it is complete or the
 * connection has ended; undefined when it ended without one.
 */
export function rawRequest(port: number, pieces: Iterable<string | Uint8Array>): Promise<RawReply | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const received: Buffer[] = [];
    const finish = () => {
      socket.destroy();
      resolve(parseReply(Buffer.concat(received)));
    };
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => {
      received.push(data);
      if (isComplete(Buffer.concat(received))) finish();
    });
    socket.on('close', finish);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') finish();
      else reject(error);
    });
    socket.on('connect', () => writeAll(socket, pieces[Symbol.iterator]()));
  });
}

function writeAll(socket: ReturnType<typeof connect>, pieces: Iterator<string | Uint8Array>): void {
  const next = pieces.next();
  if (next.done === true || socket.destroyed) return;
  socket.write(next.value, () => setImmediate(writeAll, socket, pieces));
}

/** The pieces of a POST, chunked: each part becomes one chunk. Without the end when `ends` is false. */
export function* chunkedPost(
  path: string,
  parts: Iterable<Uint8Array>,
  options: { headers?: string; ends?: boolean } = {},
): Generator<string | Uint8Array> {
  yield `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n${options.headers ?? ''}\r\n`;
  for (const part of parts) {
    if (part.length > 0)
      yield Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]);
  }
  if (options.ends ?? true) yield '0\r\n\r\n';
}

function isComplete(reply: Buffer): boolean {
  const end = reply.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(reply.toString('latin1', 0, end))?.[1];
  return length !== undefined && reply.length >= end + 4 + Number(length);
}

function parseReply(reply: Buffer): RawReply | undefined {
  const end = reply.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = reply.toString('latin1', 0, end);
  return { status: Number(head.split(' ')[1]), head, text: reply.toString('utf8', end + 4) };
}
