/** The journal that one accept process appends to: recovery, dedupe index, group commit, retention. */
import { randomBytes, randomUUID } from 'node:crypto';
import { dirname } from 'node:path';
import { type Committer, createCommitter, type Durable, frameBytesBound } from './commit.ts';
import { createDedupeIndex, createIdHasher, type DedupeLimits, type IdHash } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { damaged, JournalRefusal } from './errors.ts';
import { checksum } from './format.ts';
import { type ClockSources, createFrameClock, SYSTEM_CLOCK } from './frame-clock.ts';
import { type Leftover, openLeftover, removeRemains } from './leftover.ts';
import { activeFolderName, type JournalFolder, journalFolders, journalsFolder } from './names.ts';
import { type Recovered, recover } from './recovery.ts';
import { loadSecret } from './secret.ts';
import { openSegments } from './segments.ts';
import type { SegmentLimits } from './spares.ts';
import type { JournalState } from './state.ts';

export interface JournalLimits extends SegmentLimits, DedupeLimits {}

export interface JournalOptions {
  readonly disk: Disk;
  /** The data folder; the journal stands in `journals/w<worker>-<uuid>` below it. */
  readonly dataFolder: string;
  readonly worker: number;
  /** How many workers there are: the first one looks after the journals that belong to none of them. */
  readonly workers: number;
  readonly limits: JournalLimits;
  /** A fact for the operator's log. */
  readonly log: (message: string, fields: Record<string, unknown>) => void;
  /**
   * Segments beyond this sequence number are not condensed yet, though every sink has them. Asked at every release and
   * once a second. Default: none is kept for longer than the sinks need it.
   */
  readonly settledSeq?: () => number;
  /** Everything up to and including `seq` is durable. */
  readonly onDurable: (seq: number) => void;
  /** The disk refused a write or a sync: answer what waits with `retry`, then end the process. */
  readonly onFailed: (error: Error) => void;
  readonly clock?: ClockSources;
  readonly newSalt?: () => bigint;
}

/** A journal that is no longer written, and its last sequence number: all of it is durable. */
export interface LeftoverEnd {
  readonly journal: string;
  readonly lastSeq: number;
}

/** Why a row cannot be appended now. */
export interface NoRoom {
  readonly code: 'journal_full' | 'overloaded' | 'journal_failed' | 'shutting_down';
  readonly message: string;
  readonly afterMs: number;
}

export interface Journal {
  readonly id: string;
  /** Hashes a dedupe key (storeId, NUL, eventId) into four words. */
  readonly hash: (key: string, target: IdHash) => void;
  /** Makes the questions about these ids, four words each, cheaper when there are many. */
  prefetch(ids: Uint32Array): void;
  /** The sequence number that holds this id within the window, durable or not yet; 0 when none does. */
  find(id: IdHash): number;
  /** True when a journal that is no longer written holds this id within the window. */
  wasSeen(id: IdHash): boolean;
  /** Which of them that is. */
  seenIn(id: IdHash): LeftoverEnd | undefined;
  /** Journals that are no longer written. */
  leftovers(): readonly LeftoverEnd[];
  /** The sequence number that the next appended row gets. */
  nextSeq(): number;
  /**
   * Asks, before `append`, whether rows of this many UTF-16 units in all can be taken now; `textBytes` is their length
   * in UTF-8 where it is known.
   */
  noRoom(textLength: number, count: number, textBytes?: number): NoRoom | undefined;
  /** Rows that are appended at once may have this many bytes, ids and all: whoever has more cuts them into pieces. */
  readonly frameBytesMax: number;
  /** Adds an id as the next sequence number and returns it. Its row must follow in the next `append`. */
  claim(id: IdHash): number;
  /** Appends the rows (JSONEachRow text) of the ids just claimed, in one frame. */
  append(text: string, count: number): Durable;
  /** Writes what was appended now instead of when this turn of the event loop ends: nothing more of it will come. */
  commit(): void;
  durableSeq(): number;
  /** What a sequence number that `find` gave waits for. */
  durableOf(seq: number): Durable;
  /** Every sink has everything of that journal (this one or a leftover) up to and including `seq`. */
  release(journal: string, seq: number): void;
  state(): JournalState;
  /** No more appends; resolves once all that was appended is durable (true) or has failed, and the files are closed. */
  close(): Promise<boolean>;
}

