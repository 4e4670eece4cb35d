/**
 * What stays of a segment once every sink has it: its ids, 16 bytes an event, until they have left the window.
 *
 *  0  8  magic "WEIRIDS1"        24  8  segment number        48  8  number of marks
 *  8 16  journal id              32  8  first seq             56  8  XXH3-64 of everything but these 8 bytes
 *                                40  8  number of ids         64     marks (end seq, frame time in ms: 8 bytes each), then ids
 */
import { type Disk, syncInPool } from './disk.ts';
import { bytesToUuid, checksum, ID_BYTES, uuidToBytes, view } from './format.ts';
import { temporaryName } from './names.ts';

const MAGIC = 0x3153444952494557n; // "WEIRIDS1"
const HEADER_BYTES = 64;
const MARK_BYTES = 16;
const CHECKSUM_OFFSET = 56;

export interface IdColumn {
  readonly journal: string;
  readonly segment: number;
  readonly firstSeq: number;
  readonly ids: Uint8Array;
  /** In order: the ids before `endSeq`, and not before the mark in front of it, were written at `timeMs` or earlier. */
  readonly marks: readonly { readonly endSeq: number; readonly timeMs: number }[];
}

export function encodeColumn(column: IdColumn): Uint8Array {
  const marksEnd = HEADER_BYTES + column.marks.length * MARK_BYTES;
  const bytes = new Uint8Array(marksEnd + column.ids.byteLength);
  const data = view(bytes);
  data.setBigUint64(0, MAGIC, true);
  bytes.set(uuidToBytes(column.journal), 8);
  data.setBigUint64(24, BigInt(column.segment), true);
  data.setBigUint64(32, BigInt(column.firstSeq), true);
  data.setBigUint64(40, BigInt(column.ids.byteLength / ID_BYTES), true);
  data.setBigUint64(48, BigInt(column.marks.length), true);
  for (const [at, mark] of column.marks.entries()) {
    data.setBigUint64(HEADER_BYTES + at * MARK_BYTES, BigInt(mark.endSeq), true);
    data.setBigUint64(HEADER_BYTES + at * MARK_BYTES + 8, BigInt(mark.timeMs), true);
  }
  bytes.set(column.ids, marksEnd);
  data.setBigUint64(CHECKSUM_OFFSET, checksumOf(bytes), true);
  return bytes;
}

/** The column, or undefined when these bytes are not a whole, undamaged one. Its ids are a view into them. */
export function decodeColumn(bytes: Uint8Array): IdColumn | undefined {
  if (bytes.byteLength < HEADER_BYTES) return undefined;
  const data = view(bytes);
  if (data.getBigUint64(0, true) !== MAGIC || data.getBigUint64(CHECKSUM_OFFSET, true) !== checksumOf(bytes))
    return undefined;
  const count = Number(data.getBigUint64(40, true));
  const markCount = Number(data.getBigUint64(48, true));
  const marksEnd = HEADER_BYTES + markCount * MARK_BYTES;
  if (bytes.byteLength !== marksEnd + count * ID_BYTES) return undefined;
  const marks = Array.from({ length: markCount }, (_, at) => ({
    endSeq: Number(data.getBigUint64(HEADER_BYTES + at * MARK_BYTES, true)),
    timeMs: Number(data.getBigUint64(HEADER_BYTES + at * MARK_BYTES + 8, true)),
  }));
  return {
    journal: bytesToUuid(bytes.subarray(8, 24)),
    segment: Number(data.getBigUint64(24, true)),
    firstSeq: Number(data.getBigUint64(32, true)),
    ids: bytes.subarray(marksEnd),
    marks,
  };
}

/** Writes the column so that its name never stands for anything but the whole, synced file. */
export async function writeColumn(disk: Disk, folder: string, name: string, column: IdColumn): Promise<void> {
  const path = `${folder}/${name}`;
  const part = temporaryName(path);
  const fd = disk.open(part, 'create');
  let complete = false;
  try {
    await disk.writeAsync(fd, encodeColumn(column), 0);
    await syncInPool(disk, fd);
    complete = true;
  } finally {
    disk.close(fd);
    // Else the next attempt would find its file there.
    if (!complete) disk.remove(part);
  }
  disk.rename(part, path);
  await disk.syncFolderAsync(folder);
}

/**
 * Reads columns one after another into the same memory, which grows to the largest: a column is valid until the next one
 * is read. A window's columns are as large as the index, and what is only garbage still counts as memory at the start.
 */
export function createColumnReader(disk: Disk): (path: string) => IdColumn | undefined {
  let buffer = new Uint8Array(0);
  return (path) => {
    const size = disk.size(path);
    if (size > buffer.byteLength) buffer = new Uint8Array(size);
    const fd = disk.open(path, 'read');
    try {
      const count = disk.read(fd, buffer, 0, size, 0);
      return decodeColumn(buffer.subarray(0, count));
    } finally {
      disk.close(fd);
    }
  };
}

export const readColumn = (disk: Disk, path: string): IdColumn | undefined => createColumnReader(disk)(path);

function checksumOf(bytes: Uint8Array): bigint {
  const head = checksum(bytes.subarray(0, CHECKSUM_OFFSET), 0n);
  return checksum(bytes.subarray(HEADER_BYTES), head);
}
