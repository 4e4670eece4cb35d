/** What the stream's tests share: a fake service behind a real server, and clients on real sockets. */
import { createConnection, type Socket } from 'node:net';
import { type Accept, type CopyElsewhere, journalTag, type Outcome } from '@libs/pipeline';
import type { Ingestion } from '../src/ingestion.ts';
import { type Counters, createCounters } from '../src/routes/counters.ts';
import { createStream, type StreamLimits } from '../src/routes/stream.ts';
import type { StreamConnection, StreamSocket } from '../src/routes/stream-connection.ts';
import { createTurn, type Turn } from '../src/turn.ts';

const JOURNAL = '0199c2a4-0000-7000-8000-00000000beef';
const OWN_TAG = journalTag(JOURNAL);

export const LIMITS: StreamLimits = {
  creditEvents: 10_000,
  creditBytes: 8_388_608,
  frameBytesMax: 1_048_576,
  heartbeatIntervalMs: 30_000,
  connectionsMax: 2_000,
};

export interface AcceptCall {
  readonly records: readonly unknown[];
  readonly origin: Parameters<Ingestion['accept']>[1]['origin'];
}

/**
 * Verdicts by the event's text: `{reject: field}`, `{retry: true}`, an id seen before, `{at: place}` of a first copy elsewhere;
 * everything else is accepted. Of the types, `cart_updated` is routed.
 */
