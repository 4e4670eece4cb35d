/** The dedupe window that instances share, as this process uses it: claims, confirms, and what a crash left unconfirmed. */
import { createSharedWindow, type SharedWindow } from '@libs/database/redis';
import { type Disk, type Journal, type JournalFolder, listJournals, openJournalReader } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import { type Claims, createClaims } from './claims.ts';
import { recentKeys } from './recent-keys.ts';
import { createReleaseDelay } from './release-delay.ts';

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
  /** Every sink has everything of that journal up to and including `seq`: passed on once its ids are confirmed. */
  readonly release: Journal['release'];
  /** Connects, and begins to confirm what is durable here already. Does not wait for Redis. */
  start(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
}

/** A claim is renewed when it is older than this part of its life. */
const STALE_SHARE = 1 / 3;
/** Far more than a confirm takes while Redis answers: 100 ms until it leaves, and the time limit of a call. */
const RELEASE_WAIT_MS = 1_000;

export function createSharedDedupe(options: SharedDedupeOptions): SharedDedupe {
  const { journal, logger, claimMs } = options;
  const hash = new Uint32Array(4);
  const ending = new AbortController();
  let confirming: Promise<unknown> = Promise.resolve();
  let isConnecting = true;
  let isReading = true;

  function isAppended(key: string): boolean {
    journal.hash(key, hash);
    return journal.find(hash) !== 0;
  }

  const window = createSharedWindow(
    {
      url: options.url,
      owner: journal.id,
      epoch: String(Date.now()),
      timeoutMs: options.timeoutMs,
      windowMs: options.windowMs,
      claimMs,
    },
    { logger, isAppended },
  );
  const limits = { keysMax: options.claimKeysMax, staleMs: claimMs * STALE_SHARE };
  const claims = createClaims(window, limits, () => performance.now());

  const ownReleases = createReleaseDelay({
    waitMs: RELEASE_WAIT_MS,
    // Without Redis the journal must not grow for its sake.
    isHeld: () => isConnecting || (isReading && window.health().state === 'healthy'),
    monotonicMs: () => performance.now(),
    onRelease: (seq) => journal.release(journal.id, seq),
  });

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
      const events = await window.confirmAll(keys, ending.signal);
      logger.debug({ ...folder, events }, 'what was durable before the start is confirmed to other instances');
    } finally {
      reader.close();
    }
  }

  return {
    claims,
    health: window.health,
    release(id, seq) {
      if (id === journal.id) ownReleases.release(seq);
      else journal.release(id, seq);
    },
    async start() {
      await window.connect();
      isConnecting = false;
      confirming = confirmRecent();
    },
    async stop(signal) {
      ending.abort(new Error('the process ends'));
      await confirming;
      await window.close(signal);
    },
  };
}
