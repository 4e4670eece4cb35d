/**
 * The positions that a sink's `done` and dead letters of an interval stand for: what was counted when it passed the store,
 * and what waits for the store but not for this sink, without what waits for this sink.
 */
import type { CountedRange } from './counters.ts';

export interface SinkRanges {
  /** A part of a frame that waits for somebody, but not for this sink. In order within a journal. */
  addAhead(part: CountedRange): void;
  all(): readonly CountedRange[];
}

/** `cursorOf`: how far the sink has come; undefined for a journal that it is done with. */
export function createSinkRanges(
  counted: readonly CountedRange[],
  cursorOf: (journal: string) => number | undefined,
): SinkRanges {
  const ranges = new Map<string, CountedRange[]>();
  for (const { journal, firstSeq, lastSeq } of counted) {
    const end = Math.min(lastSeq, cursorOf(journal) ?? lastSeq);
    if (firstSeq <= end) ranges.set(journal, [{ journal, firstSeq, lastSeq: end }]);
  }

  function addAhead(part: CountedRange): void {
    const own = ranges.get(part.journal) ?? [];
    ranges.set(part.journal, own);
    const last = own.at(-1);
    if (last !== undefined && part.firstSeq <= last.lastSeq + 1) {
      own[own.length - 1] = { ...last, lastSeq: Math.max(last.lastSeq, part.lastSeq) };
    } else own.push(part);
  }

  return { addAhead, all: () => [...ranges.values()].flat() };
}
