/** A journal in memory behind the real reader's contract: what a test appends is durable when it says so. */
import { type FrameView, JournalGapError, type JournalReader } from '@libs/journal';

export interface FakeRow {
  readonly storeId: string;
  readonly eventType: string;
}

export interface FakeJournal {
  readonly id: string;
  /** Appends one frame; returns its last sequence number. */
  append(rows: readonly FakeRow[], timeMs?: number): number;
  /** Appends a frame with any bytes at all. */
  appendRaw(payload: string, count: number, timeMs?: number): number;
  /** Everything up to `seq` is gone, as after retention. */
  dropThrough(seq: number): void;
  /** Everything after `seq` is gone, as after an old backup was restored. */
  cutAfter(seq: number): void;
  /** A reader that knows no more to be durable than a valid successor proves. */
  reader(): JournalReader & { readonly reads: number };
  frames(): readonly FrameView[];
  lastSeq(): number;
}

const encoder = new TextEncoder();

export function createFakeJournal(id: string): FakeJournal {
  let frames: FrameView[] = [];
  let end = 0;
  let lastTimeMs = 1_700_000_000_000;

  function appendRaw(payload: string, count: number, timeMs = lastTimeMs): number {
    lastTimeMs = timeMs;
    frames.push({ firstSeq: end + 1, lastSeq: end + count, timeMs, payload: encoder.encode(payload) });
    end += count;
    return end;
  }

  function append(rows: readonly FakeRow[], timeMs?: number): number {
    const lines = rows.map(({ storeId, eventType }, index) => {
      return `${JSON.stringify({ storeId, eventType, eventId: `e${end + index + 1}`, seq: end + index + 1 })}\n`;
    });
    return appendRaw(lines.join(''), rows.length, timeMs);
  }

  function reader(): JournalReader & { readonly reads: number } {
    let durable = 0;
    let reads = 0;
    return {
      journal: id,
      get reads() {
        return reads;
      },
      read(afterSeq, limits) {
        reads++;
        const oldest = frames[0]?.firstSeq ?? end + 1;
        if (afterSeq + 1 < oldest) throw new JournalGapError('before_oldest', `journal ${id} begins with ${oldest}`);
        if (afterSeq > end) throw new JournalGapError('beyond_end', `journal ${id} ends at ${end}`);
        if (frames.some(({ firstSeq, lastSeq }) => afterSeq >= firstSeq && afterSeq < lastSeq)) {
          throw new JournalGapError('beyond_end', `event ${afterSeq} of journal ${id} does not end a frame`);
        }
        const found: FrameView[] = [];
        let rows = 0;
        let bytes = 0;
        for (const frame of frames) {
          if (frame.lastSeq <= afterSeq) continue;
          if (frame.lastSeq > durable && frame.lastSeq === end) break;
          durable = Math.max(durable, frame.lastSeq);
          rows += frame.lastSeq - frame.firstSeq + 1;
          bytes += frame.payload.byteLength;
          if (found.length > 0 && (rows > limits.rowsMax || bytes > limits.bytesMax)) break;
          found.push({ ...frame, payload: frame.payload.slice() });
        }
        return found;
      },
      noteDurable(seq) {
        durable = Math.max(durable, seq);
      },
      durableSeq: () => durable,
      oldestSeq: () => frames[0]?.firstSeq ?? end + 1,
      close() {
        frames = [...frames];
      },
    };
  }

  return {
    id,
    append,
    appendRaw,
    dropThrough(seq) {
      frames = frames.filter((frame) => frame.firstSeq > seq);
    },
    cutAfter(seq) {
      frames = frames.filter((frame) => frame.lastSeq <= seq);
      end = frames.at(-1)?.lastSeq ?? 0;
    },
    reader,
    frames: () => frames,
    lastSeq: () => end,
  };
}
