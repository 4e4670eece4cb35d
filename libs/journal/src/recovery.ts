/** What stands in a journal's folder when nobody writes to it: read whole, checked, never changed. */
import { createDedupeIndex, type DedupeIndex, type DedupeLimits } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { damaged, JournalRefusal, newerFormat } from './errors.ts';
import { FRAME_HEADER_BYTES, ID_BYTES, readFrameHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';
import { createColumnReader, type IdColumn } from './id-column.ts';
import { columnName, columnOf, segmentName, segmentOf, spareOf } from './names.ts';
import { findFramesBehind, readSegmentHeader, scanSegment } from './segment-scan.ts';

export interface RecoveredSegment {
  readonly number: number;
  readonly header: SegmentHeader;
  readonly firstSeq: number;
  /** firstSeq - 1 when it holds no frame. */
  readonly lastSeq: number;
  /** Where the next frame would begin. */
  readonly endOffset: number;
}

export interface RecoveredColumn {
  readonly segment: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly lastMs: number;
}

export interface Recovered {
  readonly journal: string;
  /** In order; the last one is the one to append to. */
  readonly segments: readonly RecoveredSegment[];
  readonly columns: readonly RecoveredColumn[];
  /** Segment files whose column is complete: they may be recycled. */
  readonly condensed: readonly number[];
  /** Column files of which nothing is in the window any more. */
  readonly expired: readonly number[];
  readonly spares: readonly number[];
  readonly nextFrame: number;
  readonly nextSeq: number;
  /** Frame time of the last frame or header, ms. */
  readonly lastMs: number;
  /** The last intact frame, when it stands in the last segment: its bytes are to be written again and synced. */
  readonly lastFrame: { readonly offset: number; readonly bytes: Uint8Array; readonly firstSeq: number } | undefined;
  /** Bytes of a frame whose write was cut off, at the end of the last segment. */
  readonly torn: { readonly file: string; readonly offset: number; readonly length: number } | undefined;
  readonly index: DedupeIndex;
}

interface Gathered {
  nextFrame: number;
  nextSeq: number;
  lastMs: number;
  index: DedupeIndex;
}

/** Reads a journal's folder. Undefined when there is no journal in it yet. Throws `JournalRefusal`. */
export function recover(
  disk: Disk,
  folder: string,
  secretCheck: bigint,
  limits: DedupeLimits,
  nowMs: number,
): Recovered | undefined {
  const names = disk.list(folder);
  const columnNumbers = sorted(names.map(columnOf));
  const segmentNumbers = sorted(names.map(segmentOf));
  const spares = sorted(names.map(spareOf));
  if (segmentNumbers.length === 0) {
    if (columnNumbers.length === 0) return undefined;
    throw damaged(`${folder}/${columnName(columnNumbers.at(-1) ?? 0)}`, 0, 'no segment stands behind it');
  }

  const hasColumn = new Set(columnNumbers);
  const condensed = segmentNumbers.filter((number) => hasColumn.has(number) && number !== segmentNumbers.at(-1));
  const open = segmentNumbers.filter((number) => !condensed.includes(number));
  const headers = open.map((number) => openHeader(disk, folder, number, secretCheck));
  const first = headers[0] as SegmentHeader;
  for (const header of headers) if (header.journal !== first.journal) throw foreign(folder, header);
  // Frame time goes on from the last frame, whatever the wall clock says; the last header is not far from it.
  const frameMs = Math.max(nowMs, headers.at(-1)?.timeMs ?? 0);
  const load = columnLoader(disk, folder, first.journal);
  const { columns, expired } = chooseColumns(load, folder, columnNumbers, first, frameMs - limits.windowMs);

  const firstId = columns[0]?.firstSeq ?? first.firstSeq;
  const gathered: Gathered = {
    nextFrame: first.firstFrame,
    nextSeq: first.firstSeq,
    lastMs: first.timeMs,
    index: createDedupeIndex(limits, firstId, (headers.at(-1)?.firstSeq ?? firstId) - firstId),
  };
  // Read a second time, one after another: all of them together would be the size of the index once more.
  for (const { segment } of columns) addColumn(gathered.index, load(segment));

  const segments: RecoveredSegment[] = [];
  let last: Recovered['lastFrame'];
  let torn: Recovered['torn'];
  for (const [at, header] of headers.entries()) {
    const read = readSegment(disk, folder, header, headers[at + 1], gathered);
    segments.push(read.segment);
    ({ last, torn } = read);
  }
  return { journal: first.journal, segments, columns, condensed, expired, spares, ...gathered, lastFrame: last, torn };
}

function openHeader(disk: Disk, folder: string, number: number, secretCheck: bigint): SegmentHeader {
  const file = `${folder}/${segmentName(number)}`;
  const fd = disk.open(file, 'read');
  try {
    const header = readSegmentHeader(disk, fd);
    if (header === 'newer') throw newerFormat(file);
    if (header === 'foreign' || header === 'damaged' || header.segment !== number)
      throw damaged(file, 0, 'the header of the segment cannot be read');
    if (header.secretCheck !== secretCheck)
      throw new JournalRefusal(
        'secret_mismatch',
        file,
        72,
        `${file} was written with another dedupe secret: put back the file "secret" that belongs to this data folder.`,
      );
    return header;
  } finally {
    disk.close(fd);
  }
}

function foreign(folder: string, { segment, journal }: SegmentHeader): JournalRefusal {
  return damaged(`${folder}/${segmentName(segment)}`, 16, `the segment belongs to journal ${journal}`);
}

/** A column is valid until the next one is loaded. */
type LoadColumn = (segment: number) => IdColumn;

function columnLoader(disk: Disk, folder: string, journal: string): LoadColumn {
  const read = createColumnReader(disk);
  return (number) => {
    const file = `${folder}/${columnName(number)}`;
    const column = read(file);
    if (column === undefined) throw damaged(file, 0, 'the id column cannot be read');
    if (column.journal !== journal || column.segment !== number)
      throw damaged(file, 8, `the id column belongs to segment ${column.segment} of journal ${column.journal}`);
    return column;
  };
}

/**
 * The columns right before the first segment, without a gap. Columns go oldest first, so what stands in front of one
 * that has left the window has left it too, and so has what stands in front of one that holds only the end of its
 * segment: the beginning was more than `idsMax`.
 */
function chooseColumns(
  load: LoadColumn,
  folder: string,
  numbers: readonly number[],
  first: SegmentHeader,
  oldestMs: number,
) {
  const columns: RecoveredColumn[] = [];
  // Of a segment that is read anyway: the doctor took away what stood behind it before it could be recycled.
  const expired = numbers.filter((number) => number >= first.segment);
  let isOver = false;
  let next: { readonly segment: number; readonly firstSeq: number } = first;
  for (const number of numbers.filter((one) => one < first.segment).toReversed()) {
    const column = summary(load(number));
    const isCutShort = next !== first && column.segment === next.segment - 1 && column.lastSeq + 1 < next.firstSeq;
    isOver ||= column.lastMs < oldestMs || isCutShort;
    if (isOver) expired.push(number);
    else if (column.lastSeq + 1 !== next.firstSeq)
      throw damaged(
        `${folder}/${columnName(number)}`,
        0,
        `the ids ${column.lastSeq + 1} to ${next.firstSeq - 1} behind it are missing`,
      );
    else {
      columns.unshift(column);
      next = column;
    }
  }
  return { columns, expired };
}

function summary({ segment, firstSeq, ids, marks }: IdColumn): RecoveredColumn {
  return { segment, firstSeq, lastSeq: firstSeq + ids.byteLength / ID_BYTES - 1, lastMs: marks.at(-1)?.timeMs ?? 0 };
}

function addColumn(index: DedupeIndex, column: IdColumn): void {
  let seq = column.firstSeq;
  for (const mark of column.marks) {
    const from = (seq - column.firstSeq) * ID_BYTES;
    const to = (mark.endSeq - column.firstSeq) * ID_BYTES;
    addIds(index, column.ids.subarray(from, to), seq, mark.timeMs);
    seq = mark.endSeq;
  }
}

function readSegment(
  disk: Disk,
  folder: string,
  header: SegmentHeader,
  following: SegmentHeader | undefined,
  gathered: Gathered,
) {
  const file = `${folder}/${segmentName(header.segment)}`;
  const fd = disk.open(file, 'read');
  try {
    const size = disk.size(file);
    const scan = scanSegment(disk, fd, size, header);
    let last: { offset: number; length: number; firstSeq: number } | undefined;
    for (let frame = scan.next(); frame !== undefined; frame = scan.next()) {
      if (frame.header.firstSeq !== gathered.nextSeq) throw damaged(file, frame.offset, 'sequence numbers are missing');
      addIds(gathered.index, frame.ids, frame.header.firstSeq, frame.header.timeMs);
      gathered.nextFrame = frame.header.number + 1;
      gathered.nextSeq = frame.header.firstSeq + frame.header.count;
      gathered.lastMs = Math.max(gathered.lastMs, frame.header.timeMs);
      last = { offset: frame.offset, length: frame.header.length, firstSeq: frame.header.firstSeq };
    }
    const endOffset = scan.offset();
    const behind = findFramesBehind(disk, fd, size, header.salt, endOffset);
    if (behind[0] !== undefined)
      throw damaged(
        file,
        endOffset,
        `frame ${gathered.nextFrame} cannot be read, but intact frames stand behind it, from byte ${behind[0]} on`,
      );
    const segment: RecoveredSegment = {
      number: header.segment,
      header,
      firstSeq: header.firstSeq,
      lastSeq: gathered.nextSeq - 1,
      endOffset,
    };
    if (following !== undefined) {
      if (following.firstFrame !== gathered.nextFrame || following.firstSeq !== gathered.nextSeq)
        throw damaged(
          file,
          endOffset,
          `frame ${gathered.nextFrame} cannot be read, but segment ${following.segment} begins with frame ${following.firstFrame}`,
        );
      return { segment, last: undefined, torn: undefined };
    }
    return {
      segment,
      last: last && {
        offset: last.offset,
        firstSeq: last.firstSeq,
        bytes: readBytes(disk, fd, last.offset, last.length),
      },
      torn: tornAt(disk, fd, file, size, header, gathered.nextFrame, endOffset),
    };
  } finally {
    disk.close(fd);
  }
}

/** Ids stand at multiples of eight in both kinds of file, so that they can be read as words where they are. */
function addIds(index: DedupeIndex, ids: Uint8Array, firstSeq: number, timeMs: number): void {
  index.addAll(new Uint32Array(ids.buffer, ids.byteOffset, ids.byteLength / 4), firstSeq, timeMs);
  index.expire(timeMs);
}

function readBytes(disk: Disk, fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  disk.read(fd, bytes, 0, length, offset);
  return bytes;
}

/** A frame of this life that should come next but is not intact was cut off while it was written. */
function tornAt(
  disk: Disk,
  fd: number,
  file: string,
  size: number,
  header: SegmentHeader,
  number: number,
  offset: number,
) {
  if (offset + FRAME_HEADER_BYTES > size) return undefined;
  const frame = readFrameHeader(readBytes(disk, fd, offset, FRAME_HEADER_BYTES));
  if (frame.salt !== header.salt || frame.number !== number) return undefined;
  return { file, offset, length: Math.min(frame.length, size - Math.max(offset, SEGMENT_HEADER_BYTES)) };
}

function sorted(numbers: readonly (number | undefined)[]): number[] {
  return numbers.filter((number) => number !== undefined).sort((a, b) => a - b);
}
