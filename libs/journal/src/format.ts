/**
 * The bytes on disk, version 1. docs/format.md says the same in prose; a test keeps the two together.
 * All integers are little-endian. Everything begins at a multiple of 8 bytes.
 */

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 4096;
export const FRAME_HEADER_BYTES = 56;
/** Of an id's hash. */
export const ID_BYTES = 16;
/** Where the salt stands in a segment's header. */
export const SALT_OFFSET = 40;
const SEGMENT_MAGIC = 0x4c4e524a52494557n; // "WEIRJRNL"
const HEADER_CHECKED_BYTES = 80;

/** The first 4,096 bytes of a segment: written and synced before its first frame, never changed in that life. */
export interface SegmentHeader {
  /** UUID text of the journal. */
  readonly journal: string;
  readonly segment: number;
  /** Random, new in each life of the file: what else stands in it is from a former life. */
  readonly salt: bigint;
  readonly firstFrame: number;
  readonly firstSeq: number;
  /** Frame time in ms when this life began. */
  readonly timeMs: number;
  /** XXH3-64 of the data folder's dedupe secret: ids hashed with another secret would match nothing. */
  readonly secretCheck: bigint;
}

/** The fixed part of a frame. `length` is the whole frame in bytes, a multiple of 8. */
export interface FrameHeader {
  readonly checksum: bigint;
  readonly length: number;
  readonly count: number;
  readonly salt: bigint;
  readonly number: number;
  readonly firstSeq: number;
  readonly timeMs: number;
  readonly payloadBytes: number;
}

export const padTo8 = (bytes: number): number => (bytes + 7) & ~7;

/** Bytes of a frame: header, payload, zeros to a multiple of 8, then 16 bytes for each event's id. */
export function frameBytes(payloadBytes: number, count: number): number {
  return FRAME_HEADER_BYTES + padTo8(payloadBytes) + count * ID_BYTES;
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** XXH3-64. Bun uses the low 32 bits of a seed only, which is why frames carry the whole salt among their bytes. */
export function checksum(bytes: Uint8Array, salt: bigint): bigint {
  return Bun.hash.xxHash3(bytes, salt & 0xffff_ffffn) as bigint;
}

export function uuidToBytes(uuid: string): Uint8Array {
  return Uint8Array.fromHex(uuid.replaceAll('-', ''));
}

export function bytesToUuid(bytes: Uint8Array): string {
  const hex = bytes.toHex();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const data = view(bytes);
  data.setBigUint64(0, SEGMENT_MAGIC, true);
  data.setUint32(8, FORMAT_VERSION, true);
  data.setUint32(12, SEGMENT_HEADER_BYTES, true);
  bytes.set(uuidToBytes(header.journal), 16);
  data.setBigUint64(32, BigInt(header.segment), true);
  data.setBigUint64(SALT_OFFSET, header.salt, true);
  data.setBigUint64(48, BigInt(header.firstFrame), true);
  data.setBigUint64(56, BigInt(header.firstSeq), true);
  data.setBigUint64(64, BigInt(header.timeMs), true);
  data.setBigUint64(72, header.secretCheck, true);
  data.setBigUint64(80, checksum(bytes.subarray(0, HEADER_CHECKED_BYTES), 0n), true);
  return bytes;
}

/** The header, or why there is none: `foreign` (not a segment), `newer` (a later format), `damaged`. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | 'foreign' | 'newer' | 'damaged' {
  if (bytes.byteLength < HEADER_CHECKED_BYTES + 8) return 'damaged';
  const data = view(bytes);
  if (data.getBigUint64(0, true) !== SEGMENT_MAGIC) return 'foreign';
  if (data.getUint32(8, true) > FORMAT_VERSION) return 'newer';
  if (data.getBigUint64(80, true) !== checksum(bytes.subarray(0, HEADER_CHECKED_BYTES), 0n)) return 'damaged';
  return {
    journal: bytesToUuid(bytes.subarray(16, 32)),
    segment: Number(data.getBigUint64(32, true)),
    salt: data.getBigUint64(SALT_OFFSET, true),
    firstFrame: Number(data.getBigUint64(48, true)),
    firstSeq: Number(data.getBigUint64(56, true)),
    timeMs: Number(data.getBigUint64(64, true)),
    secretCheck: data.getBigUint64(72, true),
  };
}

/** Writes header and checksum into `frame`, whose payload and ids are in place already. */
export function sealFrame(frame: Uint8Array, header: Omit<FrameHeader, 'checksum' | 'length'>): void {
  const data = view(frame);
  data.setUint32(8, frame.byteLength, true);
  data.setUint32(12, header.count, true);
  data.setBigUint64(16, header.salt, true);
  data.setBigUint64(24, BigInt(header.number), true);
  data.setBigUint64(32, BigInt(header.firstSeq), true);
  data.setBigUint64(40, BigInt(header.timeMs), true);
  data.setUint32(48, header.payloadBytes, true);
  data.setUint32(52, 0, true);
  data.setBigUint64(0, checksum(frame.subarray(8), header.salt), true);
}

/** Reads the fixed part at the start of `bytes`; says nothing of whether the frame is valid. */
export function readFrameHeader(bytes: Uint8Array): FrameHeader {
  const data = view(bytes);
  return {
    checksum: data.getBigUint64(0, true),
    length: data.getUint32(8, true),
    count: data.getUint32(12, true),
    salt: data.getBigUint64(16, true),
    number: Number(data.getBigUint64(24, true)),
    firstSeq: Number(data.getBigUint64(32, true)),
    timeMs: Number(data.getBigUint64(40, true)),
    payloadBytes: data.getUint32(48, true),
  };
}

/** True when the fixed part could belong to a frame of this life that fits into `room` bytes. */
export function isPlausible(header: FrameHeader, salt: bigint, room: number): boolean {
  return (
    header.salt === salt &&
    header.length <= room &&
    header.count > 0 &&
    header.length === frameBytes(header.payloadBytes, header.count)
  );
}

/** True when these bytes, exactly one frame, carry the checksum that their content has. */
export function isIntact(frame: Uint8Array, header: FrameHeader): boolean {
  return checksum(frame.subarray(8, header.length), header.salt) === header.checksum;
}
