/** The operators' routes on a real server, over the real local socket to deliver's side, whose backend a test can choose. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Auth } from '@libs/auth';
import { Retryable } from '@libs/pipeline';
import { createOperators, type OperatorBackend } from '../src/deliver-operators.ts';
import type { DeadLetter } from '../src/operator-requests.ts';
import { operatorRoutes } from '../src/routes/operators.ts';
import type { TopicLimits } from '../src/routes/topics.ts';
import { topicsOf } from '../src/routes/topics-catalog.ts';
import { type HttpService, JOURNAL, startHttpService } from './http-service.ts';

export const OTHER_JOURNAL = '0199c2a4-0000-7000-8000-00000000cafe';

export interface OperatorsService extends AsyncDisposable {
  readonly service: HttpService;
  readonly url: string;
  readonly backend: FakeBackend;
  /** What deliver's side logged. */
  readonly log: string[];
  /** The process behind the socket goes away, and comes back. */
  stopDeliver(): Promise<void>;
  startDeliver(): void;
}

/** Keeps rows and letters in memory; every call is written down, and single methods can be replaced. */
export interface FakeBackend extends OperatorBackend {
  readonly calls: [name: string, ...args: unknown[]][];
  letters: DeadLetter[];
  /** Rows by journal, in order, from sequence number 1. */
  readonly rows: Map<string, string[]>;
  /** Journals that are being delivered; the others are only held by the table. */
  readonly live: Set<string>;
}

export function rowOf(eventType: string, text: string): string {
  return JSON.stringify({ eventType, text });
}

export function letter(id: number, more: Partial<DeadLetter> = {}): DeadLetter {
  const event = JSON.stringify({ eventId: `e-${id}`, storeId: 's', data: { n: id } });
  return {
    id,
    kind: 'row',
    sink: 'kafka',
    journal: JOURNAL,
    firstSeq: id,
    lastSeq: id,
    rows: 1,
    eventId: `e-${id}`,
    eventType: 'cart_updated',
    storeId: 's',
    code: 'message_too_large',
    message: 'too large',
    attempts: 1,
    firstAtMs: 1_700_000_000_000,
    lastAtMs: 1_700_000_060_000,
    state: 'waiting',
    byteLength: event.length,
    event,
    ...more,
  };
}

function createFakeBackend(): FakeBackend {
  const calls: FakeBackend['calls'] = [];
  const backend: FakeBackend = {
    calls,
    letters: [],
    rows: new Map(),
    live: new Set([JOURNAL]),
    listDeadLetters(filter, page) {
      calls.push(['listDeadLetters', filter, page]);
      return backend.letters
        .filter(({ id, sink }) => id > page.afterId && (filter.sink === undefined || filter.sink === sink))
        .slice(0, page.limit)
        .map(({ event: _, ...summary }) => summary);
    },
    getDeadLetter: (id) => backend.letters.find((one) => one.id === id),
    async replay(selection, limit) {
      calls.push(['replay', selection, limit]);
      const ids = 'ids' in selection ? selection.ids : backend.letters.map(({ id }) => id);
      return ids.slice(0, limit).map((id) => ({ id, outcome: 'replayed' as const }));
    },
    deleteDeadLetters(selection) {
      calls.push(['deleteDeadLetters', selection]);
      return 'ids' in selection ? selection.ids.length : backend.letters.length;
    },
    async reconcile(interval) {
      calls.push(['reconcile', interval]);
      return { fromMs: interval.fromMs, toMs: interval.toMs, rows: [], sources: {}, caveats: [] };
    },
    sinks: () => [{ name: 'store', removed: false, state: 'healthy' as const }],
    dropSink(name) {
      calls.push(['dropSink', name]);
      if (name === 'store') return { outcome: 'configured' };
      return name === 'http:analytics' ? { outcome: 'dropped', pendingEvents: 12 } : { outcome: 'unknown' };
    },
    storedPositions: () =>
      [...backend.rows]
        .filter(([journal]) => backend.live.has(journal))
        .map(([journal, rows]) => ({ journal, seq: rows.length })),
    heldJournals: async () => [...backend.rows].map(([journal, rows]) => ({ journal, lastSeq: rows.length })),
    async selectRows({ journal, afterSeq, throughSeq, eventTypes, limit }) {
      calls.push(['selectRows', journal, afterSeq, throughSeq]);
      const found = (backend.rows.get(journal) ?? [])
        .map((json, at) => ({ json, seq: at + 1 }))
        .filter(
          ({ json, seq }) => seq > afterSeq && seq <= throughSeq && eventTypes.includes(JSON.parse(json).eventType),
        );
      const rows = found.slice(0, limit);
      return { rows, throughSeq: found.length > limit ? (rows.at(-1)?.seq ?? throughSeq) : throughSeq };
    },
  };
  return backend;
}

const ROUTES = {
  cart_updated: { topic: 'cart.updated' },
  item_added: { topic: 'cart.items' },
  item_removed: { topic: 'cart.items' },
};

export async function startOperators(
  options: { readonly auth?: Auth; readonly limits?: TopicLimits } = {},
): Promise<OperatorsService> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-operators-'));
  const unix = join(folder, 'deliver.sock');
  const backend = createFakeBackend();
  const log: string[] = [];
  const logger = {
    info: (fields: object, message: string) => void log.push(JSON.stringify([message, fields])),
    warn: (fields: object, message: string) => void log.push(`warn ${message} ${JSON.stringify(fields)}`),
  };
  let deliver: Bun.Server<undefined> | undefined;
  function startDeliver(): void {
    const operators = createOperators(backend, { logger });
    deliver = Bun.serve({
      unix,
      fetch: (request) => operators.handle(request) ?? new Response('a query', { status: 400 }),
    });
  }
  async function stopDeliver(): Promise<void> {
    await deliver?.stop(true);
    deliver = undefined;
    rmSync(unix, { force: true });
  }
  startDeliver();
  const service = await startHttpService(
    {},
    {
      ...(options.auth === undefined ? {} : { auth: options.auth }),
      add: (app, deps) => operatorRoutes(app, { ...deps, topics: topicsOf(ROUTES) }, options.limits),
    },
  );
  service.ingestion.ask = async (path, init) => {
    try {
      return await fetch(`http://deliver${path}`, { ...init, unix });
    } catch (cause) {
      if (init.signal?.aborted === true) throw cause;
      throw new Retryable('deliver_unreachable', `no such socket: ${unix}`, { cause });
    }
  };
  return {
    service,
    url: service.url,
    backend,
    log,
    stopDeliver,
    startDeliver,
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await stopDeliver();
      rmSync(folder, { recursive: true });
    },
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape of what comes back.
  readonly body: any;
}

/** Calls the service; a body that is no text is sent as JSON. */
export async function call(url: string, method: string, path: string, body?: unknown): Promise<Reply> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
