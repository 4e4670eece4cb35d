/**
 * One journal to one sink: cut a block, send it until it is done, commit, go on. At most one block is in memory.
 *
 * A crash may come anywhere. Before the cut is committed nothing was sent. After it the same range is sent again under
 * the same token, marked ambiguous, until cursor, counters and the end of the block are committed together.
 */
import { JournalGapError, type JournalReader } from '@libs/journal';
import { createBatcher, Permanent } from '@libs/pipeline';
import { createBell } from './bell.ts';
import { type CountedBlock, createBlockCutter } from './block-cutter.ts';
import { createBlockSender, RowRefused } from './block-sender.ts';
import type { DeliveryClock, DeliveryLimits, DeliverySignals } from './limits.ts';
import { STORE_SINK } from './messages.ts';
import { createPersist } from './persist.ts';
import type { DeliveryLogger, SinkRunner } from './sink-runner.ts';
import type { RecordedBlock, State } from './state.ts';

export interface WorkerOptions extends DeliverySignals {
  readonly reader: JournalReader;
  readonly runner: SinkRunner;
  readonly state: State;
  readonly limits: DeliveryLimits;
  readonly clock: DeliveryClock;
  readonly logger: DeliveryLogger;
  /** The last sequence number that the sink is done with. */
  readonly cursorSeq: number;
  readonly onProgress: (seq: number) => void;
}

export interface Worker {
  /** Resolves once delivery has drained or halted, or the sink has stopped. Rejects for bugs and a state that fails. */
  run(): Promise<void>;
  /** More may be durable. */
  nudge(): void;
  /** Somebody waits for the next block. */
  flush(): void;
}

interface Work extends CountedBlock {
  /** Set when the block was found cut at the start. */
  readonly recorded?: RecordedBlock;
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
    { rowsMax: limits.blockRowsMax, bytesMax: limits.blockBytesMax, intervalMs: limits.flushIntervalMs },
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
  const sender = createBlockSender({ ...options, journal: place.journal, persist, waits });
  let cursor = options.cursorSeq;
  let cutSeq = cursor;
  let bytesPerRow = 0;

  const ended = (): boolean => halt.aborted || runner.stopped.aborted;

  /** What waits is known in rows; its bytes are estimated by the last block's. */
  function observe(): void {
    const rows = reader.durableSeq() - cutSeq;
    batcher.waiting(rows, rows * bytesPerRow);
  }

  async function cutNext(): Promise<Work | undefined> {
    const work = cutter.cut(cursor);
    if (work === undefined) return undefined;
    const { firstSeq, lastSeq, byteLength, token } = work.block;
    await persist(() => state.cutBlock({ ...place, firstSeq, lastSeq, byteLength, token }));
    cutSeq = lastSeq;
    bytesPerRow = byteLength / (lastSeq - cursor);
    batcher.taken();
    observe();
    return work;
  }

  /** Waits until a block is due and cuts it; undefined when there is to be no more. */
  async function next(): Promise<Work | undefined> {
    let unreadableSinceMs: number | undefined;
    while (!ended()) {
      observe();
      const dueMs = drain.aborted ? 0 : batcher.dueInMs();
      if (dueMs === 0) {
        const work = await cutNext();
        if (work !== undefined || drain.aborted) return work;
        unreadableSinceMs ??= clock.nowMs();
        if (clock.nowMs() - unreadableSinceMs > UNREADABLE_MS) {
          throw new Error(`journal ${place.journal} does not give event ${cursor + 1}, which is durable`);
        }
      }
      await bell.wait(dueMs === undefined || dueMs === 0 ? POLL_MS : Math.min(dueMs, POLL_MS));
      // Perhaps nobody is there to nudge us: then a frame shows only to those who look for it.
      if (reader.durableSeq() <= cutSeq && !ended()) cutter.peek(cursor);
    }
    return undefined;
  }

  /** The block that was on its way when the process ended, made again from the journal; undefined when there is none. */
  async function recover(): Promise<Work | undefined> {
    cutter.peek(cursor);
    const recorded = state.findBlock(place.journal, place.sink);
    if (recorded === undefined) return undefined;
    cutSeq = recorded.lastSeq;
    for (;;) {
      const work = cutter.cutAgain(recorded, cursor);
      if (work !== undefined) {
        const { firstSeq, lastSeq, attempts, ambiguous } = recorded;
        logger.info({ ...place, firstSeq, lastSeq, attempts, ambiguous }, 'a block was on its way: sending it again');
        return { ...work, recorded };
      }
      await bell.wait(POLL_MS);
      waits.throwIfAborted();
    }
  }

  async function deliver({ block, counts, recorded }: Work): Promise<void> {
    const before = { isRecorded: recorded !== undefined, ambiguous: recorded?.ambiguous ?? false };
    const retries = await sender.send(block, before);
    const { firstSeq, lastSeq, byteLength, token } = block;
    // Every sink sees every row, but an event is counted once: as it passes the sink that every Weir has.
    const counted = place.sink === STORE_SINK ? counts : [];
    await persist(() => state.finishBlock({ ...place, firstSeq, lastSeq, byteLength, token }, counted, retries));
    cursor = lastSeq;
    runner.noteFinished(lastSeq - firstSeq + 1);
    options.onProgress(cursor);
  }

  async function work(): Promise<void> {
    await sender.connect();
    let block = (await recover()) ?? (await next());
    while (block !== undefined) {
      await deliver(block);
      block = await next();
    }
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
      const seq = error instanceof RowRefused ? error.seq : cursor + 1;
      runner.stop({ code, message: error.message, journal: place.journal, seq, cause: error });
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
  };
}
