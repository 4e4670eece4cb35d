/** GET /metrics: JSON, or the exposition that a Prometheus scraper asks for. */
import type { WindowHealth } from '@libs/database/redis';
import { type DeliverState, STORE_SINK } from '@libs/delivery';
import { type Metrics, type Series, wantsExposition } from '@libs/monitoring';
import type { Elysia } from 'elysia';
import type { Ingestion } from '../ingestion.ts';
import type { Counters } from './counters.ts';
import type { RouteDeps } from './deps.ts';
import { METRICS_DETAIL } from './openapi-operations.ts';

export function metricsRoutes(app: Elysia, deps: RouteDeps): void {
  const lastState = rememberState(deps.ingestion);
  registerEvents(deps.metrics, deps.counters);
  registerWebSocket(deps.metrics, deps.counters);
  registerJournal(deps.metrics, deps.ingestion);
  if (deps.ingestion.sharedWindow !== undefined) registerWindow(deps.metrics, deps.ingestion.sharedWindow);
  registerDeliver(deps.metrics, deps.ingestion, lastState);

  app.get(
    '/metrics',
    async ({ request }) => {
      const accept = request.headers.get('accept');
      if (!wantsText(accept)) return Response.json(metricsBody(deps.counters, lastState()));
      const { contentType, body } = await deps.metrics.expose(accept);
      return new Response(body, { headers: { 'content-type': contentType } });
    },
    { detail: METRICS_DETAIL },
  );
}

/** Clients that take anything (axios sends `application/json, text/plain`) get JSON; scrapers do not ask for that. */
function wantsText(accept: string | null): boolean {
  return wantsExposition(accept) && accept?.includes('application/json') !== true;
}

/** Deliver's last report, also while it is away: counters must not fall because a process is being restarted. */
function rememberState(ingestion: Ingestion): () => DeliverState | undefined {
  let last: DeliverState | undefined;
  return () => {
    last = ingestion.deliverState()?.state ?? last;
    return last;
  };
}

function metricsBody({ events, websocket, rates }: Counters, state: DeliverState | undefined) {
  const store = state?.sinks.find(({ name }) => name === STORE_SINK);
  return {
    ingestion: {
      eventsReceived: events.received,
      eventsProcessed: events.accepted + events.duplicates,
      eventsFailed: events.rejected + events.retries,
      averageProcessingTime: rates().averageProcessingTime,
    },
    websocket,
    storage: {
      eventsStored: store?.rows ?? 0,
      duplicatesIgnored: events.duplicates,
      storageLatency: store?.latencyMs ?? 0,
    },
  };
}

function registerEvents(metrics: Metrics, { events, failuresByCode }: Counters): void {
  metrics.counterFrom('weir_events_received_total', 'Events that arrived.', () => events.received);
  const outcomes: readonly (readonly [string, () => number])[] = [
    ['accepted', () => events.accepted],
    ['duplicate', () => events.duplicates],
    ['rejected', () => events.rejected],
    ['retry', () => events.retries],
  ];
  for (const [outcome, read] of outcomes) {
    metrics.counterFrom('weir_events_total', 'Events by what became of them.', read, { outcome });
  }
  metrics.seriesFrom(
    'counter',
    'weir_event_failures_total',
    'Events that were rejected or must be sent again, by code.',
    ['code'],
    () => Array.from(failuresByCode, ([code, value]) => ({ labels: { code }, value })),
  );
  metrics.counterFrom('weir_accept_calls_total', 'Requests and frames whose events were answered.', () => events.calls);
  metrics.counterFrom(
    'weir_accept_seconds_total',
    'Time from a parsed body to its outcomes, summed over the calls.',
    () => events.timeMs / 1000,
  );
}

function registerWebSocket(metrics: Metrics, { websocket }: Counters): void {
  metrics.gaugeFrom('weir_websocket_connections', 'Open WebSocket connections.', () => websocket.activeConnections);
  metrics.counterFrom(
    'weir_websocket_connections_total',
    'WebSocket connections that were opened.',
    () => websocket.totalConnections,
  );
  metrics.counterFrom(
    'weir_websocket_messages_received_total',
    'WebSocket messages from clients.',
    () => websocket.messagesReceived,
  );
  metrics.counterFrom(
    'weir_websocket_messages_sent_total',
    'WebSocket messages to clients.',
    () => websocket.messagesSent,
  );
}

