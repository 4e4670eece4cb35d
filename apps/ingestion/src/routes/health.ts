/** GET /health, /health/live, /health/ready. */
import type { WindowHealth } from '@libs/database/redis';
import { type DeliverState, STORE_SINK } from '@libs/delivery';
import { HttpError } from '@libs/elysia-server';
import type { JournalState } from '@libs/journal';
import { type HealthStatus, overallStatus } from '@libs/monitoring';
import type { Elysia } from 'elysia';
import type { Ingestion } from '../ingestion.ts';
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

export function healthRoutes(app: Elysia, deps: RouteDeps): void {
  app.get('/health', () => healthReply(deps), { detail: HEALTH_DETAIL });
  app.get('/health/live', () => Response.json({ status: 'alive', timestamp: new Date().toISOString() }), {
    detail: LIVE_DETAIL,
  });
  app.get('/health/ready', () => readyReply(deps.ingestion), { detail: READY_DETAIL });
}

/** 503 only when nothing can be accepted: a sink that is down makes the journal grow and nothing else. */
function healthReply({ ingestion, counters, sinks, version }: RouteDeps): Response {
  const journal = ingestion.journalState();
  const services = {
    journal: journalHealth(journal),
    deliver: deliverHealth(ingestion),
    ...(ingestion.sharedWindow === undefined ? {} : { redis: windowHealth(ingestion.sharedWindow()) }),
    clickhouse: sinkHealth(ingestion.deliverState()?.state, STORE_SINK),
    ...(sinks?.kafka === true ? { kafka: sinkHealth(ingestion.deliverState()?.state, KAFKA_SINK) } : {}),
    ...(sinks === undefined || sinks.downstreams.length === 0
      ? {}
      : { downstream: downstreamHealth(ingestion.deliverState()?.state, sinks.downstreams) }),
  };
  const refused = refusal(ingestion);
  const status: HealthStatus =
    refused === undefined
      ? overallStatus(
          Object.entries(services).map(([name, { state }]) => ({ status: state, required: name === 'journal' })),
        )
      : 'unhealthy';
  const { eventsPerSecond, errorRate } = counters.rates();
  const body = {
    status,
    ...(refused === undefined ? {} : { message: refused.message }),
    services,
    metrics: { eventsPerSecond, activeConnections: counters.websocket.activeConnections, errorRate },
    dedupe: { ids: journal.dedupeIds, windowMs: journal.dedupeWindowMs },
    timestamp: new Date().toISOString(),
    version,
  };
  return Response.json(body, { status: status === 'unhealthy' ? 503 : 200 });
}

function journalHealth(journal: JournalState): Service {
  return {
    state: journal.state === 'open' ? 'healthy' : 'unhealthy',
    latencyMs: milliseconds(journal.lastSyncMs),
    ...(journal.reason === undefined ? {} : { lastError: clip(journal.reason) }),
    pendingEvents: journal.lastSeq - journal.releasedSeq,
    pendingBytes: journal.pendingBytes,
    limitBytes: journal.limitBytes,
    ...(journal.secondsUntilFull === undefined ? {} : { secondsUntilFull: journal.secondsUntilFull }),
  };
}

function deliverHealth(ingestion: Ingestion): Service {
  const report = ingestion.deliverState();
  if (report === undefined) {
    return { state: 'unhealthy', lastError: 'The deliver process does not report: it is starting, or away.' };
  }
  return { state: 'healthy', reportAgeMs: report.ageMs };
}

function windowHealth({ state, latencyMs, lastError, skipping, pendingConfirms }: WindowHealth): Service {
  return {
    state,
    ...(latencyMs === undefined ? {} : { latencyMs: milliseconds(latencyMs) }),
    ...(lastError === undefined ? {} : { lastError: clip(lastError) }),
    ...(skipping === undefined ? {} : { skipping }),
    pendingConfirms,
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

function readyReply(ingestion: Ingestion): Response {
  const refused = refusal(ingestion);
  if (refused === undefined) return Response.json({ status: 'ready', timestamp: new Date().toISOString() });
  throw new HttpError(503, refused.code, refused.message, {
    headers: { 'retry-after': retryAfterSeconds(RETRY_AFTER_MS) },
  });
}

/** Why nothing can be accepted at the moment; undefined when it can. */
function refusal(ingestion: Ingestion): { code: string; message: string } | undefined {
  if (ingestion.draining()) {
    return { code: 'shutting_down', message: 'The service is shutting down and takes no new events.' };
  }
  const { state, reason } = ingestion.journalState();
  if (state === 'open') return undefined;
  return { code: `journal_${state}`, message: reason ?? `The journal is ${state}.` };
}

function milliseconds(value: number): number {
  return Math.round(value * 1000) / 1000;
}
