/** A reader of Server-Sent Events on a bare socket: it sees every byte, can stop reading, and can leave. */
import { connect, type Socket } from 'node:net';

export interface SseEvent {
  readonly id: string;
  readonly data: string;
}

export interface SseClient {
  readonly socket: Socket;
  readonly status: () => number;
  readonly head: () => string;
  readonly events: SseEvent[];
  /** The last id that was seen, also one that came without an event. */
  readonly lastId: () => string;
  readonly comments: string[];
  /** `end`: the reply was complete; `broken`: the connection ended before. */
  readonly ended: () => 'end' | 'broken' | undefined;
  until(condition: () => boolean): Promise<void>;
}

export function openSse(port: number, path: string, headers: Readonly<Record<string, string>> = {}): SseClient {
  const socket = connect(port, '127.0.0.1');
  const events: SseEvent[] = [];
  const comments: string[] = [];
  const wake = new Set<() => void>();
  let raw = Buffer.alloc(0);
  let text = '';
  let head = '';
  let lastId = '';
  let end: 'end' | 'broken' | undefined;
  const lines = Object.entries({ host: 'x', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on('connect', () => socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`));
  socket.on('data', (chunk) => {
    raw = Buffer.concat([raw, chunk as Buffer]);
    read();
    for (const look of wake) look();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    end ??= 'broken';
    for (const look of wake) look();
  });

  function read(): void {
    if (head === '') {
      const at = raw.indexOf('\r\n\r\n');
      if (at < 0) return;
      head = raw.toString('latin1', 0, at);
      raw = raw.subarray(at + 4);
    }
    if (head.toLowerCase().includes('transfer-encoding: chunked')) readChunks();
    readMessages();
  }

  function readChunks(): void {
    for (;;) {
      const at = raw.indexOf('\r\n');
      if (at < 0) return;
      const length = Number.parseInt(raw.toString('latin1', 0, at), 16);
      if (raw.length < at + 2 + length + 2) return;
      if (length === 0) end = 'end';
      text += raw.toString('utf8', at + 2, at + 2 + length);
      raw = raw.subarray(at + 2 + length + 2);
    }
  }

  function readMessages(): void {
    for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n')) {
      const fields = new Map<string, string>();
      for (const line of text.slice(0, at).split('\n')) {
        const colon = line.indexOf(':');
        if (colon === 0) comments.push(line.slice(1).trim());
        else fields.set(line.slice(0, colon), line.slice(colon + 1).trimStart());
      }
      text = text.slice(at + 2);
      lastId = fields.get('id') ?? lastId;
      const data = fields.get('data');
      if (data !== undefined) events.push({ id: lastId, data });
    }
  }

  function until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (condition()) {
          wake.delete(look);
          resolve();
        } else if (end !== undefined) reject(new Error(`ended (${end}) after ${events.length} events: ${head}`));
      };
      wake.add(look);
      look();
    });
  }

  return {
    socket,
    status: () => Number(head.split(' ')[1]),
    head: () => head,
    events,
    lastId: () => lastId,
    comments,
    ended: () => end,
    until,
  };
}