export function createFakeIngestion() {
  const calls: AcceptCall[] = [];
  const seen = new Map<string, number>();
  const listeners = new Set<(journalTag?: string) => void>();
  /** By tag; ours has none. */
  const reached = new Map<string | undefined, { stored: number; routed: number }>();
  const silent = new Set<string>();
  let lastSeq = 0;
  let draining = false;
  let broken: Error | undefined;
  let gate: PromiseWithResolvers<void> | undefined;

  function verdict(record: unknown): Outcome {
    const event = (typeof record === 'object' && record !== null ? record : {}) as Record<string, unknown>;
    const { eventId, reject, retry, at } = event;
    if (typeof eventId !== 'string') {
      return { kind: 'rejected', code: 'missing_field', field: 'eventId', message: 'eventId is required.' };
    }
    if (typeof reject === 'string') {
      return { kind: 'rejected', code: 'invalid_type', field: reject, message: `${reject} is wrong.` };
    }
    if (retry === true) return { kind: 'retry', code: 'journal_full', message: 'The journal is full.', afterMs: 1500 };
    if (at !== undefined) return { kind: 'duplicate', level: 'journal', elsewhere: at as CopyElsewhere };
    if (seen.has(eventId)) return { kind: 'duplicate', level: 'journal' };
    lastSeq += 1;
    seen.set(eventId, lastSeq);
    return { kind: 'accepted', journal: JOURNAL, seq: lastSeq, level: 'journal' };
  }

  const ingestion: Ingestion = {
    async accept(records, options) {
      calls.push({ records, origin: options.origins?.[0] ?? options.origin });
      if (broken !== undefined) throw broken;
      const outcomes = records.map(verdict);
      await gate?.promise;
      return outcomes;
    },
    journalId: JOURNAL,
    journalState: () => ({
      state: 'open',
      lastSeq,
      durableSeq: lastSeq,
      releasedSeq: 0,
      pendingBytes: 0,
      limitBytes: 1,
      segments: 1,
      dedupeIds: 0,
      dedupeWindowMs: 0,
      syncMode: 'inline',
      lastSyncMs: 0,
      commits: 0,
    }),
    reachedSeq: (level, tag) => reached.get(tag === OWN_TAG ? undefined : tag)?.[level] ?? 0,
    onReached(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isSilent: (tag) => silent.has(tag),
    isRouted: (eventType) => eventType === 'cart_updated',
    deliverState: () => undefined,
    lastDeliverState: () => undefined,
    askDeliver: () => Promise.reject(new Error('there is no deliver here')),
    draining: () => draining,
  };

  return {
    ingestion,
    calls,
    /** Every record that reached accept, in order. */
    records: () => calls.flatMap((call) => call.records),
    /** Accept takes records, but answers nothing before `release`. */
    hold() {
      gate ??= Promise.withResolvers();
    },
    release() {
      gate?.resolve();
      gate = undefined;
    },
    /** The store, and with it every other sink unless `routed` says otherwise, has everything up to `stored`. */
    store(stored: number, { routed = stored, tag }: { routed?: number; tag?: string } = {}) {
      reached.set(tag, { stored, routed });
      for (const listener of listeners) listener(tag);
    },
    silence: (tag: string) => void silent.add(tag),
    lastSeq: () => lastSeq,
    listeners,
    drain() {
      draining = true;
    },
    breakWith(error: Error) {
      broken = error;
    },
  };
}

/** A turn over this accept, without a journal that would have to write. */
export function turnOver(accept: Accept, count: Counters['count'] = () => undefined): Turn {
  return createTurn({ accept, count, commit: () => undefined });
}

export interface LogLine {
  readonly level: 'debug' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** `real` stands in for parts of the fake service. */
export function startStream(limits: Partial<StreamLimits> = {}, real: Partial<Ingestion> = {}) {
  const fake = createFakeIngestion();
  const counters = createCounters();
  const log: LogLine[] = [];
  const logAt = (level: LogLine['level']) => (fields: object, message: string) =>
    void log.push({ level, fields: { ...fields }, message });
  const now = { aheadMs: 0 };
  const ingestion = { ...fake.ingestion, ...real };
  const stream = createStream({
    ingestion,
    turn: turnOver(ingestion.accept, counters.count),
    now: () => performance.now() + now.aheadMs,
    limits: { ...LIMITS, ...limits },
    counters,
    logger: { debug: logAt('debug'), error: logAt('error') },
  });
  const sockets = new Set<StreamSocket>();
  const server = Bun.serve<StreamConnection>({
    port: 0,
    hostname: '127.0.0.1',
    development: false,
    fetch: (request, self) => stream.upgrade(request, self),
    websocket: {
      ...stream.websocket,
      open(ws) {
        sockets.add(ws);
        stream.websocket.open?.(ws);
      },
    },
  });
  const port = server.port ?? 0;
  return {
    fake,
    counters,
    log,
    stream,
    port,
    /** Ends every connection from the stream's side, without a word. */
    dropAll() {
      for (const ws of sockets) ws.terminate();
    },
    /** Moves the stream's clock ahead. */
    pass(ms: number) {
      now.aheadMs += ms;
    },
    url: `ws://127.0.0.1:${port}/events/stream`,
    stop: () => server.stop(true),
  };
}

export type Message = Record<string, unknown> & { readonly type: string };

export interface Client {
  readonly socket: WebSocket;
  readonly messages: Message[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  send(frame: unknown): void;
  /** Resolves once `count` messages of the type have come, with all of that type. */
  until(type: string, count?: number): Promise<Message[]>;
  ofType(type: string): Message[];
}

/** A real WebSocket client; resolves once `hello` is there. */
export async function connect(url: string): Promise<Client> {
  const socket = new WebSocket(url);
  const messages: Message[] = [];
  const watchers = new Set<() => void>();
  const { promise: closed, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
  let hasClosed = false;
  socket.onmessage = ({ data }) => {
    messages.push(JSON.parse(String(data)));
    for (const watcher of watchers) watcher();
  };
  socket.onclose = ({ code, reason }) => {
    hasClosed = true;
    resolve({ code, reason });
    for (const watcher of watchers) watcher();
  };
  const ofType = (type: string) => messages.filter((message) => message.type === type);

  function until(type: string, count = 1): Promise<Message[]> {
    return new Promise((done, fail) => {
      const watcher = () => {
        const found = ofType(type);
        if (found.length < count && !hasClosed) return;
        watchers.delete(watcher);
        if (found.length >= count) done(found);
        else fail(new Error(`closed after ${found.length} of ${count} ${type}`));
      };
      watchers.add(watcher);
      watcher();
    });
  }

  const client: Client = {
    socket,
    messages,
    closed,
    send: (frame) =>
      socket.send(typeof frame === 'string' || frame instanceof Uint8Array ? frame : JSON.stringify(frame)),
    until,
    ofType,
  };
  await until('hello');
  return client;
}

export function event(eventId: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { eventId, eventType: 'item_added', storeId: 'shop', ...more };
}

export function cartEvent(payload: unknown, more: Record<string, unknown> = {}) {
  return { type: 'cart_event', payload, ...more };
}

/** One turn of the event loop; for conditions that no promise stands for. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export async function waitUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** A client without a WebSocket library: it can stop reading, and it can break every rule. */
export async function connectRaw(port: number): Promise<{ socket: Socket; received: () => Buffer }> {
  const socket = createConnection(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(Buffer.from(chunk)));
  socket.on('error', (error) => chunks.push(Buffer.from(`[${error.message}]`)));
  socket.write(handshake());
  await waitUntil(() => Buffer.concat(chunks).includes('"hello"'));
  return { socket, received: () => Buffer.concat(chunks) };
}

export function handshake(path = '/events/stream'): string {
  return [
    `GET ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    '',
    '',
  ].join('\r\n');
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A masked frame as RFC 6455, 5.2 lays it out. */
export function rawFrame(opcode: number, payload: string | Uint8Array, { final = true, mask = true } = {}): Buffer {
  const body = Buffer.from(payload);
  const maskBit = mask ? 0x80 : 0;
  const length =
    body.length < 126
      ? Buffer.from([maskBit | body.length])
      : body.length < 65_536
        ? Buffer.from([maskBit | 126, body.length >> 8, body.length & 0xff])
        : Buffer.from([maskBit | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (body.length >> shift) & 0xff)]);
  const key = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  if (mask) for (let at = 0; at < body.length; at++) body[at] = (body[at] ?? 0) ^ (key[at & 3] ?? 0);
  return Buffer.concat([Buffer.from([(final ? 0x80 : 0) | opcode]), length, mask ? key : Buffer.alloc(0), body]);
}

/** Reads server frames (unmasked, whole) off what a raw client received; ends at a frame that is not complete. */
export function readServerFrames(received: Buffer): { opcode: number; body: Buffer }[] {
  const frames: { opcode: number; body: Buffer }[] = [];
  let at = received.indexOf('\r\n\r\n') + 4;
  while (at + 2 <= received.length) {
    const short = (received[at + 1] ?? 0) & 0x7f;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (at + header > received.length) break;
    const length =
      short < 126 ? short : short === 126 ? received.readUInt16BE(at + 2) : Number(received.readBigUInt64BE(at + 2));
    if (at + header + length > received.length) break;
    frames.push({ opcode: (received[at] ?? 0) & 0x0f, body: received.subarray(at + header, at + header + length) });
    at += header + length;
  }
  return frames;
}
