/** Which positions of some ranges have been seen: one bit each, in pages that are made when something falls into them. */

export interface PositionRange {
  readonly journal: string;
  /** Both included. */
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** `full`: there is no memory for the first position of a new page. */
export type Seen = 'first' | 'again' | 'outside' | 'full';

export interface SeenPositions {
  note(journal: string, seq: number): Seen;
}

const PAGE_BYTES = 4_096;
const PAGE_POSITIONS = PAGE_BYTES * 8;

/** `bytesMax`: of bits; 32 MiB are 268 million positions that follow one another. */
export function createSeenPositions(ranges: readonly PositionRange[], bytesMax: number): SeenPositions {
  const rangesOf = Map.groupBy(ranges, ({ journal }) => journal);
  const pages = new Map<string, Map<number, Uint8Array>>();
  let pagesLeft = Math.floor(bytesMax / PAGE_BYTES);

  function pageOf(journal: string, number: number): Uint8Array | undefined {
    const own = pages.get(journal) ?? new Map<number, Uint8Array>();
    pages.set(journal, own);
    const found = own.get(number);
    if (found !== undefined || pagesLeft === 0) return found;
    pagesLeft--;
    const page = new Uint8Array(PAGE_BYTES);
    own.set(number, page);
    return page;
  }

  return {
    note(journal, seq) {
      const own = rangesOf.get(journal);
      if (own?.some(({ firstSeq, lastSeq }) => seq >= firstSeq && seq <= lastSeq) !== true) return 'outside';
      const at = seq % PAGE_POSITIONS;
      const page = pageOf(journal, (seq - at) / PAGE_POSITIONS);
      if (page === undefined) return 'full';
      const bit = 1 << (at & 7);
      const byte = page[at >> 3] as number;
      if ((byte & bit) !== 0) return 'again';
      page[at >> 3] = byte | bit;
      return 'first';
    },
  };
}
