/** Deliver's side of everything that is not delivery itself: which journals there are, the link, the query socket. */
import { rmSync } from 'node:fs';
import type { QueryService } from '@libs/database';
import type { Delivery } from '@libs/delivery';
import { type Disk, type JournalReader, listJournals, openJournalReader } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import { createLinkServer, type LinkServer, Refusal } from '@libs/runtime';
import type { Operators } from './deliver-operators.ts';
import { createWorkerBoard } from './worker-board.ts';
import type { ToAccept, ToDeliver } from './workers.ts';

export interface DeliverHubOptions {
  readonly linkPath: string;
  readonly queryPath: string;
  readonly disk: Disk;
  readonly dataFolder: string;
  readonly delivery: Delivery;
  readonly query: QueryService;
  readonly operators: Operators;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

export interface DeliverHub {
  start(): void;
  stop(): void;
  progress(journal: string, sink: string, seq: number): void;
  release(journal: string, seq: number): void;
}

/** Everything is said again this often, and new journals are looked for. */
const REPEAT_MS = 1_000;

export function createDeliverHub(options: DeliverHubOptions): DeliverHub {
  const { disk, dataFolder, delivery, query, logger } = options;
  const readers = new Map<string, JournalReader>();
  const board = createWorkerBoard(() => performance.now());
  let link: LinkServer<ToAccept> | undefined;
  let server: Bun.Server<undefined> | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;

  function start(): void {
    findJournals();
    link = createLinkServer<ToDeliver, ToAccept>({
      path: options.linkPath,
      onMessage: (from, message) => (message.t === 'worker' ? board.put(from.id, message.report) : hear(message)),
      onClose: ({ id }) => board.remove(id),
    });
    rmSync(options.queryPath, { force: true });
    server = Bun.serve({
      unix: options.queryPath,
      development: false,
      fetch: (request) => options.operators.handle(request) ?? query.handle(request),
    });
    timer = setInterval(repeat, REPEAT_MS);
    repeat();
  }

  function hear(message: Exclude<ToDeliver, { t: 'worker' }>): void {
    if (!readers.has(message.journal)) findJournals();
    if (message.t === 'durable') delivery.nudge(message.journal, message.seq);
    else delivery.flush(message.journal);
  }

  /** Journals come with a new accept process, and go when nobody writes them any more and all is delivered. */
  function findJournals(): void {
    const there = listJournals(disk, dataFolder);
    for (const [journal, reader] of readers) {
      if (there.some((one) => one.journal === journal)) continue;
      readers.delete(journal);
      delivery.remove(journal).then(() => reader.close(), options.onFatal);
    }
    for (const found of there) {
      if (readers.has(found.journal)) continue;
      const reader = openJournalReader(disk, found);
      const refusals = delivery.add(reader, () => openJournalReader(disk, found));
      if (refusals.length > 0) throw new Refusal(refusals.join(' '));
      readers.set(found.journal, reader);
    }
  }

  function repeat(): void {
    try {
      findJournals();
    } catch (error) {
      options.onFatal(error);
      return;
    }
    for (const { journal, sink, seq } of delivery.progress()) progress(journal, sink, seq);
    for (const { journal, seq } of delivery.releases()) release(journal, seq);
    const { user, system } = process.cpuUsage();
    say({
      t: 'state',
      sinks: delivery.sinkStates(),
      rssBytes: process.memoryUsage.rss(),
      cpuSeconds: (user + system) / 1e6,
    });
    const workers = board.all();
    if (workers.length > 0) say({ t: 'workers', workers });
  }

  const say = (message: ToAccept): void => link?.broadcast(message);
  const progress = (journal: string, sink: string, seq: number): void => say({ t: 'progress', journal, sink, seq });
  const release = (journal: string, seq: number): void => say({ t: 'release', journal, seq });

  function stop(): void {
    clearInterval(timer);
    link?.close();
    void server?.stop(true);
    for (const reader of readers.values()) reader.close();
    logger.debug({ journals: readers.size }, 'deliver no longer listens');
  }

  return { start, stop, progress, release };
}