const TICK_MS = 1_000;
const JUMP_LOGGED_MS = 3_600_000;
const RETRY_FULL_MS = 5_000;
/** At the limit, large batches find no room and small ones do, by turns: that is said once in a while. */
const FULL_LOG_INTERVAL_MS = 10_000;
const RETRY_SOON_MS = 250;
/** A frame's upper bound is a quarter of a segment, what may wait is half of one: one spare always takes it all. */
const FRAMES_PER_SEGMENT = 4;

/** Recovers the worker's journal, or makes a new one. Throws `JournalRefusal` when it must not be touched. */
export function openJournal(options: JournalOptions): Journal {
  const { disk, limits, log } = options;
  const clockSources = options.clock ?? SYSTEM_CLOCK;
  const root = journalsFolder(options.dataFolder);
  disk.makeFolder(root);
  const known = journalFolders(root, disk.list(root));
  const secret = loadSecret(disk, options.dataFolder, known.length > 0);
  const secretCheck = checksum(secret, 0n);
  const { id, folder } = ownFolder(known, root, options.worker);
  disk.makeFolder(folder);
  // Whoever made these names may have died before they were synced, and from now on acknowledged events lie below them.
  disk.syncFolder(root);
  disk.syncFolder(options.dataFolder);
  syncParent(disk, options.dataFolder);

  const recovered = recover(disk, folder, secretCheck, limits, clockSources.wallMs());
  if (recovered !== undefined && recovered.journal !== id)
    throw damaged(folder, 0, `its segments belong to journal ${recovered.journal}`);
  if (recovered !== undefined) reportRecovery(recovered, clockSources.wallMs(), log);
  const clock = createFrameClock(recovered?.lastMs ?? 0, clockSources);
  const index = recovered?.index ?? createDedupeIndex(limits, 1);
  const newSalt = options.newSalt ?? (() => randomBytes(8).readBigUInt64LE());
  const segments = openSegments(
    { disk, folder, limits, journal: id, secretCheck, index, newSalt },
    recovered,
    clock.nowMs(),
  );
  index.expire(clock.nowMs());
  if (recovered?.lastFrame !== undefined) {
    // Its sync may have failed, or never have been asked for: nothing may follow from it before it is durable.
    disk.write(segments.active().fd, recovered.lastFrame.bytes, recovered.lastFrame.offset);
    disk.sync(segments.active().fd);
  }

  let leftovers = options.worker === 0 ? openLeftovers(options, known, secretCheck, clock.nowMs()) : [];

  const frameBytesMax = Math.floor(limits.segmentBytes / FRAMES_PER_SEGMENT);
  const waitingBytesMax = frameBytesMax * 2;
  let state: JournalState['state'] = 'open';
  let reason: string | undefined;
  let releasedSeq = (recovered?.segments[0]?.firstSeq ?? 1) - 1;
  let growth = { atMs: clock.nowMs(), bytes: 0, perSecond: 0 };

  const committer: Committer = createCommitter(
    {
      disk,
      segments,
      index,
      nowMs: clock.nowMs,
      monotonicMs: clockSources.monotonicMs,
      frameBytesMax,
      onDurable: options.onDurable,
      onFailed(error) {
        state = 'failed';
        reason = error.message;
        options.onFailed(error);
      },
    },
    { nextFrame: recovered?.nextFrame ?? 1, durableSeq: (recovered?.nextSeq ?? 1) - 1 },
  );
  segments.checkDisk();
  void segments.prepare();
  const ticker = setInterval(tick, TICK_MS);
  let claimedFrom = 0;
  let fullLoggedMs = Number.NEGATIVE_INFINITY;
  let isFullLogged = false;
  let closing: Promise<boolean> | undefined;

  function tick(): void {
    const nowMs = clock.nowMs();
    index.expire(nowMs, committer.durableSeq() + 1);
    const bytes = pendingBytes();
    const seconds = Math.max(1, nowMs - growth.atMs) / 1_000;
    growth = { atMs: nowMs, bytes, perSecond: (growth.perSecond * 4 + (bytes - growth.bytes) / seconds) / 5 };
    releaseSegments();
    void segments.prepare();
    try {
      segments.checkDisk();
      segments.dropColumns(nowMs - limits.windowMs);
      leftovers = leftovers.filter((one) => !one.sweep(nowMs));
    } catch (error) {
      // What the disk refuses has a code; anything else is a bug.
      if (!(error instanceof Error && 'code' in error)) throw error;
      log('The journal could not be tidied up; it is tried again', { journal: id, reason: error.message });
    }
  }

  const pendingBytes = (): number => segments.pendingBytes(releasedSeq, index.nextSeq() - 1);

  function noRoom(textLength: number, count: number, textBytes?: number): NoRoom | undefined {
    if (state === 'failed')
      return refusal('journal_failed', 'the journal could not be written; the service restarts', RETRY_SOON_MS);
    if (state === 'closed') return refusal('shutting_down', 'the service is shutting down', RETRY_SOON_MS);
    const lowDisk = segments.lowDisk();
    if (lowDisk !== undefined) return full(lowDisk);
    const bytes = committer.waitingBytes() + frameBytesBound(textLength, count, textBytes);
    if (bytes > waitingBytesMax && committer.waitingBytes() > 0)
      return refusal('overloaded', 'too much is waiting for the disk', RETRY_SOON_MS);
    if (bytes > segments.room() && segments.spares() === 0) {
      const noSpare = segments.noSpare();
      if (noSpare !== undefined) return full(noSpare);
      void segments.prepare();
      return refusal('overloaded', 'the next segment of the journal is still being made', RETRY_SOON_MS);
    }
    if (state === 'full' && isFullLogged) {
      isFullLogged = false;
      log('The journal takes events again', { journal: id });
    }
    state = 'open';
    return undefined;
  }

  function full(why: string): NoRoom {
    const nowMs = clockSources.monotonicMs();
    if (state !== 'full' && nowMs - fullLoggedMs >= FULL_LOG_INTERVAL_MS) {
      fullLoggedMs = nowMs;
      isFullLogged = true;
      log('The journal is full: events are answered with 503 until there is room', { journal: id, reason: why });
    }
    state = 'full';
    reason = why;
    return refusal('journal_full', `the journal is full: ${why}`, RETRY_FULL_MS);
  }

  function claim(hash: IdHash): number {
    const seq = index.nextSeq();
    if (claimedFrom === 0) claimedFrom = seq;
    index.add(hash, seq, committer.frameTimeMs());
    return seq;
  }

  function append(text: string, count: number): Durable {
    const firstSeq = claimedFrom;
    if (index.nextSeq() - firstSeq !== count)
      throw new Error(`${index.nextSeq() - firstSeq} ids were claimed for ${count} rows`);
    claimedFrom = 0;
    return committer.join(text, count, firstSeq, committer.frameTimeMs());
  }

  function release(journal: string, seq: number): void {
    if (journal === id) releaseOwn(seq);
    else leftovers.find((one) => one.journal === journal)?.release(seq);
  }

  function releaseOwn(seq: number): void {
    if (seq <= releasedSeq || state === 'failed' || state === 'closed') return;
    releasedSeq = Math.min(seq, committer.durableSeq());
    releaseSegments();
  }

  function releaseSegments(): void {
    segments
      .release(Math.min(releasedSeq, options.settledSeq?.() ?? releasedSeq))
      .catch((error: Error) =>
        log('A delivered segment could not be condensed; it is tried again', { journal: id, reason: error.message }),
      );
  }

  /** Full is full also when nobody asks: a load balancer that sees 503 sends nothing that could ask. */
  function fullReason(): string | undefined {
    const noSpare = segments.spares() === 0 && segments.room() < frameBytesMax ? segments.noSpare() : undefined;
    return segments.lowDisk() ?? noSpare;
  }

  function currentState(): JournalState {
    const bytes = pendingBytes();
    const left = limits.bytesMax - bytes;
    const whyFull = fullReason();
    const isOver = state === 'failed' || state === 'closed';
    const shown = isOver ? state : whyFull === undefined ? 'open' : 'full';
    const why = isOver ? reason : whyFull;
    return {
      state: shown,
      ...(why === undefined ? {} : { reason: why }),
      lastSeq: index.nextSeq() - 1,
      durableSeq: committer.durableSeq(),
      releasedSeq,
      pendingBytes: bytes,
      limitBytes: limits.bytesMax,
      ...(growth.perSecond > 0 ? { secondsUntilFull: Math.max(0, Math.round(left / growth.perSecond)) } : {}),
      segments: segments.count(),
      dedupeIds: index.size(),
      dedupeWindowMs: index.effectiveWindowMs(clock.nowMs()),
      ...committer.stats(),
    };
  }

  async function finish(): Promise<boolean> {
    if (state !== 'failed') state = 'closed';
    clearInterval(ticker);
    const flushed = await committer.drained();
    await segments.close();
    return flushed;
  }

  function close(): Promise<boolean> {
    closing ??= finish();
    return closing;
  }

  return {
    id,
    hash: createIdHasher(secret),
    prefetch: index.prefetch,
    find: index.find,
    wasSeen: (hash) => leftovers.length > 0 && leftovers.some((one) => one.has(hash)),
    seenIn(hash) {
      const found = leftovers.find((one) => one.has(hash));
      return found === undefined ? undefined : endOf(found);
    },
    leftovers: () => leftovers.map(endOf),
    nextSeq: index.nextSeq,
    noRoom,
    frameBytesMax,
    claim,
    append,
    commit: committer.commit,
    durableSeq: committer.durableSeq,
    durableOf: committer.durableOf,
    release,
    state: currentState,
    close,
  };
}

