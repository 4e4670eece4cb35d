/** All that can be read of one segment, sound or not. */
import type { Disk } from './disk.ts';
import {
  FRAME_HEADER_BYTES,
  type FrameHeader,
  readFrameHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './format.ts';
import { segmentName } from './names.ts';
import { createFrameReader, findFramesBehind, readSegmentHeader, scanSegment } from './segment-scan.ts';

export interface FramePlace {
  readonly offset: number;
  readonly count: number;
}

export interface InspectedSegment {
  readonly file: string;
  /** Undefined when it cannot be read, or belongs elsewhere. */
  readonly header: SegmentHeader | undefined;
  /** `newer`: of a later format version. Else a sentence; '' when the header is sound. */
  readonly problem: string;
  /** In order, up to the first that cannot be read. */
  readonly frames: readonly FramePlace[];
  /** Intact frames that stand behind one which cannot be read, or behind a header which cannot. */
  readonly behind: readonly FramePlace[];
  readonly endOffset: number;
  /** What its frames carry. */
  readonly salt: bigint;
}

/** Reads the whole file, or no more than its header. */
export function inspectSegment(
  disk: Disk,
  folder: string,
  number: number,
  journal: string,
  what: 'all' | 'header' = 'all',
): InspectedSegment {
  const file = `${folder}/${segmentName(number)}`;
  const fd = disk.open(file, 'read');
  try {
    const read = readSegmentHeader(disk, fd);
    const problem = problemOf(read, number, journal);
    const salt = typeof read === 'string' ? saltOfFirstFrame(disk, fd) : read.salt;
    const nothing = { file, frames: [], behind: [], endOffset: SEGMENT_HEADER_BYTES, salt };
    const header = problem === '' && typeof read !== 'string' ? read : undefined;
    if (what === 'header' || problem === 'newer') return { ...nothing, header, problem };
    const size = disk.size(file);
    const frameAt = createFrameReader(disk, fd, size, salt);
    const places = (offsets: readonly number[]): FramePlace[] =>
      offsets.flatMap((offset) => {
        const frame = frameAt(offset);
        return frame === undefined ? [] : [{ offset, count: frame.header.count }];
      });
    if (header === undefined) {
      const found = salt === 0n ? [] : findFramesBehind(disk, fd, size, salt, 0);
      return { ...nothing, header, problem, behind: places(found) };
    }
    const frames: FramePlace[] = [];
    const scan = scanSegment(disk, fd, size, header);
    for (let frame = scan.next(); frame !== undefined; frame = scan.next())
      frames.push({ offset: frame.offset, count: frame.header.count });
    const behind = places(findFramesBehind(disk, fd, size, salt, scan.offset()));
    return { ...nothing, header, problem, frames, behind, endOffset: scan.offset() };
  } finally {
    disk.close(fd);
  }
}

/** The rows of the frames at these places. */
export function* readFrames(
  disk: Disk,
  { file, salt }: InspectedSegment,
  places: readonly FramePlace[],
): Generator<Uint8Array> {
  const fd = disk.open(file, 'read');
  try {
    const frameAt = createFrameReader(disk, fd, disk.size(file), salt);
    for (const { offset } of places) {
      const frame = frameAt(offset);
      if (frame !== undefined) yield frame.payload.slice();
    }
  } finally {
    disk.close(fd);
  }
}

export function sumOfEvents(frames: readonly FramePlace[]): number {
  return frames.reduce((total, frame) => total + frame.count, 0);
}

function problemOf(read: ReturnType<typeof readSegmentHeader>, number: number, journal: string): string {
  if (read === 'newer') return 'newer';
  if (typeof read === 'string') return `the header of the segment is ${read}`;
  if (read.journal !== journal) return `the segment belongs to journal ${read.journal}`;
  return read.segment === number ? '' : `the header is that of segment ${read.segment}`;
}

/** Where the header is lost, the first frame still says which life its frames belong to. */
function saltOfFirstFrame(disk: Disk, fd: number): bigint {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES);
  disk.read(fd, bytes, 0, bytes.byteLength, SEGMENT_HEADER_BYTES);
  const header: FrameHeader = readFrameHeader(bytes);
  return header.salt;
}
