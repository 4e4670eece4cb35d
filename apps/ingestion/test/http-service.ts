/** The routes on a real server, over an ingestion whose answers a test can choose. */
import type { Auth } from '@libs/auth';
import type { DeliverState } from '@libs/delivery';
import { createElysiaServer, type ElysiaServer } from '@libs/elysia-server';
import type { JournalState } from '@libs/journal';
import { createEventModel, DEFAULT_EVENT_LIMITS, openApiSchemas } from '@libs/models';
import { createLogger, createMetrics } from '@libs/monitoring';
import type { AcceptOptions, Outcome } from '@libs/pipeline';
import type { Ingestion } from '../src/ingestion.ts';
import { batchRoutes } from '../src/routes/batch.ts';
import { type Counters, createCounters } from '../src/routes/counters.ts';
import type { RouteDeps, RouteLimits } from '../src/routes/deps.ts';
import { eventsRoutes } from '../src/routes/events.ts';
import { healthRoutes } from '../src/routes/health.ts';
import { metricsRoutes } from '../src/routes/metrics.ts';
import { queryRoutes } from '../src/routes/query.ts';
import { createTurn } from '../src/turn.ts';
import { createWorkers, reportOf, type WorkersOptions } from '../src/workers.ts';

export const JOURNAL = '0199c2a4-0000-7000-8000-00000000beef';

interface AcceptCall {
  readonly records: readonly unknown[];
  readonly options: AcceptOptions;
}

/** An ingestion that validates with the real model, keeps ids in a set, and can be told to behave otherwise. */
interface FakeIngestion extends Ingestion {
  readonly calls: AcceptCall[];
  /** Answers instead of the default when set. */
  answer: ((records: readonly unknown[], options: AcceptOptions) => Outcome[] | Promise<Outcome[]>) | undefined;
  journal: Partial<JournalState>;
  deliver: DeliverState | undefined;
  lastDeliver: DeliverState | undefined;
  isDraining: boolean;
  ask: (path: string, init: RequestInit) => Promise<Response>;
}

const OPEN_JOURNAL: JournalState = {
  state: 'open',
  lastSeq: 10,
  durableSeq: 10,
  releasedSeq: 7,
  pendingBytes: 1000,
  limitBytes: 1_000_000,
  segments: 2,
  dedupeIds: 10,
  dedupeWindowMs: 3_600_000,
  syncMode: 'inline',
  lastSyncMs: 0.2,
  commits: 4,
};

export const HEALTHY_DELIVER: DeliverState = {
  t: 'state',
  sinks: [
    {
      name: 'store',
      state: 'healthy',
      latencyMs: 12,
      rows: 7,
      blocks: 2,
      retries: 1,
      required: true,
      pendingEvents: 0,
      pendingBytes: 0,
      deadLetters: 0,
    },
  ],
  rssBytes: 250_000_000,
  cpuSeconds: 1.5,
};

function createFakeIngestion(): FakeIngestion {
  const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
  const seen = new Set<string>();
  let seq = 0;

  function judge(record: unknown, at: number, options: AcceptOptions): Outcome {
    const origin = options.origins?.[at] ?? options.origin;
    const { ipAddress, userAgent, referrer } = origin ?? {};
    const checked = model.check(record, { receivedAtMs: Date.now(), ipAddress, userAgent, referrer });
    if (!checked.ok) {
      return { kind: 'rejected', code: checked.code, field: checked.field, message: checked.message };
    }
    if (seen.has(checked.key)) return { kind: 'duplicate', level: 'journal' };
    seen.add(checked.key);
    seq += 1;
    return { kind: 'accepted', level: options.ack, journal: JOURNAL, seq };
  }

  const fake: FakeIngestion = {
    calls: [],
    answer: undefined,
    journal: {},
    deliver: HEALTHY_DELIVER,
    lastDeliver: HEALTHY_DELIVER,
    isDraining: false,
    ask: async () => new Response('Ok.\n'),
    journalId: JOURNAL,
    async accept(records, options) {
      fake.calls.push({ records, options });
      if (fake.answer !== undefined) return fake.answer(records, options);
      return records.map((record, at) => judge(record, at, options));
    },
    journalState: () => ({ ...OPEN_JOURNAL, ...fake.journal }),
    reachedSeq: () => 0,
    onReached: () => () => undefined,
    isSilent: () => false,
    isRouted: () => false,
    deliverState: () => (fake.deliver === undefined ? undefined : { state: fake.deliver, ageMs: 100 }),
    lastDeliverState: () => fake.lastDeliver,
    askDeliver: (path, init) => fake.ask(path, init),
    draining: () => fake.isDraining,
  };
  return fake;
}

