/** GET /health, /health/live, /health/ready. */
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
function healthReply({ ingestion, counters, version }: RouteDeps): Response {
  const journal = ingestion.journalState();
  const services = {
    journal: journalHealth(journal),
    deliver: deliverHealth(ingestion),
    clickhouse: storeHealth(ingestion.deliverState()?.state),
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

function storeHealth(state: DeliverState | undefined): Service {
  if (state === undefined) return { state: 'unhealthy', lastError: 'Not known while the deliver process is away.' };
  const sink = state.sinks.find(({ name }) => name === STORE_SINK);
  if (sink === undefined) return { state: 'degraded', lastError: 'Not connected yet.' };
  const lastError = sink.stopped ?? sink.lastError;
  return {
    state: sink.stopped === undefined ? sink.state : 'unhealthy',
    ...(sink.latencyMs === undefined ? {} : { latencyMs: milliseconds(sink.latencyMs) }),
    ...(lastError === undefined ? {} : { lastError: clip(lastError) }),
  };
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
