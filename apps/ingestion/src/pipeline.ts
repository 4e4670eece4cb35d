/**
 * The whole path of an event, in order and without logic. Accept and deliver are two processes that meet only at the
 * journal.
 *
 *   routes, stream ─▶ accept: validate ─▶ dedupe ─▶ journal.append ─▶ answer      (accept process)
 *                                                      │
 *                                        the journal's files, and a nudge
 *                                                      │
 *                            reader ─▶ block, cut once ─▶ sink ─▶ cursor           (deliver process)
 */
import { createQueryService, createStoreSink, type Store } from '@libs/database';
import { createDelivery, openState } from '@libs/delivery';
import { createDisk, openJournal } from '@libs/journal';
import { createEventModel } from '@libs/models';
import { createMetrics, type Logger } from '@libs/monitoring';
import { createAccept } from './accept.ts';
import type { Config } from './config.ts';
import { createDeliverHub } from './deliver-hub.ts';
import { createDeliverLink } from './deliver-link.ts';
import { createGate } from './gate.ts';
import { createIngestionServer } from './ingestion-server.ts';
import { deliverPaths } from './paths.ts';
import { createCounters } from './routes/counters.ts';
import { createStream } from './routes/stream.ts';
import * as settings from './settings.ts';
import { createStoredProgress } from './stored-watch.ts';

/** From a request to its answer. */
export function buildAccept(config: Config, worker: number, logger: Logger, onJournalFailed: (error: Error) => void) {
  const model = createEventModel({ eventTypes: config.eventTypes, limits: settings.eventLimits(config) });
  const stored = createStoredProgress({ ...settings.ackTimeout(config), onWait: () => link.flush() });
  const journal = openJournal({
    ...settings.journal(config, worker, logger),
    disk: createDisk(),
    onDurable: (seq) => link.durable(seq),
    onFailed: onJournalFailed,
  });
  const link = createDeliverLink({ ...deliverPaths(config), journal, stored });
  const gate = createGate(createAccept({ model, journal, stored, wallMs: Date.now }));
  const ingestion = settings.ingestion({ gate, journal, stored, link });
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
  });
  return { journal, link, gate, stream, server };
}

/** From the journal to the store. */
export function buildDeliver(config: Config, store: Store, logger: Logger, onFatal: (error: unknown) => void) {
  const sink = createStoreSink(store, { logger });
  const state = openState(settings.stateFile(config));
  const delivery = createDelivery({
    state,
    sinks: [sink],
    limits: settings.deliveryLimits(config),
    logger,
    onProgress: (journal, name, seq) => hub.progress(journal, name, seq),
    onRelease: (journal, seq) => hub.release(journal, seq),
    onFatal,
  });
  const query = createQueryService(store, settings.queryLimits(config), { logger });
  const hub = createDeliverHub({
    ...deliverPaths(config),
    disk: createDisk(),
    dataFolder: config.dataFolder,
    delivery,
    query,
    logger,
    onFatal,
  });
  return { sink, state, delivery, query, hub };
}
