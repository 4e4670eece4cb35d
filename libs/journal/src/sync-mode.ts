/**
 * Where a sync runs. A slow disk must not hold the event loop; on a fast one the way through the thread pool costs more
 * than the sync, and its few slow syncs (another process writes to the same disk) are no reason to go there.
 */

export type SyncMode = 'inline' | 'pool';

export interface SyncModes {
  readonly current: SyncMode;
  /** How long a sync held the event loop, or in the pool: for how long the loop was idle because of it. In ms. */
  measure(heldMs: number): void;
}

/** Over this mean of recent syncs in ms they go to the thread pool; below half of it they may come back. */
const INLINE_MS = 1;
/** One sync weighs no more than this among the recent ones, in ms. */
const OUTLIER_MS = 4;
/** A single sync longer than this, in ms, moves the following to the pool at once. */
const STALL_MS = 10;
/** The mean is over about so many syncs. */
const RECENT = 16;
/** So many in the pool before they may come back. */
const POOL_SYNCS_MIN = 128;

export function createSyncModes(): SyncModes {
  let current: SyncMode = 'inline';
  let meanMs = 0;
  let poolSyncs = 0;

  return {
    get current() {
      return current;
    },
    measure(heldMs) {
      meanMs += (Math.min(heldMs, OUTLIER_MS) - meanMs) / RECENT;
      if (current === 'pool') {
        poolSyncs += 1;
        if (poolSyncs >= POOL_SYNCS_MIN && meanMs < INLINE_MS / 2) current = 'inline';
      } else if (meanMs > INLINE_MS || heldMs > STALL_MS) {
        current = 'pool';
        poolSyncs = 0;
      }
    },
  };
}
