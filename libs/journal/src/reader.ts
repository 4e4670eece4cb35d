/** Reads a journal that another process may be writing: whole frames, never past the durable position. */
import type { Disk } from './disk.ts';
import { JournalGapError } from './errors.ts';
import { SALT_OFFSET, SEGMENT_HEADER_BYTES, type SegmentHeader, view } from './format.ts';
import { type JournalFolder, journalFolders, journalsFolder, segmentName, segmentOf } from './names.ts';
import { createFrameReader, readSegmentHeader, type ScannedFrame } from './segment-scan.ts';

/** One group commit. */
export interface FrameView {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Frame time in ms. */
  readonly timeMs: number;
  /**
   * One JSON object and `\n` for each event, in order. A copy: it stays as it is. Those of one `read` lie one behind the
   * other in memory, as far as it was known how many there would be.
   */
  readonly payload: Uint8Array;
}

export interface JournalReader {
  readonly journal: string;
  /**
   * Whole frames after `afterSeq`, never past the durable position. Stops at either limit, but gives at least one
   * frame if there is one. Throws `JournalGapError` when `afterSeq` lies before the oldest frame or beyond the end.
   */
  read(afterSeq: number, limits: { readonly rowsMax: number; readonly bytesMax: number }): readonly FrameView[];
  /** Accept says that everything up to and including `seq` is durable. */
  noteDurable(seq: number): void;
  /** The highest sequence number known to be durable; 0 when none is. */
  durableSeq(): number;
  /** The oldest sequence number that can still be read (one past the end when there is none). */
  oldestSeq(): number;
  close(): void;
}

interface OpenSegment {
  readonly number: number;
  readonly fd: number;
  readonly header: SegmentHeader;
  readonly size: number;
  readonly frameAt: ReturnType<typeof createFrameReader>;
}

/** Where the frame after `afterSeq` begins. */
interface Place {
  afterSeq: number;
  segment: number;
  offset: number;
  frame: number;
}

export function listJournals(disk: Disk, dataFolder: string): JournalFolder[] {
  const root = journalsFolder(dataFolder);
  return disk.exists(root) ? journalFolders(root, disk.list(root)) : [];
}

