/**
 * The first half of an event's path, in order and without logic: from a request to its answer. The second half is
 * pipeline-deliver.ts, in a process of its own; the two meet only at the journal.
 *
 *   routes, stream ─▶ accept: validate ─▶ dedupe (here; in Redis) ─▶ journal.append ─▶ answer
 *                                                                       └─▶ the journal's files, and a nudge to deliver
 */
import { createDisk, type Disk, type Journal, openJournal } from '@libs/journal';
import { createEventModel } from '@libs/models';
import { createMetrics, type Logger } from '@libs/monitoring';
import { createAccept } from './accept.ts';
import type { Config } from './config.ts';
import { createDeliverLink } from './deliver-link.ts';
import { createGate } from './gate.ts';
import { createIngestionServer } from './ingestion-server.ts';
import { createOtherJournals } from './other-journals.ts';
import { acceptName, deliverPaths } from './paths.ts';
import { exchangeProgress } from './progress-exchange.ts';
import { createCounters } from './routes/counters.ts';
import { createStream } from './routes/stream.ts';
import * as settings from './settings.ts';
import type { SharedDedupe } from './shared-dedupe.ts';
import { createStoredProgress } from './stored-watch.ts';
import { createTurn } from './turn.ts';
import { createWorkers, reportOf } from './workers.ts';

export async function buildAccept(
  config: Config,
  worker: number,
  logger: Logger,
  onJournalFailed: (error: Error) => void,
) {
  const model = createEventModel({ eventTypes: config.eventTypes, limits: settings.eventLimits(config) });
  const disk = createDisk();
  const stored = createStoredProgress({ ...settings.storedProgress(config), onWait: () => link.flush() });
  let shared: SharedDedupe | undefined;
  const journal = openJournal({
    ...settings.journal(config, worker, logger),
    disk,
    settledSeq: () => shared?.settledSeq() ?? Number.POSITIVE_INFINITY,
    onDurable: (seq) => link.durable(seq),
    onFailed: onJournalFailed,
  });
  // Before the link: nothing may be released as long as nobody says what is settled.
  shared = await createShared(config, journal, disk, logger);
  const report = () => reportOf(worker, ingestion, counters);
  const others = createOtherJournals({ ...settings.otherJournals(config), bus: shared?.bus });
  const link = createDeliverLink({
    ...deliverPaths(config),
    journal,
    report: config.WEIR_WORKERS > 1 ? report : undefined,
    onProgress: (id, sink, seq) => (id === journal.id ? stored.advance(seq, sink) : others.advance(id, sink, seq)),
  });
  if (shared !== undefined) exchangeProgress({ bus: shared.bus, journal, stored, others });
  const gate = createGate(createAccept({ model, journal, stored, wallMs: Date.now, claims: shared?.claims }));
  const ingestion = settings.ingestion(config, { gate, journal, stored, others, link, shared });
  const counters = createCounters();
  const turn = createTurn({ accept: ingestion.accept, count: counters.count, commit: journal.commit });
  const stream = createStream({
    ingestion,
    turn,
    limits: settings.streamLimits(config),
    counters,
    logger,
  });
  const server = createIngestionServer({
    config,
    model,
    ingestion,
    turn,
    counters,
    metrics: createMetrics(config.WEIR_WORKERS > 1 ? { processLabels: { worker: acceptName(worker) } } : {}),
    workers: createWorkers({
      own: worker,
      count: config.WEIR_WORKERS,
      report,
      heard: link.workers,
      said: link.said,
    }),
    stream,
    logger,
    auth: await createAuth(config),
  });
  return { journal, link, shared, gate, stored, stream, server };
}

/** Only where other processes take events for the same stores; a service that is alone does not even load it. */
async function createShared(config: Config, journal: Journal, disk: Disk, logger: Logger) {
  if (config.REDIS_URL === undefined) return undefined;
  const { createSharedDedupe } = await import('./shared-dedupe.ts');
  return createSharedDedupe({ ...settings.sharedDedupe(config), url: config.REDIS_URL, journal, disk, logger });
}

async function createAuth({ JWT_SECRET: secret }: Config) {
  if (secret === undefined) return undefined;
  return (await import('@libs/auth')).createAuth({ secret });
}