const LIMITS: RouteLimits = {
  eventBytesMax: 65_536,
  batchBytesMax: 10 * 1024 * 1024,
  batchEventsMax: 1000,
  queryBytesMax: 1024 * 1024,
  queryTimeoutMs: 70_000,
  requestTimeoutMs: 30_000,
  ackTimeoutMs: 5000,
};

export interface HttpService extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly ingestion: FakeIngestion;
  readonly counters: Counters;
  /** What the server logged, one JSON object a line. */
  readonly log: string[];
}

interface More {
  readonly auth?: Auth;
  /** Other accept processes beside this one. */
  readonly workers?: Pick<WorkersOptions, 'own' | 'count' | 'heard'>;
  /** Adds routes beside the usual ones. */
  readonly add?: (app: ElysiaServer['app'], deps: RouteDeps) => void;
}

export async function startHttpService(limits: Partial<RouteLimits> = {}, more: More = {}): Promise<HttpService> {
  const log: string[] = [];
  const logger = createLogger({ level: 'info', name: 'test', destination: { write: (line) => void log.push(line) } });
  const ingestion = createFakeIngestion();
  const counters = createCounters();
  const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
  const allLimits = { ...LIMITS, ...limits };
  const server = createElysiaServer({
    name: 'test',
    version: '0.0.0',
    description: 'The routes under test',
    hostname: '127.0.0.1',
    port: 0,
    reusePort: false,
    requestTimeoutMs: allLimits.requestTimeoutMs,
    corsOrigins: [],
    logger,
    openapi: { components: { schemas: openApiSchemas(model) } },
    draining: () => ingestion.isDraining,
    ...(more.auth === undefined ? {} : { auth: more.auth }),
  });
  const metrics = createMetrics({ processMetrics: false });
  const report = () => reportOf(more.workers?.own ?? 0, ingestion, counters);
  const workers = createWorkers({ own: 0, count: 1, heard: () => [], said: () => undefined, report, ...more.workers });
  const turn = createTurn({ accept: ingestion.accept, count: counters.count, commit: () => undefined });
  const deps = {
    ingestion,
    turn,
    limits: allLimits,
    counters,
    metrics,
    workers,
    version: '0.0.0',
    protect: server.protect,
  };
  for (const add of [eventsRoutes, batchRoutes, healthRoutes, metricsRoutes, queryRoutes]) add(server.app, deps);
  more.add?.(server.app, deps);
  const { url, port } = await server.listen();
  return {
    url: url.replace(/\/$/, ''),
    port,
    ingestion,
    counters,
    log,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** A valid event; every one has an id of its own. */
export function event(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    eventId: Bun.randomUUIDv7(),
    eventType: 'cart_updated',
    timestamp: new Date().toISOString(),
    sessionId: 'session-1',
    storeId: 'store-1',
    data: { items: [{ sku: 'a-1', price: 9.5 }] },
    ...fields,
  };
}

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape of what comes back.
  readonly body: any;
}

export async function post(
  url: string,
  body: RequestInit['body'] | undefined,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const response = await fetch(url, {
    method: 'POST',
    ...(body === undefined ? {} : { body }),
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
