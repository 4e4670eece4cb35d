/** Reads blocks from a journal: new ones, and again those that were cut before. */
import type { FrameView, JournalReader } from '@libs/journal';
import { type Block, Permanent } from '@libs/pipeline';
import { assembleBlock } from './block.ts';
import type { MinuteCount } from './counters.ts';
import { createRowCounter } from './row-counter.ts';
import type { CutBlock } from './state.ts';

export interface CountedBlock {
  readonly block: Block;
  readonly counts: readonly MinuteCount[];
}

export interface BlockCutter {
  /** The next block after `afterSeq`; undefined while nothing more is durable. */
  cut(afterSeq: number): CountedBlock | undefined;
  /**
   * The block that was cut from `afterSeq` on before this process started; undefined while its end is not yet known
   * to be durable. Throws `Permanent` (`block_changed`) when the journal does not give the same bytes.
   */
  cutAgain(recorded: CutBlock, afterSeq: number): CountedBlock | undefined;
  /**
   * Looks for a durable frame after `afterSeq` without anybody's word: `durableSeq` of the reader shows it then.
   * Throws when `afterSeq` does not lie in the journal.
   */
  peek(afterSeq: number): void;
}

/** All methods throw `JournalGapError` and `Permanent` for a journal that does not fit. */
export function createBlockCutter(
  reader: JournalReader,
  limits: { readonly rowsMax: number; readonly bytesMax: number },
): BlockCutter {
  const rowCounter = createRowCounter();

  function assemble(afterSeq: number, frames: readonly FrameView[]): CountedBlock {
    const block = assembleBlock(reader.journal, afterSeq, frames);
    const extents = frames.map(({ firstSeq, lastSeq, timeMs, payload }) => {
      return { firstSeq, lastSeq, timeMs, byteLength: payload.byteLength };
    });
    return { block, counts: rowCounter.count(block.chunks[0] as Uint8Array, extents) };
  }

  function peek(afterSeq: number): void {
    reader.read(afterSeq, { rowsMax: 1, bytesMax: 1 });
  }

  return {
    cut(afterSeq) {
      const frames = reader.read(afterSeq, limits);
      return frames.length === 0 ? undefined : assemble(afterSeq, frames);
    },
    cutAgain(recorded, afterSeq) {
      if (recorded.firstSeq !== afterSeq + 1) throw changed(recorded, `the cursor stands at ${afterSeq}`);
      // A range of which the journal does not have the end is never going to be complete.
      peek(recorded.lastSeq);
      const rowsMax = recorded.lastSeq - afterSeq;
      const frames = reader.read(afterSeq, { rowsMax, bytesMax: Number.MAX_SAFE_INTEGER });
      if ((frames.at(-1)?.lastSeq ?? 0) < recorded.lastSeq) return undefined;
      const again = assemble(afterSeq, frames);
      if (again.block.token !== recorded.token) throw changed(recorded, `the journal now gives ${again.block.token}`);
      return again;
    },
    peek,
  };
}

function changed(recorded: CutBlock, found: string): Permanent {
  return new Permanent('block_changed', `the block ${recorded.token} was cut and may have been sent, but ${found}`);
}
