/** GET /health, /health/live, /health/ready. */
import { type DeliverState, STORE_SINK } from '@libs/delivery';
import { HttpError } from '@libs/elysia-server';
import type { JournalState } from '@libs/journal';
import { aggregateStatus, type HealthStatus, overallStatus } from '@libs/monitoring';
import type { Elysia } from 'elysia';
import type { Ingestion } from '../ingestion.ts';
import type { KnownWorker, WorkerReport } from '../workers.ts';
import { ratesOf, sumOf } from './counters.ts';
import type { RouteDeps } from './deps.ts';
import { HEALTH_DETAIL, LIVE_DETAIL, READY_DETAIL } from './openapi-operations.ts';
import { clip, retryAfterSeconds } from './replies.ts';

/** A journal drains, or a process is replaced, within seconds. */
const RETRY_AFTER_MS = 5000;

const KAFKA_SINK = 'kafka';
const DOWNSTREAM_PREFIX = 'http:';
/** Worst first. */
const STATES: readonly HealthStatus[] = ['unhealthy', 'degraded', 'healthy'];

interface Service {
  readonly state: HealthStatus;
  /** Milliseconds that its last successful call took. */
  readonly latencyMs?: number;
  readonly lastError?: string;
  readonly [more: string]: unknown;
}

interface NamedService extends Service {
  readonly name: string;
}

export function healthRoutes(app: Elysia, deps: RouteDeps): void {
  app.get('/health', () => healthReply(deps), { detail: HEALTH_DETAIL });
  app.get('/health/live', () => Response.json({ status: 'alive', timestamp: new Date().toISOString() }), {
    detail: LIVE_DETAIL,
  });
  app.get('/health/ready', () => readyReply(deps.ingestion), { detail: READY_DETAIL });
}

/** 503 only when nothing can be accepted: a sink that is down makes the journal grow and nothing else. */
function healthReply({ ingestion, workers, sinks, version }: RouteDeps): Response {
  const known = workers.now();
  const reports = known.map(({ report }) => report);
  const refused = refusal(ingestion, reports);
  const accepts = workers.names.map((name) => workerHealth(name, known, ingestion));
  const services = {
    journal: journalHealth(reports),
    deliver: deliverHealth(ingestion),
    ...(ingestion.sharedWindow === undefined ? {} : { redis: windowHealth(reports) }),
    clickhouse: sinkHealth(ingestion.deliverState()?.state, STORE_SINK),
    ...(sinks?.kafka === true ? { kafka: sinkHealth(ingestion.deliverState()?.state, KAFKA_SINK) } : {}),
    ...(sinks === undefined || sinks.downstreams.length === 0
      ? {}
      : { downstream: downstreamHealth(ingestion.deliverState()?.state, sinks.downstreams) }),
  };
  const states = [...Object.values(services), ...accepts].map(({ state }) => ({ status: state, required: false }));
  const status: HealthStatus = refused === undefined ? overallStatus(states) : 'unhealthy';
  const { eventsPerSecond, errorRate } = ratesOf(reports.map(({ recent }) => recent));
  const body = {
    status,
    ...(refused === undefined ? {} : { message: refused.message }),
    services,
    ...(accepts.length === 1 ? {} : { workers: accepts }),
    metrics: {
      eventsPerSecond,
      activeConnections: sumOf(reports, ({ websocket }) => websocket.activeConnections),
      errorRate,
    },
    dedupe: {
      ids: sumOf(reports, ({ journal }) => journal.dedupeIds),
      windowMs: Math.min(...reports.map(({ journal }) => journal.dedupeWindowMs)),
    },
    timestamp: new Date().toISOString(),
    version,
  };
  return Response.json(body, { status: status === 'unhealthy' ? 503 : 200 });
}

/** All journals as one: together as large and as full, and with the trouble of the worst. */
function journalHealth(reports: readonly WorkerReport[]): Service {
  const journals = reports.map(({ journal }) => journal);
  const reason = journals.find(({ state }) => state !== 'open')?.reason;
  const untilFull = journals.flatMap(({ secondsUntilFull }) => secondsUntilFull ?? []);
  return {
    state: aggregateStatus(journals.map(journalStatus)),
    latencyMs: milliseconds(Math.max(...journals.map(({ lastSyncMs }) => lastSyncMs))),
    ...(reason === undefined ? {} : { lastError: clip(reason) }),
    pendingEvents: sumOf(reports, pendingEvents),
    pendingBytes: sumOf(reports, ({ journal }) => journal.pendingBytes),
    limitBytes: sumOf(reports, ({ journal }) => journal.limitBytes),
    ...(untilFull.length === 0 ? {} : { secondsUntilFull: Math.min(...untilFull) }),
  };
}

