/**
 * One journal to one sink: cut a block, send it until it is done, commit, go on. At most one block is in memory.
 *
 * A crash may come anywhere. Before the cut is committed nothing was sent. After it the same range is sent again under
 * the same token, marked ambiguous, until cursor, counters and the end of the block are committed together.
 *
 * A block that the sink refuses for its rows is replaced by its first half, and so on down to single rows, which become
 * dead letters. What is cut next ends where the part known to be bad ends, so that finding one row among n takes about
 * 2 log n sends.
 */
import { JournalGapError, type JournalReader } from '@libs/journal';
import { createBatcher, Permanent } from '@libs/pipeline';
import { createBell } from './bell.ts';
import { type CountedBlock, createBlockCutter, type Place } from './block-cutter.ts';
import { createBlockSender, unsettled } from './block-sender.ts';
import type { DeliveryClock, DeliveryLimits, DeliverySignals } from './limits.ts';
import { STORE_SINK } from './messages.ts';
import { createPersist } from './persist.ts';
import { createRefusals } from './refusals.ts';
import type { DeliveryLogger, SinkRunner } from './sink-runner.ts';
import type { PlacedCursor, State } from './state.ts';

export interface WorkerOptions extends DeliverySignals {
  readonly reader: JournalReader;
  readonly runner: SinkRunner;
  readonly state: State;
  readonly limits: DeliveryLimits;
  readonly blockIntervalMs: number;
  readonly clock: DeliveryClock;
  readonly logger: DeliveryLogger;
  /** Where the sink is. */
  readonly cursor: PlacedCursor;
  readonly onProgress: (seq: number) => void;
}

export interface Worker {
  /** Resolves once delivery has drained or halted, or the sink has stopped. Rejects for bugs and a state that fails. */
  run(): Promise<void>;
  /** More may be durable. */
  nudge(): void;
  /** Somebody waits for the next block. */
  flush(): void;
  /** What the sink is not done with. Never throws. */
  pending(): Pending;
}

export interface Pending {
  readonly events: number;
  /** An estimate. */
  readonly bytes: number;
  /** Frame time of the oldest of them; undefined when there is none, or it cannot be read. */
  readonly oldestMs: number | undefined;
}

interface Work extends CountedBlock {
  /** Sends that may have begun before this one: of the process before, or of the block that this is a part of. */
  readonly recordedAttempts: number;
  readonly ambiguous: boolean;
}

/** How long a worker sleeps when nobody wakes it. */
const POLL_MS = 50;

/** Rows that are durable can be read; when they cannot for so long, a new process may do better. */
const UNREADABLE_MS = 10_000;

