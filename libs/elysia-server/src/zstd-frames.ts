/**
 * Walks the frames and blocks of a zstd stream by their lengths (RFC 8878, 3.1), without decompressing: Bun's decoder ends
 * in silence when its input stops in the middle of a frame or goes on with something else behind one, and a body that was
 * cut short must never pass for whole.
 */

/** `end` is where a stream may stop. */
export type ZstdPosition = 'end' | 'inside' | 'invalid';

export interface ZstdFrames {
  /** Takes the next bytes; returns where the stream stands behind them. */
  push(bytes: Uint8Array): ZstdPosition;
}

const ZSTD_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const BLOCK_TYPE_RLE = 1;
const BLOCK_TYPE_RESERVED = 3;
const CHECKSUM_BYTES = 4;

/** What is read next: `need` bytes that mean `state`. */
type State = 'magic' | 'skippableSize' | 'descriptor' | 'blockHeader';

export function createZstdFrames(): ZstdFrames {
  let state: State = 'magic';
  let skip = 0;
  let need = 4;
  let value = 0;
  let read = 0;
  let checksumBytes = 0;
  let isLastBlock = false;
  let valid = true;

  function expect(next: State, bytes: number): void {
    state = next;
    need = bytes;
    value = 0;
    read = 0;
  }

  function complete(): boolean {
    if (state === 'magic') {
      if (value === ZSTD_MAGIC) expect('descriptor', 1);
      else if ((value & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) expect('skippableSize', 4);
      else return false;
    } else if (state === 'skippableSize') {
      skip = value;
      expect('magic', 4);
    } else if (state === 'descriptor') {
      // Bit 3 is reserved and must be zero.
      if ((value & 0x08) !== 0) return false;
      checksumBytes = (value & 0x04) === 0 ? 0 : CHECKSUM_BYTES;
      skip = frameHeaderRest(value);
      expect('blockHeader', 3);
    } else {
      return block();
    }
    return true;
  }

  function block(): boolean {
    const type = (value >> 1) & 3;
    if (type === BLOCK_TYPE_RESERVED) return false;
    isLastBlock = (value & 1) === 1;
    skip = (type === BLOCK_TYPE_RLE ? 1 : value >> 3) + (isLastBlock ? checksumBytes : 0);
    if (isLastBlock) expect('magic', 4);
    else expect('blockHeader', 3);
    return true;
  }

  function push(bytes: Uint8Array): ZstdPosition {
    let at = 0;
    while (valid && at < bytes.length) {
      if (skip > 0) {
        const step = Math.min(skip, bytes.length - at);
        skip -= step;
        at += step;
        continue;
      }
      // Little-endian; the unsigned shift keeps four bytes positive.
      value = (value | ((bytes[at] as number) << (8 * read))) >>> 0;
      read += 1;
      at += 1;
      if (read === need) valid = complete();
    }
    if (!valid) return 'invalid';
    return state === 'magic' && read === 0 && skip === 0 ? 'end' : 'inside';
  }

  return { push };
}

/** Bytes of the frame header behind its descriptor: window, dictionary id, content size. */
function frameHeaderRest(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const windowBytes = isSingleSegment ? 0 : 1;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeFlag = descriptor >> 6;
  const contentSizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  return windowBytes + dictionaryBytes + contentSizeBytes;
}
