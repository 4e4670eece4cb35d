/**
 * GET /metrics: JSON, or the exposition that a Prometheus scraper asks for. Whichever accept process is asked answers for
 * all of them: in JSON their sums, in the exposition a series of each, told apart by the label `worker` where there are
 * several. A restarted process begins its own series at zero, as Prometheus expects; a sum of them would fall.
 */
import { type DeliverState, STORE_SINK } from '@libs/delivery';
import { type Metrics, type Series, wantsExposition } from '@libs/monitoring';
import type { Elysia } from 'elysia';
import type { Ingestion } from '../ingestion.ts';
import type { WorkerReport, Workers } from '../workers.ts';
import { ratesOf, sumOf } from './counters.ts';
import type { RouteDeps } from './deps.ts';
import { METRICS_DETAIL } from './openapi-operations.ts';

export function metricsRoutes(app: Elysia, { ingestion, metrics, workers }: RouteDeps): void {
  const series = createWorkerSeries(metrics, workers);
  registerEvents(series);
  registerWebSocket(series);
  registerJournal(series);
  if (ingestion.sharedWindow !== undefined) registerWindow(series);
  registerProcesses(metrics, series, workers);
  registerDeliver(metrics, ingestion);

  app.get(
    '/metrics',
    async ({ request }) => {
      const accept = request.headers.get('accept');
      if (!wantsText(accept)) return Response.json(metricsBody(workers, ingestion.lastDeliverState()));
      const { contentType, body } = await metrics.expose(accept);
      return new Response(body, { headers: { 'content-type': contentType } });
    },
    { detail: METRICS_DETAIL },
  );
}

/** Clients that take anything (axios sends `application/json, text/plain`) get JSON; scrapers do not ask for that. */
function wantsText(accept: string | null): boolean {
  return wantsExposition(accept) && accept?.includes('application/json') !== true;
}

function metricsBody(workers: Workers, state: DeliverState | undefined) {
  const store = state?.sinks.find(({ name }) => name === STORE_SINK);
  const reports = workers.told().map(({ report }) => report);
  const sum = (read: (report: WorkerReport) => number) => sumOf(reports, read);
  const { averageProcessingTime } = ratesOf(reports.map(({ recent }) => recent));
  return {
    ingestion: {
      eventsReceived: sum(({ events }) => events.received),
      eventsProcessed: sum(({ events }) => events.accepted + events.duplicates),
      eventsFailed: sum(({ events }) => events.rejected + events.retries),
      averageProcessingTime,
    },
    websocket: {
      activeConnections: sum(({ websocket }) => websocket.activeConnections),
      totalConnections: sum(({ websocket }) => websocket.totalConnections),
      messagesReceived: sum(({ websocket }) => websocket.messagesReceived),
      messagesSent: sum(({ websocket }) => websocket.messagesSent),
    },
    storage: {
      eventsStored: store?.rows ?? 0,
      duplicatesIgnored: sum(({ events }) => events.duplicates),
      storageLatency: store?.latencyMs ?? 0,
    },
    ...(workers.names.length === 1 ? {} : { workers: { configured: workers.names.length, reporting: reports.length } }),
  };
}

interface WorkerSeries {
  counter(name: string, help: string, read: (report: WorkerReport) => number): void;
  gauge(name: string, help: string, read: (report: WorkerReport) => number): void;
  counters(
    name: string,
    help: string,
    label: string,
    read: (report: WorkerReport) => Readonly<Record<string, number>>,
  ): void;
}

/** Each series once for every worker that reports; without a label where there is only one. */
function createWorkerSeries(metrics: Metrics, workers: Workers): WorkerSeries {
  const isLabelled = workers.names.length > 1;
  const workerLabels = isLabelled ? ['worker'] : [];

  function register(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (report: WorkerReport) => readonly Series[],
  ): void {
    metrics.seriesFrom(kind, name, help, [...workerLabels, ...labelNames], () =>
      workers.told().flatMap(({ report }) => {
        const series = read(report);
        if (!isLabelled) return series;
        return series.map(({ labels, value }) => ({ labels: { worker: report.name, ...labels }, value }));
      }),
    );
  }

  return {
    counter(name, help, read) {
      register('counter', name, help, [], (report) => [{ labels: {}, value: read(report) }]);
    },
    gauge(name, help, read) {
      register('gauge', name, help, [], (report) => [{ labels: {}, value: read(report) }]);
    },
    counters(name, help, label, read) {
      register('counter', name, help, [label], (report) =>
        Object.entries(read(report)).map(([key, value]) => ({ labels: { [label]: key }, value })),
      );
    },
  };
}

