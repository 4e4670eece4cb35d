/** How often the service has answered an error to each row of the blocks that are on their way. Kept in memory only. */
import type { RowFailure } from '@libs/pipeline';

/** One block per journal, and the replays of dead letters; beyond this the oldest starts counting anew. */
const BLOCKS_MAX = 1_024;

export interface RetryCounts {
  /** Sequence number → answers that were errors. */
  of(token: string): Map<number, number>;
  /** A write has ended: only rows that will be sent again are remembered. */
  settle(token: string, failures: readonly RowFailure[]): void;
}

export function createRetryCounts(): RetryCounts {
  const blocks = new Map<string, Map<number, number>>();

  function of(token: string): Map<number, number> {
    const known = blocks.get(token);
    if (known !== undefined) return known;
    const [oldest] = blocks.keys();
    if (blocks.size >= BLOCKS_MAX && oldest !== undefined) blocks.delete(oldest);
    const counts = new Map<number, number>();
    blocks.set(token, counts);
    return counts;
  }

  function settle(token: string, failures: readonly RowFailure[]): void {
    const counts = blocks.get(token);
    if (counts === undefined) return;
    const left = new Set(failures.flatMap(({ seq, permanent }) => (permanent ? [] : [seq])));
    for (const seq of counts.keys()) if (!left.has(seq)) counts.delete(seq);
    if (counts.size === 0) blocks.delete(token);
  }

  return { of, settle };
}
