/**
 * What instances share, as this process uses it: the dedupe window (claims, confirms, and what a crash left unconfirmed), and
 * the bus on which they tell each other what has been stored.
 */
import {
  type ConfirmationBus,
  createConfirmationBus,
  createSharedWindow,
  type SharedWindow,
} from '@libs/database/redis';
import { type Disk, type Journal, type JournalFolder, listJournals, openJournalReader } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import { journalTag } from '@libs/pipeline';
import { type Claims, createClaims } from './claims.ts';
import { recentKeys } from './recent-keys.ts';

export interface SharedDedupeOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly windowMs: number;
  readonly claimMs: number;
  readonly claimKeysMax: number;
  readonly disk: Disk;
  readonly dataFolder: string;
  readonly journal: Journal;
  readonly logger: Logger;
}

export interface SharedDedupe {
  readonly claims: Claims;
  readonly health: SharedWindow['health'];
  /** Open from `start` to `stop`. */
  readonly bus: ConfirmationBus;
  /**
   * Up to this sequence number of the journal, ids have had time to be confirmed. Segments behind it must not be condensed:
   * after a crash nothing could tell Redis any more what stood in them.
   */
  settledSeq(): number;
  /** Connects, and begins to confirm what is durable here already. Waits a second at most for Redis. */
  start(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
}

/** A claim is renewed when it is older than this part of its life. */
const STALE_SHARE = 1 / 3;
/** Far more than a confirm takes while Redis answers: 100 ms until it leaves, and the time limit of a call. */
const SETTLE_MS = 1_000;
/** A Redis that is well is connected by then; one that takes the connection and says nothing is only given up after seconds. */
const CONNECT_WAIT_MS = 1_000;

export function createSharedDedupe(options: SharedDedupeOptions): SharedDedupe {
  const { journal, logger, claimMs } = options;
  const hash = new Uint32Array(4);
  const ending = new AbortController();
  let confirming: Promise<unknown> = Promise.resolve();
  let isConnecting = true;
  let isReading = true;
  let settled = 0;
  let settling = { seq: journal.durableSeq(), sinceMs: performance.now() };

  function isAppended(key: string): boolean {
    journal.hash(key, hash);
    return journal.find(hash) !== 0;
  }

  const window = createSharedWindow(
    {
      url: options.url,
      owner: journal.id,
      epoch: String(Date.now()),
      durableSeq: journal.durableSeq,
      timeoutMs: options.timeoutMs,
      windowMs: options.windowMs,
      claimMs,
    },
    { logger, isAppended },
  );
  const bus = createConfirmationBus({ url: options.url }, { logger });
  const limits = { keysMax: options.claimKeysMax, staleMs: claimMs * STALE_SHARE };
  const claims = createClaims(window, limits, () => performance.now());

  /** Without Redis the journal must not grow for its sake. */
  function settledSeq(): number {
    if (isConnecting || (isReading && window.health().state === 'healthy')) return 0;
    const nowMs = performance.now();
    if (nowMs - settling.sinceMs >= SETTLE_MS) {
      settled = settling.seq;
      settling = { seq: journal.durableSeq(), sinceMs: nowMs };
    }
    return settled;
  }

  /** Our own journal, and those that nobody writes any more: their processes died without us. */
  async function confirmRecent(): Promise<void> {
    const folders = listJournals(options.disk, options.dataFolder);
    const ends = new Map(journal.leftovers().map((one) => [one.journal, one.lastSeq]));
    ends.set(journal.id, journal.durableSeq());
    try {
      for (const folder of folders) {
        const lastSeq = ends.get(folder.journal);
        if (lastSeq !== undefined) await confirmJournal(folder, lastSeq);
      }
    } catch (error) {
      if (!ending.signal.aborted)
        logger.warn({ err: error }, 'what was durable before the start could not be confirmed');
    } finally {
      isReading = false;
    }
  }

  async function confirmJournal(folder: JournalFolder, lastSeq: number): Promise<void> {
    const reader = openJournalReader(options.disk, folder);
    try {
      const keys = recentKeys(reader, lastSeq, Date.now() - options.windowMs);
      const from = { journalTag: journalTag(folder.journal), throughSeq: lastSeq };
      const events = await window.confirmAll(keys, ending.signal, from);
      logger.debug({ ...folder, events }, 'what was durable before the start is confirmed to other instances');
    } finally {
      reader.close();
    }
  }

  return {
    claims,
    health: window.health,
    bus,
    settledSeq,
    async start() {
      bus.open();
      const connected = window.connect().then(() => {
        isConnecting = false;
        if (!ending.signal.aborted) confirming = confirmRecent();
      });
      await Promise.race([connected, Bun.sleep(CONNECT_WAIT_MS)]);
    },
    async stop(signal) {
      ending.abort(new Error('the process ends'));
      bus.close();
      await confirming;
      await window.close(signal);
    },
  };
}