export function createWorker(options: WorkerOptions): Worker {
  const { reader, runner, state, limits, clock, logger, drain, halt } = options;
  const place = { journal: reader.journal, sink: runner.sink.name };
  const waits = AbortSignal.any([drain, halt, runner.stopped]);
  const bell = createBell();
  const cutter = createBlockCutter(reader, { rowsMax: limits.blockRowsMax, bytesMax: limits.blockBytesMax });
  const batcher = createBatcher(
    {
      rowsMax: limits.blockRowsMax,
      bytesMax: limits.blockBytesMax,
      intervalMs: limits.flushIntervalMs,
      paceMs: options.blockIntervalMs,
    },
    clock.nowMs,
  );
  const persist = createPersist({
    limits: { minMs: limits.retryMinMs, maxMs: limits.retryMaxMs },
    clock,
    waits,
    halt,
    onDiskFull(error) {
      runner.noteFailure(error);
      logger.warn({ ...place, err: error }, 'the disk is too full for the state database');
    },
  });
  const refusals = createRefusals({ ...options, persist, waits });
  const sender = createBlockSender({ ...options, journal: place.journal, persist, refusals, waits });
  let cursor = options.cursor.seq;
  let { frameSeq, doubtSeq, sinceMs } = options.cursor;
  let cutSeq = cursor;
  let bytesPerRow = 0;
  let oldestMs: number | undefined;
  /** Ends of nested parts that are known to hold a row which is refused, the smallest last. */
  let suspects: number[] = [];
  /** Rows behind the cursor that are stored or dead letters. */
  const settled = new Set<number>();

  const ended = (): boolean => halt.aborted || runner.stopped.aborted;
  const here = (): Place => ({ seq: cursor, frameSeq });

  /** What waits is known in rows; its bytes are estimated by the last block's. */
  function observe(): void {
    const rows = reader.durableSeq() - cutSeq;
    batcher.waiting(rows, rows * bytesPerRow);
  }

  /** Before a block was cut, the next frame says what rows are like and how old they are. */
  function estimate(): void {
    // Later on, what is behind the block on its way is younger than the flush interval.
    if (bytesPerRow > 0) return;
    try {
      const frame = cutter.peek(here());
      oldestMs ??= frame?.timeMs;
      if (frame !== undefined) bytesPerRow = frame.bytes / frame.rows;
    } catch (error) {
      // The sink stops for this, or has done so; the figures are merely missing.
      if (!(error instanceof JournalGapError)) throw error;
    }
  }

  /** Frames of before this sink was configured are passed over. */
  async function skipOlder(): Promise<void> {
    while (sinceMs > 0) {
      const skippedSeq = cutter.skipOlder(here(), sinceMs);
      if (skippedSeq === undefined) {
        if (cutter.peek(here()) !== undefined) sinceMs = 0;
        return;
      }
      const from = cursor;
      await persist(() => state.skipTo(place.journal, place.sink, from, skippedSeq));
      cursor = skippedSeq;
      frameSeq = skippedSeq;
      cutSeq = skippedSeq;
      options.onProgress(cursor);
    }
  }

  async function cutNext(): Promise<Work | undefined> {
    await skipOlder();
    suspects = suspects.filter((endSeq) => endSeq > cursor);
    const work = cutter.cut(here(), suspects.at(-1));
    if (work === undefined) return undefined;
    await persist(() => state.cutBlock(cutOf(work)));
    const { lastSeq, byteLength } = work.block;
    cutSeq = lastSeq;
    bytesPerRow = byteLength / (lastSeq - cursor);
    oldestMs = work.run.extents[0]?.timeMs;
    batcher.taken();
    observe();
    return { ...work, recordedAttempts: 0, ambiguous: cursor < doubtSeq };
  }

  function cutOf({ block, frameSeq: endSeq }: CountedBlock) {
    const { firstSeq, lastSeq, byteLength, token } = block;
    return { ...place, firstSeq, lastSeq, frameSeq: endSeq, byteLength, token };
  }

  /** Waits until a block is due and cuts it; undefined when there is to be no more. */
  async function next(): Promise<Work | undefined> {
    let unreadableSinceMs: number | undefined;
    while (!ended()) {
      observe();
      const dueMs = drain.aborted || suspects.some((endSeq) => endSeq > cursor) ? 0 : batcher.dueInMs();
      if (dueMs === 0) {
        const before = cursor;
        const work = await cutNext();
        if (work !== undefined || drain.aborted) return work;
        unreadableSinceMs = cursor > before ? clock.nowMs() : (unreadableSinceMs ?? clock.nowMs());
        if (clock.nowMs() - unreadableSinceMs > UNREADABLE_MS) {
          throw new Error(`journal ${place.journal} does not give event ${cursor + 1}, which is durable`);
        }
      }
      await bell.wait(dueMs === undefined || dueMs === 0 ? POLL_MS : Math.min(dueMs, POLL_MS));
      // Perhaps nobody is there to nudge us: then a frame shows only to those who look for it.
      if (reader.durableSeq() <= cutSeq && !ended()) cutter.peek(here());
    }
    return undefined;
  }

  /** The block that was on its way when the process ended, made again from the journal; undefined when there is none. */
  async function recover(): Promise<Work | undefined> {
    cutter.peek(here());
    const recorded = state.findBlock(place.journal, place.sink);
    if (recorded === undefined) return undefined;
    const { firstSeq, lastSeq, attempts, ambiguous } = recorded;
    cutSeq = lastSeq;
    for (const seq of state.deadLetters.seqsWithin(place.journal, place.sink, firstSeq, lastSeq)) settled.add(seq);
    for (;;) {
      const work = cutter.cutAgain(recorded, here());
      if (work !== undefined) {
        oldestMs = work.run.extents[0]?.timeMs;
        logger.info({ ...place, firstSeq, lastSeq, attempts, ambiguous }, 'a block was on its way: sending it again');
        return { ...work, recordedAttempts: attempts, ambiguous: ambiguous || cursor < doubtSeq };
      }
      await bell.wait(POLL_MS);
      waits.throwIfAborted();
    }
  }

  async function deliver(work: Work): Promise<void> {
    const { block, counts } = work;
    const before = { recordedAttempts: work.recordedAttempts, ambiguous: work.ambiguous, settled };
    const retries = await sender.send(work, before);
    const { firstSeq, lastSeq } = block;
    // Every sink sees every row, but an event is counted once: as it passes the sink that every Weir has.
    const counted = place.sink === STORE_SINK ? counts : [];
    await persist(() => state.finishBlock(cutOf(work), counted, retries));
    cursor = lastSeq;
    runner.noteFinished(lastSeq - firstSeq + 1);
    frameSeq = work.frameSeq;
    oldestMs = undefined;
    if (settled.size > 0) for (const seq of settled) if (seq <= cursor) settled.delete(seq);
    options.onProgress(cursor);
  }

  /** The sink refuses something in the block and has stored nothing of it: its first half, or the one row's letter. */
  async function narrow(work: Work, refused: Permanent): Promise<Work> {
    const { firstSeq, lastSeq } = work.block;
    const left = unsettled(work.block, settled);
    const inDoubt = sender.isInDoubt();
    if (firstSeq === lastSeq || left?.size === 1) {
      const seq = left === undefined ? firstSeq : ([...left][0] as number);
      const { code, message } = refused;
      await refusals.record(work, [{ seq, code, message, permanent: true }], sender.attempts(), false);
      settled.add(seq);
      return { ...work, recordedAttempts: sender.attempts(), ambiguous: inDoubt };
    }
    const beginning = cutter.shorten(work, here(), firstSeq + Math.floor((lastSeq - firstSeq - 1) / 2));
    await persist(() => state.shortenBlock(cutOf(work), cutOf(beginning), inDoubt));
    if (inDoubt) doubtSeq = Math.max(doubtSeq, lastSeq);
    suspects.push(lastSeq);
    cutSeq = beginning.block.lastSeq;
    logger.info({ ...place, firstSeq, lastSeq, code: refused.code }, 'a row of a block is refused: halving the block');
    return { ...beginning, recordedAttempts: 0, ambiguous: inDoubt };
  }

  /** Gives what to go on with when the sink refuses something in the block. */
  async function deliverOrNarrow(work: Work): Promise<Work | undefined> {
    try {
      await deliver(work);
      return undefined;
    } catch (error) {
      if (error instanceof Permanent && error.scope === 'rows') return narrow(work, error);
      throw error;
    }
  }

  async function work(): Promise<void> {
    cutter.peek(here());
    await sender.connect();
    let block = (await recover()) ?? (await next());
    while (block !== undefined) block = (await deliverOrNarrow(block)) ?? (await next());
  }

  async function run(): Promise<void> {
    const ring = (): void => bell.ring();
    waits.addEventListener('abort', ring);
    try {
      await work();
    } catch (error) {
      if ([drain, halt, runner.stopped].some((signal) => signal.aborted && signal.reason === error)) return;
      if (!(error instanceof Permanent || error instanceof JournalGapError)) throw error;
      const code = error instanceof Permanent ? error.code : `cursor_${error.kind}`;
      runner.stop({ code, message: error.message, journal: place.journal, seq: cursor + 1, cause: error });
    } finally {
      waits.removeEventListener('abort', ring);
    }
  }

  return {
    run,
    nudge() {
      observe();
      if (batcher.dueInMs() === 0) bell.ring();
    },
    flush() {
      batcher.flush();
      bell.ring();
    },
    pending() {
      const events = Math.max(0, reader.durableSeq() - cursor);
      if (events === 0) return { events, bytes: 0, oldestMs: undefined };
      estimate();
      return { events, bytes: Math.round(events * bytesPerRow), oldestMs };
    },
  };
}