export function openJournalReader(disk: Disk, { journal, folder }: JournalFolder): JournalReader {
  let open: OpenSegment | undefined;
  let place: Place | undefined;
  let durable = 0;
  const saltNow = new Uint8Array(8);

  /** Opens a segment of this journal; undefined when there is none of that number (any more, or yet). */
  function openSegment(number: number): OpenSegment | undefined {
    if (open?.number === number) return open;
    const path = `${folder}/${segmentName(number)}`;
    if (!disk.exists(path)) return undefined;
    const found = unlessGone(() => openFile(path, number));
    if (found === undefined) return undefined;
    closeSegment();
    open = found;
    return open;
  }

  function openFile(path: string, number: number): OpenSegment | undefined {
    const fd = disk.open(path, 'read');
    let found: OpenSegment | undefined;
    try {
      const header = readSegmentHeader(disk, fd);
      const size = disk.size(path);
      if (typeof header !== 'string' && header.segment === number)
        found = { number, fd, header, size, frameAt: createFrameReader(disk, fd, size, header.salt) };
    } finally {
      if (found === undefined) disk.close(fd);
    }
    return found;
  }

  function closeSegment(): void {
    if (open !== undefined) disk.close(open.fd);
    open = undefined;
  }

  /** Oldest first; none when the folder is gone. */
  const segmentNumbers = (): number[] =>
    (unlessGone(() => disk.list(folder)) ?? [])
      .map(segmentOf)
      .filter((number) => number !== undefined)
      .sort((a, b) => a - b);

  /** Finds the segment that holds `afterSeq + 1`, then goes over its frames: some 20 ms for 64 MiB. */
  function locate(afterSeq: number): Place {
    const numbers = segmentNumbers();
    let found: OpenSegment | undefined;
    for (const number of numbers.toReversed()) {
      const segment = openSegment(number);
      if (segment === undefined) continue;
      found = segment;
      if (found.header.firstSeq <= afterSeq + 1) break;
    }
    if (found === undefined) {
      if (afterSeq === 0) return { afterSeq: 0, segment: 1, offset: SEGMENT_HEADER_BYTES, frame: 1 };
      throw new JournalGapError(
        'beyond_end',
        `journal ${journal} holds nothing, but ${afterSeq} events of it were read before`,
      );
    }
    if (found.header.firstSeq > afterSeq + 1)
      throw new JournalGapError(
        'before_oldest',
        `journal ${journal} begins with event ${found.header.firstSeq}, but event ${afterSeq + 1} is asked for`,
      );
    return hop(found, afterSeq);
  }

  function hop(segment: OpenSegment, afterSeq: number): Place {
    let { firstSeq: seq, firstFrame: number } = segment.header;
    let offset = SEGMENT_HEADER_BYTES;
    while (seq <= afterSeq) {
      const frame = segment.frameAt(offset);
      if (frame === undefined || frame.header.number !== number)
        throw new JournalGapError(
          'beyond_end',
          `journal ${journal} ends at event ${seq - 1}, but event ${afterSeq} was read before`,
        );
      seq += frame.header.count;
      offset += frame.header.length;
      number += 1;
    }
    if (seq !== afterSeq + 1)
      throw new JournalGapError('beyond_end', `event ${afterSeq} of journal ${journal} does not end a frame`);
    return { afterSeq, segment: segment.number, offset, frame: number };
  }

  /** The frame at a place, or the first one of the next segment when this one has no more. */
  function frameAt(at: Place): ScannedFrame | undefined {
    const frame = openSegment(at.segment)?.frameAt(at.offset);
    if (frame !== undefined && frame.header.number === at.frame) return frame;
    // Also when this segment is gone: it may have been recycled once its last frame was delivered.
    const next = openSegment(at.segment + 1);
    if (next === undefined || next.header.firstFrame !== at.frame) return undefined;
    at.segment = next.number;
    at.offset = SEGMENT_HEADER_BYTES;
    const first = next.frameAt(at.offset);
    return first?.header.number === at.frame ? first : undefined;
  }

  /** A file may have got a new life while it was read: then what was read counts for nothing. */
  function sameLife(): boolean {
    if (open === undefined) return false;
    disk.read(open.fd, saltNow, 0, saltNow.byteLength, SALT_OFFSET);
    return view(saltNow).getBigUint64(0, true) === open.header.salt;
  }

  function read(
    afterSeq: number,
    limits: { readonly rowsMax: number; readonly bytesMax: number },
  ): readonly FrameView[] {
    if (place?.afterSeq !== afterSeq) place = locate(afterSeq);
    const at = { ...place };
    const frames: FrameView[] = [];
    const keep = createKeeper(limits.bytesMax);
    let rows = 0;
    let bytes = 0;
    while (rows < limits.rowsMax && bytes < limits.bytesMax) {
      const frame = frameAt(at);
      if (frame === undefined) break;
      const lastSeq = frame.header.firstSeq + frame.header.count - 1;
      const isLarge =
        frames.length > 0 &&
        (rows + frame.header.count > limits.rowsMax || bytes + frame.payload.byteLength > limits.bytesMax);
      if (isLarge) break;
      const view = {
        firstSeq: frame.header.firstSeq,
        lastSeq,
        timeMs: frame.header.timeMs,
        payload: keep(frame.payload, frame.header.count, Math.min(limits.rowsMax, durable - afterSeq) - rows),
      };
      const after = {
        afterSeq: lastSeq,
        segment: at.segment,
        offset: at.offset + frame.header.length,
        frame: at.frame + 1,
      };
      if (!sameLife()) {
        // The next read looks again, and says so if what it is asked for is gone.
        closeSegment();
        place = undefined;
        return frames;
      }
      if (lastSeq > durable && !hasSuccessor(after)) break;
      durable = Math.max(durable, lastSeq);
      frames.push(view);
      Object.assign(at, after);
      rows += frame.header.count;
      bytes += frame.payload.byteLength;
    }
    place = at;
    return frames;
  }

  /** A frame is written only after the sync of the one before it: a valid successor proves that it is durable. */
  function hasSuccessor(after: Place): boolean {
    return frameAt({ ...after }) !== undefined;
  }

  function oldestSeq(): number {
    for (const number of segmentNumbers()) {
      const segment = openSegment(number);
      if (segment !== undefined) return segment.header.firstSeq;
    }
    return 1;
  }

  return {
    journal,
    read,
    noteDurable(seq) {
      durable = Math.max(durable, seq);
    },
    durableSeq: () => durable,
    oldestSeq,
    close: closeSegment,
  };
}

/** Reserved, and taken from the machine only as it is written. */
const ROOM_BYTES_MAX = 32 * 1024 * 1024;
/** Rows differ in length: room for an eighth more than the first frame's would take. */
const SPARE_FRACTION = 1 / 8;

/** Copies payloads of `count` rows, each one behind the last while there is room; `rowsLeft`, its own included, may come. */
function createKeeper(bytesMax: number) {
  let room = new Uint8Array(0);
  let used = 0;
  return (payload: Uint8Array, count: number, rowsLeft: number): Uint8Array => {
    const { byteLength } = payload;
    if (room.byteLength - used < byteLength) {
      const expected = Math.ceil((byteLength / count) * rowsLeft * (1 + SPARE_FRACTION));
      room = Buffer.allocUnsafeSlow(Math.max(byteLength, Math.min(expected, bytesMax, ROOM_BYTES_MAX)));
      used = 0;
    }
    room.set(payload, used);
    used += byteLength;
    return room.subarray(used - byteLength, used);
  };
}

/** A segment may be recycled, and a journal removed, between finding its name and opening it. */
function unlessGone<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
