/**
 * The keys of the events that still stand in a journal's segments: after a crash their confirms may never have left, and
 * another process would take the same ids in again. Ids that are condensed were confirmed before (`settledSeq` in shared-dedupe.ts).
 */
import { JournalGapError, type JournalReader } from '@libs/journal';
import { readStoredRows } from '@libs/models';

const ROWS_MAX = 2_000;
const BYTES_MAX = 1 << 20;

/**
 * Keys (storeId, NUL, eventId) of the rows up to `untilSeq`, frame by frame, of frames not older than `sinceMs` (frame
 * time). Segments that are condensed meanwhile are passed over.
 */
export function* recentKeys(reader: JournalReader, untilSeq: number, sinceMs: number): Generator<readonly string[]> {
  reader.noteDurable(untilSeq);
  let afterSeq = reader.oldestSeq() - 1;
  while (afterSeq < untilSeq) {
    const frames = framesAfter(reader, afterSeq);
    const last = frames.at(-1);
    if (last === undefined) return;
    for (const { payload, firstSeq, timeMs } of frames) {
      if (timeMs < sinceMs) continue;
      yield readStoredRows([payload], firstSeq).map(({ storeId, eventId }) => `${storeId}\0${eventId}`);
    }
    afterSeq = last.lastSeq;
  }
}

function framesAfter(reader: JournalReader, afterSeq: number): ReturnType<JournalReader['read']> {
  const limits = { rowsMax: ROWS_MAX, bytesMax: BYTES_MAX };
  for (let from = afterSeq; ; from = reader.oldestSeq() - 1) {
    try {
      return reader.read(from, limits);
    } catch (error) {
      // More was condensed in between.
      if (!(error instanceof JournalGapError)) throw error;
    }
  }
}
