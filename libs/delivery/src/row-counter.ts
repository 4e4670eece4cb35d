/**
 * Counts the rows of a block by minute, store and type without parsing them. Every row starts with exactly
 * `{"storeId":"…","eventType":"…","`, and within a JSON string every quote has a backslash before it: so the first
 * `","` behind each of the two values is their true end, whatever the values hold.
 */
import { Permanent } from '@libs/pipeline';
import type { MinuteCount } from './counters.ts';

/** Where a frame's rows stand in a block's bytes: frames lie one behind the other, from offset 0. */
export interface FrameExtent {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Frame time in milliseconds since 1970. */
  readonly timeMs: number;
  readonly byteLength: number;
}

export interface RowCounter {
  /**
   * Throws `Permanent` (`row_count_mismatch`, `row_malformed`) when a frame does not hold one row, ended by a line
   * feed, for each of its sequence numbers.
   */
  count(bytes: Uint8Array, frames: readonly FrameExtent[]): readonly MinuteCount[];
}

interface Kind {
  readonly storeId: string;
  readonly eventType: string;
  count: number;
}

const ROW_START = '{"storeId":"';
const BETWEEN = '","eventType":"';
const ROW_NEXT = '","';
const MINUTE_MS = 60_000;

/** Bytes that are turned into a string at a time; a frame that is larger goes alone. */
const RUN_BYTES = 256 * 1024;

/** Beginnings of rows that are remembered (some 200 bytes each); all are forgotten when there are more. */
const KINDS_MAX = 65_536;

export function createRowCounter(): RowCounter {
  const kinds = new Map<string, Kind>();
  let touched: Kind[] = [];

  /** Rows are read as one character a byte: offsets stay byte offsets, and nothing has to be decoded but a new kind. */
  function kindAt(text: string, start: number, end: number, seq: number): Kind {
    const idEnd = text.indexOf(BETWEEN, start + ROW_START.length);
    const typeEnd = idEnd < 0 ? -1 : text.indexOf(ROW_NEXT, idEnd + BETWEEN.length);
    if (typeEnd < 0 || typeEnd >= end) throw malformed(seq);
    const key = text.substring(start, typeEnd);
    const known = kinds.get(key);
    if (known !== undefined) return known;
    if (!key.startsWith(ROW_START)) throw malformed(seq);
    const kind = {
      storeId: decode(text.substring(start + ROW_START.length, idEnd), seq),
      eventType: decode(text.substring(idEnd + BETWEEN.length, typeEnd), seq),
      count: 0,
    };
    if (kinds.size >= KINDS_MAX) kinds.clear();
    // A copy of its own: a substring would keep the whole text alive.
    kinds.set(Buffer.from(key, 'latin1').toString('latin1'), kind);
    return kind;
  }

  function countFrame(text: string, from: number, frame: FrameExtent): void {
    const end = from + frame.byteLength;
    let start = from;
    for (let seq = frame.firstSeq; seq <= frame.lastSeq; seq++) {
      const lineFeed = text.indexOf('\n', start);
      if (lineFeed < 0 || lineFeed >= end) throw miscounted(frame, `only ${seq - frame.firstSeq}`);
      const kind = kindAt(text, start, lineFeed, seq);
      if (kind.count === 0) touched.push(kind);
      kind.count++;
      start = lineFeed + 1;
    }
    if (start !== end) throw miscounted(frame, 'more');
  }

  function takeMinute(minute: number, into: MinuteCount[]): void {
    for (const kind of touched) {
      into.push({ minute, storeId: kind.storeId, eventType: kind.eventType, count: kind.count });
      kind.count = 0;
    }
    touched = [];
  }

  function count(bytes: Uint8Array, frames: readonly FrameExtent[]): readonly MinuteCount[] {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const counts: MinuteCount[] = [];
    let minute = 0;
    let text = '';
    let textStart = 0;
    let offset = 0;
    try {
      for (const [index, frame] of frames.entries()) {
        if (offset === textStart + text.length) {
          textStart = offset;
          text = buffer.toString('latin1', offset, offset + runBytes(frames, index));
        }
        const frameMinute = Math.floor(frame.timeMs / MINUTE_MS);
        if (frameMinute !== minute) takeMinute(minute, counts);
        minute = frameMinute;
        countFrame(text, offset - textStart, frame);
        offset += frame.byteLength;
      }
      takeMinute(minute, counts);
      return counts;
    } finally {
      for (const kind of touched) kind.count = 0;
      touched = [];
    }
  }

  return { count };
}

/** The bytes of as many whole frames as fit into a run, one at the least. */
function runBytes(frames: readonly FrameExtent[], from: number): number {
  let bytes = (frames[from] as FrameExtent).byteLength;
  for (let index = from + 1; index < frames.length; index++) {
    const { byteLength } = frames[index] as FrameExtent;
    if (bytes + byteLength > RUN_BYTES) break;
    bytes += byteLength;
  }
  return bytes;
}

function decode(escaped: string, seq: number): string {
  try {
    return JSON.parse(`"${Buffer.from(escaped, 'latin1').toString('utf8')}"`);
  } catch (error) {
    throw malformed(seq, error);
  }
}

function malformed(seq: number, cause?: unknown): Permanent {
  return new Permanent('row_malformed', `the journal's row ${seq} does not start with a storeId and an eventType`, {
    cause,
  });
}

export function miscounted(frame: FrameExtent, found: string): Permanent {
  const wanted = frame.lastSeq - frame.firstSeq + 1;
  return new Permanent(
    'row_count_mismatch',
    `the journal's frame ${frame.firstSeq}–${frame.lastSeq} should hold ${wanted} rows and holds ${found}`,
  );
}
