/** One WebSocket of very many: a bare socket, and as little beside it as will do. */
import type { ManyJob } from './many-job.ts';
import { createFrameReader, handshakeRequest, OPCODE_TEXT } from './ws-frames.ts';

export type Failure = 'refused' | 'rejected' | 'timedOut' | 'ended';

export interface ManyHandlers {
  /** The service has said hello. */
  opened(): void;
  /** A text from the service; the bytes are gone when the call returns. */
  text(bytes: Buffer, start: number, end: number): void;
  /** It is over; `ended` if it was open. Called once. */
  failed(how: Failure): void;
}

export interface ManyConnection {
  send(frame: Uint8Array): void;
}

const OPCODE_CLOSE = 8;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const HEAD_END = Buffer.from('\r\n\r\n');
const SWITCHING = Buffer.from('HTTP/1.1 101 ');

export function dial(
  job: Pick<ManyJob, 'host' | 'port'>,
  localAddress: string,
  handlers: ManyHandlers,
): ManyConnection {
  let socket: Bun.Socket | undefined;
  let head: Buffer | undefined = Buffer.alloc(0);
  let isOpen = false;
  let isOver = false;
  const timer = setTimeout(() => over('timedOut'), HANDSHAKE_TIMEOUT_MS);
  const frames = createFrameReader((opcode, bytes, start, end) => {
    if (opcode === OPCODE_CLOSE) return over('ended');
    if (opcode !== OPCODE_TEXT) return;
    if (isOpen) return handlers.text(bytes, start, end);
    isOpen = true;
    clearTimeout(timer);
    handlers.opened();
  });

  function over(how: Failure): void {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    socket?.terminate();
    handlers.failed(isOpen ? 'ended' : how);
  }

  function read(chunk: Uint8Array): void {
    if (head === undefined) return frames.read(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(HEAD_END);
    if (end < 0) return;
    if (!head.subarray(0, SWITCHING.length).equals(SWITCHING)) return over('rejected');
    const rest = head.subarray(end + HEAD_END.length);
    head = undefined;
    if (rest.length > 0) frames.read(rest);
  }

  // Bun takes a source address (oven-sh/bun#23464); its types do not know of it.
  const options = {
    hostname: job.host,
    port: job.port,
    localAddress,
    socket: {
      open(opened: Bun.Socket) {
        socket = opened;
        if (isOver) return void opened.terminate();
        opened.write(handshakeRequest(`${job.host}:${job.port}`, '/events/stream'));
      },
      data: (_socket: Bun.Socket, chunk: Uint8Array) => read(chunk),
      close: () => over('refused'),
      error: () => over('refused'),
    },
  };
  Bun.connect(options).catch(() => over('refused'));
  // An event fits into the kernel's buffer whole: never is a second one on its way.
  return { send: (frame) => void socket?.write(frame) };
}
