/**
 * The first half of an event's path, in order and without logic: from a request to its answer. The second half is
 * pipeline-deliver.ts, in a process of its own; the two meet only at the journal.
 *
 *   routes, stream ─▶ accept: validate ─▶ dedupe ─▶ journal.append ─▶ answer
 *                                                      └─▶ the journal's files, and a nudge to deliver
 */
import { createDisk, openJournal } from '@libs/journal';
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
  return { journal, link, gate, stored, stream, server };
}
