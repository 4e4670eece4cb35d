/** Reads blocks from a journal: new ones, and again those that were cut before. */
import type { FrameView, JournalReader } from '@libs/journal';
import { type Block, Permanent } from '@libs/pipeline';
import { blockOf, joinFrames, type Run, sliceRun } from './block.ts';
import type { MinuteCount } from './counters.ts';
import { createRowCounter } from './row-counter.ts';
import type { CutBlock } from './state.ts';

export interface CountedBlock {
  readonly block: Block;
  readonly counts: readonly MinuteCount[];
  readonly run: Run;
  /** The last end of a frame at or before the block's last row. */
  readonly frameSeq: number;
}

/** Up to where a sink is: `frameSeq` is the last end of a frame at or before `seq`. */
export interface Place {
  readonly seq: number;
  readonly frameSeq: number;
}

/** The frame that comes next. */
export interface NextFrame {
  readonly rows: number;
  readonly bytes: number;
  readonly timeMs: number;
}

export interface BlockCutter {
  /** The next block; undefined while nothing more is durable. It ends at `untilSeq` at the latest, in mid-frame if need be. */
  cut(after: Place, untilSeq?: number): CountedBlock | undefined;
  /**
   * The block that was cut here before this process started; undefined while its end is not yet known to be durable.
   * Throws `Permanent` (`block_changed`) when the journal does not give the same bytes.
   */
  cutAgain(recorded: CutBlock, after: Place): CountedBlock | undefined;
  /** The beginning of a block that was cut behind `after`: rows up to and including `lastSeq`. */
  shorten(work: CountedBlock, after: Place, lastSeq: number): CountedBlock;
  /** The end of the frames right behind the place that are older than `sinceMs`; undefined when there are none. */
  skipOlder(after: Place, sinceMs: number): number | undefined;
  /**
   * Looks for a durable frame without anybody's word: `durableSeq` of the reader shows it then. Throws when the place
   * does not lie in the journal.
   */
  peek(after: Place): NextFrame | undefined;
}

/** All methods throw `JournalGapError` and `Permanent` for a journal that does not fit. */
export function createBlockCutter(
  reader: JournalReader,
  limits: { readonly rowsMax: number; readonly bytesMax: number },
): BlockCutter {
  const rowCounter = createRowCounter();

  function counted(run: Run, frameSeq: number): CountedBlock {
    return { block: blockOf(reader.journal, run), counts: rowCounter.count(run.bytes, run.extents), run, frameSeq };
  }

  /** A block from whole frames behind `after.frameSeq`, without what lies before the place and behind `untilSeq`. */
  function assemble(after: Place, frames: readonly FrameView[], untilSeq = Number.MAX_SAFE_INTEGER): CountedBlock {
    const lastSeq = Math.min(untilSeq, (frames.at(-1) as FrameView).lastSeq);
    const joined = joinFrames(after.frameSeq, frames);
    const isWhole = after.seq === after.frameSeq && lastSeq === frames.at(-1)?.lastSeq;
    const frameSeq = frames.findLast((frame) => frame.lastSeq <= lastSeq)?.lastSeq ?? after.frameSeq;
    return counted(isWhole ? joined : sliceRun(joined, after.seq + 1, lastSeq), frameSeq);
  }

  /** Whole frames up to the one that holds `lastSeq`; undefined while that one is not there. */
  function framesThrough(frameSeq: number, lastSeq: number): readonly FrameView[] | undefined {
    const rowsMax = lastSeq - frameSeq;
    const frames = [...reader.read(frameSeq, { rowsMax, bytesMax: Number.MAX_SAFE_INTEGER })];
    const ending = frames.at(-1)?.lastSeq ?? frameSeq;
    // A frame that goes on behind it is one too large for the limit.
    if (ending < lastSeq) frames.push(...reader.read(ending, { rowsMax: 1, bytesMax: 1 }));
    return (frames.at(-1)?.lastSeq ?? 0) < lastSeq ? undefined : frames;
  }

  function peek({ frameSeq }: Place): NextFrame | undefined {
    const [frame] = reader.read(frameSeq, { rowsMax: 1, bytesMax: 1 });
    if (frame === undefined) return undefined;
    const { firstSeq, lastSeq, payload, timeMs } = frame;
    return { rows: lastSeq - firstSeq + 1, bytes: payload.byteLength, timeMs };
  }

  return {
    cut(after, untilSeq) {
      const through = untilSeq === undefined ? undefined : framesThrough(after.frameSeq, untilSeq);
      if (through !== undefined) return assemble(after, through, untilSeq);
      const before = after.seq - after.frameSeq;
      const frames = reader.read(after.frameSeq, { ...limits, rowsMax: limits.rowsMax + before });
      return frames.length === 0 ? undefined : assemble(after, frames);
    },
    cutAgain(recorded, after) {
      const { firstSeq, lastSeq, frameSeq = lastSeq, token } = recorded;
      if (firstSeq !== after.seq + 1) throw changed(recorded, `the cursor stands at ${after.seq}`);
      // A range of which the journal does not have the end is never going to be complete.
      peek({ seq: frameSeq, frameSeq });
      const frames = framesThrough(after.frameSeq, lastSeq);
      if (frames === undefined) return undefined;
      const again = assemble(after, frames, lastSeq);
      if (again.block.token !== token) throw changed(recorded, `the journal now gives ${again.block.token}`);
      return again;
    },
    shorten({ run }, after, lastSeq) {
      // Every part but the last one reaches to the end of its frame.
      const ended = run.extents.findLast((extent) => extent.lastSeq <= lastSeq);
      return counted(sliceRun(run, after.seq + 1, lastSeq), ended?.lastSeq ?? after.frameSeq);
    },
    skipOlder({ frameSeq }, sinceMs) {
      const frames = reader.read(frameSeq, limits);
      return frames
        .slice(
          0,
          countWhile(frames, ({ timeMs }) => timeMs < sinceMs),
        )
        .at(-1)?.lastSeq;
    },
    peek,
  };
}

function countWhile<T>(items: readonly T[], holds: (item: T) => boolean): number {
  const end = items.findIndex((item) => !holds(item));
  return end < 0 ? items.length : end;
}

function changed(recorded: CutBlock, found: string): Permanent {
  return new Permanent('block_changed', `the block ${recorded.token} was cut and may have been sent, but ${found}`);
}
