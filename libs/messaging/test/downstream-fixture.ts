/** A downstream service that does as it is told, byte by byte, and blocks of rows as deliver sends them. */
import { createServer, type Socket } from 'node:net';
import type { Block, RowFailure, Sink } from '@libs/pipeline';
import { Overloaded } from '@libs/pipeline';
import { createDownstreamSink, type DownstreamDeps } from '../src/downstream-index.ts';
import { downstreamsSchema } from '../src/downstream-options.ts';

export const JOURNAL = '0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10';

export interface ReceivedEvent {
  readonly seq: number;
  readonly eventId: string;
  readonly sessionId: string;
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly text: string;
  readonly event: ReceivedEvent;
}

/** `hang`: no reply ever; `reset`: the connection is reset; `{raw}`: these bytes, then the end unless `open`. */
export type Action =
  | 'hang'
  | 'reset'
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | { readonly raw: string; readonly open?: boolean };

export type Behaviour = (request: ReceivedRequest, attempt: number) => Action | Promise<Action>;

const OK: Action = { status: 204 };

/** Attempts are counted from 1 for each event. */
export async function startService(behaviour: Behaviour = () => OK) {
  const requests: ReceivedRequest[] = [];
  /** What was answered by 2xx, in order of the answers. */
  const taken: ReceivedEvent[] = [];
  const attempts = new Map<number, number>();
  const sockets = new Set<Socket>();
  let current = behaviour;
  let inFlight = 0;
  let inFlightMax = 0;
  let connections = 0;

  async function answer(socket: Socket, request: ReceivedRequest): Promise<void> {
    requests.push(request);
    const attempt = (attempts.get(request.event.seq) ?? 0) + 1;
    attempts.set(request.event.seq, attempt);
    inFlightMax = Math.max(inFlightMax, ++inFlight);
    const action = await current(request, attempt);
    inFlight--;
    if (action === 'hang') return;
    if (action === 'reset') socket.resetAndDestroy();
    else if ('raw' in action) {
      socket.write(action.raw);
      if (action.open !== true) socket.end();
    } else {
      if (action.status >= 200 && action.status < 300) taken.push(request.event);
      socket.write(replyText(action));
    }
  }

  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    let pending = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (data) => {
      pending = Buffer.concat([pending, data as Buffer]);
      for (let found = takeRequest(pending); found !== undefined; found = takeRequest(pending)) {
        pending = pending.subarray(found.byteLength);
        answer(socket, found.request);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    requests,
    taken,
    behave: (next: Behaviour) => {
      current = next;
    },
    attemptsOf: (seq: number) => attempts.get(seq) ?? 0,
    inFlightMax: () => inFlightMax,
    connections: () => connections,
    openSockets: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type Service = Awaited<ReturnType<typeof startService>>;

function takeRequest(bytes: Buffer): { readonly request: ReceivedRequest; readonly byteLength: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [first = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
  const [method = '', path = ''] = first.split(' ');
  const headers = new Headers(lines.map((line) => line.split(/:\s*(.*)/s).slice(0, 2) as [string, string]));
  const byteLength = headEnd + 4 + Number(headers.get('content-length'));
  if (bytes.length < byteLength) return undefined;
  const text = bytes.subarray(headEnd + 4, byteLength).toString();
  return { request: { method, path, headers, text, event: JSON.parse(text) }, byteLength };
}

function replyText({ status, headers = {}, body = '' }: Exclude<Action, string | { raw: string }>): string {
  const lines = Object.entries({ 'content-length': String(Buffer.byteLength(body)), ...headers });
  const head = status === 204 ? [] : lines.map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Because\r\n${head.join('')}\r\n${status === 204 ? '' : body}`;
}

export interface RowOptions {
  readonly eventType?: string;
  readonly sessionId?: string;
  readonly eventId?: string;
  readonly receivedAtMs?: number;
}

/** The row that accept writes for such an event, without its line feed. */
export function rowText(seq: number, row: RowOptions): string {
  return JSON.stringify({
    storeId: 'garden-shop',
    eventType: row.eventType ?? 'cart_updated',
    eventId: row.eventId ?? `event-${seq}`,
    timestamp: '2026-03-14T09:26:53.589Z',
    sessionId: row.sessionId ?? `session-${seq}`,
    data: { note: 'größer als "alles"' },
    receivedAt: new Date(row.receivedAtMs ?? Date.now()).toISOString(),
    journal: JOURNAL,
    seq,
  });
}

export function blockOf(rows: readonly RowOptions[], firstSeq = 1): Block {
  const bytes = Buffer.from(rows.map((row, at) => `${rowText(firstSeq + at, row)}\n`).join(''));
  const lastSeq = firstSeq + rows.length - 1;
  const token = `${JOURNAL}:${firstSeq}-${lastSeq}:${Bun.hash.xxHash3(bytes).toString(16)}`;
  return { journal: JOURNAL, firstSeq, lastSeq, chunks: [bytes], byteLength: bytes.length, token };
}

export const repeated = (count: number, row: RowOptions = {}): RowOptions[] => Array.from({ length: count }, () => row);

/** A sink as the configuration makes it, with short times. */
export function sinkOf(url: string, settings: object = {}, deps: Partial<DownstreamDeps> = {}) {
  const log: { readonly level: string; readonly fields: object; readonly message: string }[] = [];
  const given = { url, eventTypes: ['cart_updated'], timeoutMs: 5_000, ...settings };
  const { analytics } = downstreamsSchema.parse({ analytics: given });
  if (analytics === undefined) throw new Error('the schema lost the downstream');
  const logger = {
    info: (fields: object, message: string) => log.push({ level: 'info', fields, message }),
    warn: (fields: object, message: string) => log.push({ level: 'warn', fields, message }),
  };
  return { sink: createDownstreamSink({ name: 'analytics', ...analytics }, { logger, ...deps }), log };
}

export const NEVER = new AbortController().signal;

export function writeOnce(sink: Sink, block: Block, only?: ReadonlySet<number>, signal = NEVER) {
  return sink.write(block, { signal, ambiguous: false, ...(only === undefined ? {} : { only }) });
}

/** What the runner does, without its waits: writes again what is left, until every row is taken or a dead letter. */
export async function deliverAll(sink: Sink, block: Block, writesMax = 1_000): Promise<RowFailure[]> {
  const deadLetters: RowFailure[] = [];
  let only: ReadonlySet<number> | undefined;
  for (let writes = 0; writes < writesMax; writes++) {
    try {
      const failures = await writeOnce(sink, block, only);
      deadLetters.push(...failures.filter(({ permanent }) => permanent));
      only = new Set(failures.filter(({ permanent }) => !permanent).map(({ seq }) => seq));
      if (only.size === 0) return deadLetters;
    } catch (error) {
      if (!(error instanceof Overloaded)) throw error;
      await Bun.sleep(error.afterMs);
    }
  }
  throw new Error(`not delivered after ${writesMax} writes`);
}

/** Resolves when the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(2);
}

/** A monotonic clock that stands still until it is told otherwise. */
export function createClock() {
  let ms = 1_000;
  return {
    nowMs: () => ms,
    advance(byMs: number) {
      ms += byMs;
    },
  };
}