function registerEvents(series: WorkerSeries): void {
  series.counter('weir_events_received_total', 'Events that arrived.', ({ events }) => events.received);
  series.counters('weir_events_total', 'Events by what became of them.', 'outcome', ({ events }) => ({
    accepted: events.accepted,
    duplicate: events.duplicates,
    rejected: events.rejected,
    retry: events.retries,
  }));
  series.counters(
    'weir_event_failures_total',
    'Events that were rejected or must be sent again, by code.',
    'code',
    ({ failuresByCode }) => failuresByCode,
  );
  series.counter(
    'weir_accept_calls_total',
    'Accept calls; single events and WebSocket frames of one turn of the event loop share one.',
    ({ events }) => events.calls,
  );
  series.counter(
    'weir_accept_seconds_total',
    'Time that accept calls took, from the parsing of events to their outcomes.',
    ({ events }) => events.timeMs / 1000,
  );
}

function registerWebSocket({ gauge, counter }: WorkerSeries): void {
  gauge('weir_websocket_connections', 'Open WebSocket connections.', ({ websocket }) => websocket.activeConnections);
  counter(
    'weir_websocket_connections_total',
    'WebSocket connections that were opened.',
    ({ websocket }) => websocket.totalConnections,
  );
  counter(
    'weir_websocket_messages_received_total',
    'WebSocket messages from clients.',
    ({ websocket }) => websocket.messagesReceived,
  );
  counter(
    'weir_websocket_messages_sent_total',
    'WebSocket messages to clients.',
    ({ websocket }) => websocket.messagesSent,
  );
}

function registerJournal(series: WorkerSeries): void {
  const gauge = (name: string, help: string, read: (journal: WorkerReport['journal']) => number) =>
    series.gauge(name, help, ({ journal }) => read(journal));
  gauge('weir_journal_open', '1 while the journal takes events.', ({ state }) => Number(state === 'open'));
  gauge('weir_journal_last_seq', 'Number of the last event in the journal.', ({ lastSeq }) => lastSeq);
  gauge('weir_journal_durable_seq', 'Number of the last durable event.', ({ durableSeq }) => durableSeq);
  gauge(
    'weir_journal_released_seq',
    'Number of the last event that every sink has finished.',
    ({ releasedSeq }) => releasedSeq,
  );
  gauge('weir_journal_pending_bytes', 'Bytes that a sink still needs.', ({ pendingBytes }) => pendingBytes);
  gauge('weir_journal_limit_bytes', 'Pending bytes at which it is full.', ({ limitBytes }) => limitBytes);
  gauge(
    'weir_journal_seconds_until_full',
    'Seconds until the journal is full at the present rate; infinite while it does not grow.',
    ({ secondsUntilFull }) => secondsUntilFull ?? Number.POSITIVE_INFINITY,
  );
  gauge('weir_journal_segments', 'Segment files.', ({ segments }) => segments);
  series.counter('weir_journal_commits_total', 'Group commits since the start.', ({ journal }) => journal.commits);
  gauge('weir_journal_sync_seconds', 'What the last sync took.', ({ lastSyncMs }) => lastSyncMs / 1000);
  gauge('weir_dedupe_ids', 'Ids in the dedupe index.', ({ dedupeIds }) => dedupeIds);
  gauge('weir_dedupe_window_seconds', 'Time the index covers.', ({ dedupeWindowMs }) => dedupeWindowMs / 1000);
}

function registerWindow({ gauge, counter, counters }: WorkerSeries): void {
  gauge('weir_redis_up', '1 while ids are claimed in Redis.', ({ window }) =>
    Number(window !== undefined && window.skipping === undefined),
  );
  counters('weir_redis_ids_total', 'Ids by what Redis said.', 'verdict', ({ window }) => {
    const { claimed = 0, duplicate = 0, busy = 0 } = window?.counters ?? {};
    return { claimed, duplicate, busy };
  });
  counters(
    'weir_redis_ids_skipped_total',
    'Ids that were taken without having asked Redis, by why.',
    'reason',
    ({ window }) => window?.counters.skipped ?? {},
  );
  gauge(
    'weir_redis_pending_confirms',
    'Durable ids that Redis has not been told of.',
    ({ window }) => window?.pendingConfirms ?? 0,
  );
  counter(
    'weir_redis_confirms_dropped_total',
    'Durable ids that Redis will not be told of.',
    ({ window }) => window?.counters.confirmsDropped ?? 0,
  );
}

function registerProcesses(metrics: Metrics, { gauge }: WorkerSeries, workers: Workers): void {
  metrics.gaugeFrom('weir_workers', 'Accept processes that are configured.', () => workers.names.length);
  metrics.gaugeFrom('weir_workers_up', 'Those of them whose figures are here.', () => workers.told().length);
  gauge('weir_accept_resident_memory_bytes', 'Memory of accept.', ({ rssBytes }) => rssBytes);
  gauge('weir_accept_cpu_seconds', 'CPU time of the running accept process.', ({ cpuSeconds }) => cpuSeconds);
}

function registerDeliver(metrics: Metrics, ingestion: Ingestion): void {
  const lastState = ingestion.lastDeliverState;
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
