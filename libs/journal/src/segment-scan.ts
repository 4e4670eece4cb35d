/** Walks the frames of one segment in order, and tells a torn tail from damage. */
import type { Disk } from './disk.ts';
import {
  decodeSegmentHeader,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  ID_BYTES,
  isIntact,
  isPlausible,
  padTo8,
  readFrameHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './format.ts';

/** One intact frame. The arrays are views into a buffer that the next step overwrites. */
export interface ScannedFrame {
  readonly header: FrameHeader;
  /** Where the frame begins in the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly payload: Uint8Array;
  /** 16 bytes for each event. */
  readonly ids: Uint8Array;
}

export interface SegmentScan {
  /** The next frame if it is intact and has the expected number. */
  next(): ScannedFrame | undefined;
  /** Where the next frame is expected. */
  offset(): number;
}

const BUFFER_BYTES = 1 << 20;
const SALT_OFFSET = 16;

export function readSegmentHeader(disk: Disk, fd: number): ReturnType<typeof decodeSegmentHeader> {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const count = disk.read(fd, bytes, 0, bytes.byteLength, 0);
  return decodeSegmentHeader(bytes.subarray(0, count));
}

/** Reads frames from `fd`, from the first one on, whose number must be `header.firstFrame`. */
export function scanSegment(disk: Disk, fd: number, size: number, header: SegmentHeader): SegmentScan {
  const read = createFrameReader(disk, fd, size, header.salt);
  let offset = SEGMENT_HEADER_BYTES;
  let expected = header.firstFrame;

  function next(): ScannedFrame | undefined {
    const frame = read(offset);
    if (frame === undefined || frame.header.number !== expected) return undefined;
    offset += frame.header.length;
    expected += 1;
    return frame;
  }

  return { next, offset: () => offset };
}

/**
 * A function that gives the intact frame of this life at an offset, or nothing. It reads ahead into one growing
 * buffer, and reads again what is not intact there, because the file may have been written since.
 */
export function createFrameReader(disk: Disk, fd: number, size: number, salt: bigint) {
  const head = new Uint8Array(FRAME_HEADER_BYTES);
  let buffer = new Uint8Array(BUFFER_BYTES);
  let start = 0;
  let filled = 0;

  const isCached = (offset: number, length: number): boolean => offset >= start && offset + length <= start + filled;

  /** The fixed part at `offset`, as it stands in the buffer or, failing that, in the file now. */
  function headerAt(offset: number): FrameHeader | undefined {
    if (isCached(offset, FRAME_HEADER_BYTES)) {
      const cached = readFrameHeader(buffer.subarray(offset - start));
      if (isPlausible(cached, salt, size - offset)) return cached;
    }
    if (disk.read(fd, head, 0, FRAME_HEADER_BYTES, offset) < FRAME_HEADER_BYTES) return undefined;
    filled = 0;
    const header = readFrameHeader(head);
    return isPlausible(header, salt, size - offset) ? header : undefined;
  }

  function load(offset: number, length: number): void {
    if (length > buffer.byteLength) buffer = new Uint8Array(Math.max(length, buffer.byteLength * 2));
    start = offset;
    filled = disk.read(fd, buffer, 0, Math.min(buffer.byteLength, size - offset), offset);
  }

  return function frameAt(offset: number): ScannedFrame | undefined {
    const header = headerAt(offset);
    if (header === undefined) return undefined;
    const wasCached = isCached(offset, header.length);
    if (!wasCached) load(offset, header.length);
    let bytes = buffer.subarray(offset - start, offset - start + header.length);
    if (!isIntact(bytes, header)) {
      if (!wasCached) return undefined;
      load(offset, header.length);
      bytes = buffer.subarray(0, header.length);
      if (!isIntact(bytes, header)) return undefined;
    }
    const idsStart = FRAME_HEADER_BYTES + padTo8(header.payloadBytes);
    return {
      header,
      offset,
      bytes,
      payload: bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + header.payloadBytes),
      ids: bytes.subarray(idsStart, idsStart + header.count * ID_BYTES),
    };
  };
}

/**
 * Looks for intact frames of this life behind `offset`, where none was. One there means that something acknowledged
 * stands behind bytes that cannot be read: damage, not a torn tail. Returns where they stand.
 */
export function findFramesBehind(disk: Disk, fd: number, size: number, salt: bigint, offset: number): number[] {
  const found: number[] = [];
  const frameAt = createFrameReader(disk, fd, size, salt);
  const wanted = Buffer.alloc(8);
  wanted.writeBigUInt64LE(salt);
  const window = Buffer.alloc(BUFFER_BYTES);
  for (let start = offset; start < size; start += window.byteLength - 8) {
    const count = disk.read(fd, window, 0, Math.min(window.byteLength, size - start), start);
    const filled = window.subarray(0, count);
    for (let at = filled.indexOf(wanted); at !== -1; at = filled.indexOf(wanted, at + 1)) {
      const candidate = start + at - SALT_OFFSET;
      if (candidate <= offset || candidate % 8 !== 0 || candidate <= (found.at(-1) ?? 0)) continue;
      if (frameAt(candidate) !== undefined) found.push(candidate);
    }
  }
  return found;
}