/** A folder that we may not even open is the operator's, who made our own in it. */
function syncParent(disk: Disk, folder: string): void {
  try {
    disk.syncFolder(dirname(folder));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
}

/** The folder of this worker's journal, or the one that a new journal gets. */
function ownFolder(known: readonly JournalFolder[], root: string, worker: number): { id: string; folder: string } {
  const [mine, another] = known.filter((one) => one.worker === worker);
  if (mine !== undefined && another !== undefined)
    throw new JournalRefusal(
      'two_journals',
      another.folder,
      undefined,
      `There are two journals of worker ${worker}, ${mine.folder} and ${another.folder}: move away the one that does not belong there, or run "weir doctor --restored" to have both delivered.`,
    );
  if (mine !== undefined) return { id: mine.journal, folder: mine.folder };
  const id = randomUUID();
  return { id, folder: `${root}/${activeFolderName(worker, id)}` };
}

function openLeftovers(
  options: JournalOptions,
  known: readonly JournalFolder[],
  secretCheck: bigint,
  nowMs: number,
): Leftover[] {
  removeRemains(options.disk, journalsFolder(options.dataFolder));
  return known
    .filter((one) => one.worker === undefined || one.worker >= options.workers)
    .map((one) => openLeftover(options, one, secretCheck, nowMs))
    .filter((one) => one !== undefined);
}

function endOf({ journal, lastSeq }: Leftover): LeftoverEnd {
  return { journal, lastSeq: lastSeq() };
}

function refusal(code: NoRoom['code'], message: string, afterMs: number): NoRoom {
  return { code, message, afterMs };
}

function reportRecovery(recovered: Recovered, wallMs: number, log: JournalOptions['log']): void {
  const { journal, torn, lastMs } = recovered;
  if (torn !== undefined)
    log('A frame that was never acknowledged was cut off at the end of the journal', { journal, ...torn });
  const jumpMs = wallMs - lastMs;
  if (Math.abs(jumpMs) > JUMP_LOGGED_MS)
    log('The clock stands far from the last frame of the journal', { journal, jumpMs, lastFrameMs: lastMs });
}