const journalStatus = ({ state }: JournalState): HealthStatus => (state === 'open' ? 'healthy' : 'unhealthy');
const pendingEvents = ({ journal }: WorkerReport): number => journal.lastSeq - journal.releasedSeq;

/** One accept process, by its name. */
function workerHealth(name: string, known: readonly KnownWorker[], ingestion: Ingestion): NamedService {
  const found = known.find(({ report }) => report.name === name);
  if (found === undefined) {
    const lastError =
      ingestion.deliverState() === undefined
        ? 'Not known while the deliver process is away.'
        : 'It does not report: it is starting, or away.';
    return { name, state: 'unhealthy', lastError };
  }
  const { report, ageMs } = found;
  const { state, reason, pendingBytes, limitBytes } = report.journal;
  return {
    name,
    state: journalStatus(report.journal),
    ...(state === 'open' ? {} : { lastError: clip(reason ?? `The journal is ${state}.`) }),
    reportAgeMs: ageMs,
    pendingEvents: pendingEvents(report),
    pendingBytes,
    limitBytes,
    activeConnections: report.websocket.activeConnections,
    eventsPerSecond: ratesOf([report.recent]).eventsPerSecond,
  };
}

function deliverHealth(ingestion: Ingestion): Service {
  const report = ingestion.deliverState();
  if (report === undefined) {
    return { state: 'unhealthy', lastError: 'The deliver process does not report: it is starting, or away.' };
  }
  return { state: 'healthy', reportAgeMs: report.ageMs };
}

/** As well as the worker that fares worst with it. */
function windowHealth(reports: readonly WorkerReport[]): Service {
  const windows = reports.flatMap(({ window }) => window ?? []);
  const worst = windows.toSorted((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state))[0];
  if (worst === undefined) return { state: 'degraded', lastError: 'Not known yet.' };
  const { state, latencyMs, lastError, skipping } = worst;
  return {
    state,
    ...(latencyMs === undefined ? {} : { latencyMs: milliseconds(latencyMs) }),
    ...(lastError === undefined ? {} : { lastError: clip(lastError) }),
    ...(skipping === undefined ? {} : { skipping }),
    pendingConfirms: sumOf(windows, ({ pendingConfirms }) => pendingConfirms),
  };
}

function sinkHealth(state: DeliverState | undefined, name: string): Service {
  if (state === undefined) return { state: 'unhealthy', lastError: 'Not known while the deliver process is away.' };
  const sink = state.sinks.find((one) => one.name === name);
  if (sink === undefined) return { state: 'degraded', lastError: 'Not connected yet.' };
  const lastError = sink.stopped ?? sink.lastError;
  return {
    state: sink.stopped === undefined ? sink.state : 'unhealthy',
    ...(sink.latencyMs === undefined ? {} : { latencyMs: milliseconds(sink.latencyMs) }),
    ...(lastError === undefined ? {} : { lastError: clip(lastError) }),
    pendingEvents: sink.pendingEvents,
    ...(sink.oldestPendingAgeMs === undefined ? {} : { lagMs: Math.round(sink.oldestPendingAgeMs) }),
    ...(sink.deadLetters === 0 ? {} : { deadLetters: sink.deadLetters }),
  };
}

/** Each service by its name, and all of them together: as well as the one that is worst. */
function downstreamHealth(state: DeliverState | undefined, names: readonly string[]): Service {
  const services = Object.fromEntries(names.map((name) => [name, sinkHealth(state, `${DOWNSTREAM_PREFIX}${name}`)]));
  const states = Object.values(services).map((one) => one.state);
  return { state: STATES.find((one) => states.includes(one)) ?? 'healthy', services };
}

/** Of this process alone: it is this one that a balancer's next request on the connection reaches. */
function readyReply(ingestion: Ingestion): Response {
  const refused = refusal(ingestion, [{ journal: ingestion.journalState() }]);
  if (refused === undefined) return Response.json({ status: 'ready', timestamp: new Date().toISOString() });
  throw new HttpError(503, refused.code, refused.message, {
    headers: { 'retry-after': retryAfterSeconds(RETRY_AFTER_MS) },
  });
}

/** Why nothing can be accepted at the moment by any of these; undefined when something can. */
function refusal(
  ingestion: Ingestion,
  workers: readonly Pick<WorkerReport, 'journal'>[],
): { code: string; message: string } | undefined {
  if (ingestion.draining()) {
    return { code: 'shutting_down', message: 'The service is shutting down and takes no new events.' };
  }
  const [first] = workers;
  if (first === undefined || workers.some(({ journal }) => journal.state === 'open')) return undefined;
  const { state, reason } = first.journal;
  return { code: `journal_${state}`, message: reason ?? `The journal is ${state}.` };
}

function milliseconds(value: number): number {
  return Math.round(value * 1000) / 1000;
}