function registerJournal(metrics: Metrics, ingestion: Ingestion): void {
  const journal = () => ingestion.journalState();
  metrics.gaugeFrom('weir_journal_open', '1 while the journal takes events.', () => Number(journal().state === 'open'));
  metrics.gaugeFrom('weir_journal_last_seq', 'Number of the last event in the journal.', () => journal().lastSeq);
  metrics.gaugeFrom('weir_journal_durable_seq', 'Number of the last durable event.', () => journal().durableSeq);
  metrics.gaugeFrom(
    'weir_journal_released_seq',
    'Number of the last event that every sink has finished.',
    () => journal().releasedSeq,
  );
  metrics.gaugeFrom('weir_journal_pending_bytes', 'Bytes that a sink still needs.', () => journal().pendingBytes);
  metrics.gaugeFrom('weir_journal_limit_bytes', 'Pending bytes at which it is full.', () => journal().limitBytes);
  metrics.gaugeFrom(
    'weir_journal_seconds_until_full',
    'Seconds until the journal is full at the present rate; infinite while it does not grow.',
    () => journal().secondsUntilFull ?? Number.POSITIVE_INFINITY,
  );
  metrics.gaugeFrom('weir_journal_segments', 'Segment files.', () => journal().segments);
  metrics.counterFrom('weir_journal_commits_total', 'Group commits since the start.', () => journal().commits);
  metrics.gaugeFrom('weir_journal_sync_seconds', 'What the last sync took.', () => journal().lastSyncMs / 1000);
  metrics.gaugeFrom('weir_dedupe_ids', 'Ids in the dedupe index.', () => journal().dedupeIds);
  metrics.gaugeFrom('weir_dedupe_window_seconds', 'Time the index covers.', () => journal().dedupeWindowMs / 1000);
}

function registerWindow(metrics: Metrics, window: () => WindowHealth): void {
  metrics.gaugeFrom('weir_redis_up', '1 while ids are claimed in Redis.', () =>
    Number(window().skipping === undefined),
  );
  const verdicts = ['claimed', 'duplicate', 'busy'] as const;
  for (const verdict of verdicts)
    metrics.counterFrom('weir_redis_ids_total', 'Ids by what Redis said.', () => window().counters[verdict], {
      verdict,
    });
  metrics.seriesFrom(
    'counter',
    'weir_redis_ids_skipped_total',
    'Ids that were taken without having asked Redis, by why.',
    ['reason'],
    () => Object.entries(window().counters.skipped).map(([reason, value]) => ({ labels: { reason }, value })),
  );
  metrics.gaugeFrom(
    'weir_redis_pending_confirms',
    'Durable ids that Redis has not been told of.',
    () => window().pendingConfirms,
  );
  metrics.counterFrom(
    'weir_redis_confirms_dropped_total',
    'Durable ids that Redis will not be told of.',
    () => window().counters.confirmsDropped,
  );
}

function registerDeliver(metrics: Metrics, ingestion: Ingestion, lastState: () => DeliverState | undefined): void {
  const perSink = (read: (sink: DeliverState['sinks'][number]) => number) => (): Series[] =>
    (lastState()?.sinks ?? []).map((sink) => ({ labels: { sink: sink.name }, value: read(sink) }));
  metrics.gaugeFrom('weir_deliver_up', '1 while the deliver process reports.', () =>
    Number(ingestion.deliverState() !== undefined),
  );
  metrics.gaugeFrom('weir_deliver_resident_memory_bytes', 'Memory of deliver.', () => lastState()?.rssBytes ?? 0);
  metrics.gaugeFrom(
    'weir_deliver_cpu_seconds',
    'CPU time of the running deliver process.',
    () => lastState()?.cpuSeconds ?? 0,
  );
  metrics.seriesFrom(
    'counter',
    'weir_sink_rows_total',
    'Rows that a sink has finished.',
    ['sink'],
    perSink(({ rows }) => rows),
  );
  metrics.seriesFrom(
    'counter',
    'weir_sink_blocks_total',
    'Blocks that a sink has finished.',
    ['sink'],
    perSink(({ blocks }) => blocks),
  );
  metrics.seriesFrom(
    'counter',
    'weir_sink_retries_total',
    'Attempts that had to be repeated.',
    ['sink'],
    perSink(({ retries }) => retries),
  );
  metrics.seriesFrom(
    'gauge',
    'weir_sink_pending_events',
    'Durable events that a sink has not had.',
    ['sink'],
    perSink(({ pendingEvents }) => pendingEvents),
  );
  metrics.seriesFrom(
    'gauge',
    'weir_sink_pending_bytes',
    'Their bytes in the journal.',
    ['sink'],
    perSink(({ pendingBytes }) => pendingBytes),
  );
  metrics.seriesFrom(
    'gauge',
    'weir_sink_lag_seconds',
    'Age of the oldest event that a sink has not had; 0 when it has had all.',
    ['sink'],
    perSink(({ oldestPendingAgeMs }) => (oldestPendingAgeMs ?? 0) / 1000),
  );
  metrics.seriesFrom(
    'gauge',
    'weir_dead_letters',
    'Events and parked ranges that a sink gave up on.',
    ['sink'],
    perSink(({ deadLetters }) => deadLetters),
  );
  metrics.seriesFrom(
    'gauge',
    'weir_sink_up',
    '1 while a sink is healthy.',
    ['sink'],
    perSink(({ state, stopped }) => Number(state === 'healthy' && stopped === undefined)),
  );
}
