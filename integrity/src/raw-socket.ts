/** A WebSocket client on a bare TCP socket, since a library reads whether one wants it or not (RFC 6455 for the frames). */
import { createConnection } from 'node:net';
import { until } from './until.ts';

export interface RawSocket {
  /** Sends this text so many times, as fast as the service takes it, and reads nothing. */
  flood(text: string, times: number): void;
  /**
   * Reads what the service had left to say. `code` of the close frame; `reset` when there was none. `isWarned`: it said
   * `overloaded`, which answers to what came before may follow.
   */
  readRest(): Promise<{ readonly code: number | 'reset'; readonly isWarned: boolean }>;
}

const TEXT = 1;
const CLOSE = 8;

/** Resolves once the service has said hello; from then on nothing is read. */
export async function startRawSocket(port: number): Promise<RawSocket> {
  const socket = createConnection(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  let ended = false;
  let left = 0;
  socket.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
  for (const event of ['end', 'error', 'close'] as const)
    socket.on(event, () => {
      ended = true;
    });
  socket.write(
    [
      'GET /events/stream HTTP/1.1',
      'Host: 127.0.0.1',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Version: 13',
      '',
      '',
    ].join('\r\n'),
  );
  await until(() => Buffer.concat(chunks).includes('"hello"'), 'hello');
  socket.pause();

  function flood(text: string, times: number): void {
    const frame = clientFrame(text);
    left = times;
    const push = (): void => {
      while (left > 0 && !ended) {
        left -= 1;
        if (!socket.write(frame)) return;
      }
    };
    socket.on('drain', push);
    push();
  }

  async function readRest() {
    left = 0;
    socket.resume();
    await until(() => ended, 'the connection has ended');
    socket.destroy();
    const stream = Buffer.concat(chunks);
    return ending(stream.subarray(stream.indexOf('\r\n\r\n') + 4));
  }

  return { flood, readRest };
}

/** A text frame, masked as a client's must be. */
function clientFrame(text: string): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.alloc(14);
  head[0] = 0x80 | TEXT;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(body.length), 2);
  // With a mask of zeros the payload stands as it is.
  return Buffer.concat([head, body]);
}

/** What a server's stream of frames ends with. */
function ending(stream: Buffer): { code: number | 'reset'; isWarned: boolean } {
  let isWarned = false;
  let at = 0;
  while (at + 2 <= stream.length) {
    const opcode = (stream[at] as number) & 0x0f;
    let length = (stream[at + 1] as number) & 0x7f;
    at += 2;
    if (length === 126) {
      length = stream.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(stream.readBigUInt64BE(at));
      at += 8;
    }
    const payload = stream.subarray(at, at + length);
    at += length;
    if (opcode === CLOSE && payload.length >= 2) return { code: payload.readUInt16BE(0), isWarned };
    if (opcode === TEXT && payload.toString().startsWith('{"type":"overloaded"')) isWarned = true;
  }
  return { code: 'reset', isWarned };
}
