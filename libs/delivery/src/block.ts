/** From the journal's frames to a block: one run of bytes, checked and named. */
import type { FrameView } from '@libs/journal';
import { type Block, Permanent } from '@libs/pipeline';
import { type FrameExtent, miscounted } from './row-counter.ts';

/** Rows that lie one behind the other, and the frames (or parts of them) that they are from. */
export interface Run {
  readonly bytes: Uint8Array;
  readonly extents: readonly FrameExtent[];
}

const LINE_FEED = 10;

/**
 * Joins whole frames that follow `afterSeq` into one chunk, copying them unless they lie one behind the other: the hash has
 * to run over all of them, and a sink sends one large chunk faster than thousands of small ones.
 * Throws `Permanent` (`journal_gap`) when the frames do not follow one another.
 */
export function joinFrames(afterSeq: number, frames: readonly FrameView[]): Run {
  let byteLength = 0;
  let seq = afterSeq;
  for (const frame of frames) {
    if (frame.firstSeq !== seq + 1 || frame.lastSeq < frame.firstSeq) {
      throw new Permanent(
        'journal_gap',
        `the journal gave the frame ${frame.firstSeq}–${frame.lastSeq} where ${seq + 1} should begin`,
      );
    }
    seq = frame.lastSeq;
    byteLength += frame.payload.byteLength;
  }
  const extents = frames.map(({ firstSeq, lastSeq, timeMs, payload }) => {
    return { firstSeq, lastSeq, timeMs, byteLength: payload.byteLength };
  });
  const payloads = frames.map(({ payload }) => payload);
  return { bytes: adjoining(payloads, byteLength) ?? Buffer.concat(payloads, byteLength), extents };
}

/** Where they stand already; undefined when they do not lie one behind the other. */
function adjoining([first, ...rest]: readonly Uint8Array[], byteLength: number): Uint8Array | undefined {
  if (first === undefined) return undefined;
  let end = first.byteOffset + first.byteLength;
  for (const { buffer, byteOffset, byteLength: bytes } of rest) {
    if (buffer !== first.buffer || byteOffset !== end) return undefined;
    end += bytes;
  }
  return Buffer.from(first.buffer, first.byteOffset, byteLength);
}

/**
 * The rows of a run from one sequence number through another, both within it. The bytes are not copied.
 * Throws `Permanent` (`row_count_mismatch`) when a frame that is cut into has too few rows.
 */
export function sliceRun(run: Run, firstSeq: number, lastSeq: number): Run {
  const extents: FrameExtent[] = [];
  let frameStart = 0;
  let start = 0;
  let end = 0;
  for (const extent of run.extents) {
    const from = Math.max(extent.firstSeq, firstSeq);
    const to = Math.min(extent.lastSeq, lastSeq);
    if (from <= to) {
      const sliceStart = frameStart + rowOffset(run.bytes, frameStart, extent, from);
      end = frameStart + rowOffset(run.bytes, frameStart, extent, to + 1);
      if (extents.length === 0) start = sliceStart;
      extents.push({ firstSeq: from, lastSeq: to, timeMs: extent.timeMs, byteLength: end - sliceStart });
    }
    frameStart += extent.byteLength;
  }
  return { bytes: run.bytes.subarray(start, end), extents };
}

/** Where the row `seq` begins within its frame; one past the last row is where the frame ends. */
function rowOffset(bytes: Uint8Array, frameStart: number, extent: FrameExtent, seq: number): number {
  if (seq > extent.lastSeq) return extent.byteLength;
  let offset = frameStart;
  for (let row = extent.firstSeq; row < seq; row++) {
    const lineFeed = bytes.indexOf(LINE_FEED, offset);
    if (lineFeed < 0 || lineFeed >= frameStart + extent.byteLength) {
      throw miscounted(extent, `only ${row - extent.firstSeq}`);
    }
    offset = lineFeed + 1;
  }
  return offset - frameStart;
}

/** A row of a run: the JSON object without its line feed (not copied), and its frame's time in milliseconds since 1970. */
export interface PickedRow {
  readonly seq: number;
  readonly timeMs: number;
  readonly bytes: Uint8Array;
}

/**
 * The rows with these sequence numbers, which ascend and lie within the run, in one pass over its bytes.
 * Throws `Permanent` (`row_count_mismatch`) when a frame has too few rows.
 */
export function* pickRows({ bytes, extents }: Run, seqs: readonly number[]): Generator<PickedRow, void> {
  let next = 0;
  let frameStart = 0;
  for (const extent of extents) {
    const frameEnd = frameStart + extent.byteLength;
    let start = frameStart;
    for (let seq = extent.firstSeq; seq <= extent.lastSeq && (seqs[next] ?? Infinity) <= extent.lastSeq; seq++) {
      const lineFeed = bytes.indexOf(LINE_FEED, start);
      if (lineFeed < 0 || lineFeed >= frameEnd) throw miscounted(extent, `only ${seq - extent.firstSeq}`);
      if (seq === seqs[next]) {
        next++;
        yield { seq, timeMs: extent.timeMs, bytes: bytes.subarray(start, lineFeed) };
      }
      start = lineFeed + 1;
    }
    frameStart = frameEnd;
  }
}

/** The run must not be empty. */
export function blockOf(journal: string, { bytes, extents }: Run): Block {
  const firstSeq = (extents[0] as FrameExtent).firstSeq;
  const lastSeq = (extents.at(-1) as FrameExtent).lastSeq;
  const token = blockToken({ journal, firstSeq, lastSeq }, bytes);
  return { journal, firstSeq, lastSeq, chunks: [bytes], byteLength: bytes.byteLength, token };
}

/** `<journal>:<first>-<last>:<XXH3-64 of the bytes, in hex>`. */
export function blockToken(range: { journal: string; firstSeq: number; lastSeq: number }, bytes: Uint8Array): string {
  const hash = Bun.hash.xxHash3(bytes).toString(16).padStart(16, '0');
  return `${range.journal}:${range.firstSeq}-${range.lastSeq}:${hash}`;
}
