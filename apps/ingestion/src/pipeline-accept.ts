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
import { deliverPaths } from './paths.ts';
import { createCounters } from './routes/counters.ts';
import { createStream } from './routes/stream.ts';
import * as settings from './settings.ts';
import { createStoredProgress } from './stored-watch.ts';

export async function buildAccept(
  config: Config,
  worker: number,
  logger: Logger,
  onJournalFailed: (error: Error) => void,
) {
  const model = createEventModel({ eventTypes: config.eventTypes, limits: settings.eventLimits(config) });
  const disk = createDisk();
  const stored = createStoredProgress({ ...settings.ackTimeout(config), onWait: () => link.flush() });
  const journal = openJournal({
    ...settings.journal(config, worker, logger),
    disk,
    onDurable: (seq) => link.durable(seq),
    onFailed: onJournalFailed,
  });
  const shared = await createShared(config, journal, disk, logger);
  const released = shared === undefined ? journal : { ...journal, release: shared.release };
  const link = createDeliverLink({ ...deliverPaths(config), journal: released, stored });
  const gate = createGate(createAccept({ model, journal, stored, wallMs: Date.now, claims: shared?.claims }));
  const ingestion = settings.ingestion({ gate, journal, stored, link, shared });
  const counters = createCounters();
  const stream = createStream({
    ingestion,
    limits: settings.streamLimits(config),
    counters,
    logger,
  });
  const server = createIngestionServer({
    config,
    model,
    ingestion,
    counters,
    metrics: createMetrics(),
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
