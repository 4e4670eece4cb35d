/** From the journal's frames to a block: one run of bytes, checked, counted and named. */
import type { FrameView } from '@libs/journal';
import { type Block, Permanent } from '@libs/pipeline';

/**
 * Joins whole frames that follow `afterSeq` into one block. The bytes are copied once into one chunk: the hash has to
 * run over all of them, and a sink sends one large chunk faster than thousands of small ones.
 * Throws `Permanent` (`journal_gap`) when the frames do not follow one another.
 */
export function assembleBlock(journal: string, afterSeq: number, frames: readonly FrameView[]): Block {
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
  const bytes = Buffer.allocUnsafeSlow(byteLength);
  let offset = 0;
  for (const frame of frames) {
    bytes.set(frame.payload, offset);
    offset += frame.payload.byteLength;
  }
  const range = { journal, firstSeq: afterSeq + 1, lastSeq: seq };
  return { ...range, chunks: [bytes], byteLength, token: blockToken(range, bytes) };
}

/** `<journal>:<first>-<last>:<XXH3-64 of the bytes, in hex>`. */
export function blockToken(range: { journal: string; firstSeq: number; lastSeq: number }, bytes: Uint8Array): string {
  const hash = Bun.hash.xxHash3(bytes).toString(16).padStart(16, '0');
  return `${range.journal}:${range.firstSeq}-${range.lastSeq}:${hash}`;
}
