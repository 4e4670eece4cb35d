/** When to cut a batch. It holds no rows: it is told how many wait, and says how long they may still wait. */

export interface BatchLimits {
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** Milliseconds that the first row of a batch may wait for others. */
  readonly intervalMs: number;
  /** Milliseconds from one batch to the next that is not full. What comes after a pause does not wait for it. Default 0. */
  readonly paceMs?: number;
}

export interface Batcher {
  /** How much waits now, in all (bytes may be an estimate). The first time it is more than nothing starts the interval. */
  waiting(rows: number, bytes: number): void;
  /** Somebody waits for the next batch: cut it as soon as there is anything in it. Holds until a batch is taken. */
  flush(): void;
  /** Milliseconds until a batch is due: 0 is now, undefined says that nothing waits. */
  dueInMs(): number | undefined;
  /** A batch was cut; what waits from now on is a new one. */
  taken(): void;
}

/** `nowMs` is a monotonic clock in milliseconds. */
export function createBatcher(limits: BatchLimits, nowMs: () => number): Batcher {
  let rows = 0;
  let bytes = 0;
  let firstSeenMs = 0;
  let flushAsked = false;
  let takenMs = Number.NEGATIVE_INFINITY;

  return {
    waiting(rowsNow, bytesNow) {
      if (rows <= 0 && rowsNow > 0) firstSeenMs = nowMs();
      rows = rowsNow;
      bytes = bytesNow;
    },
    flush() {
      flushAsked = true;
    },
    dueInMs() {
      if (rows <= 0) return undefined;
      if (flushAsked || rows >= limits.rowsMax || bytes >= limits.bytesMax) return 0;
      return Math.max(0, Math.max(firstSeenMs + limits.intervalMs, takenMs + (limits.paceMs ?? 0)) - nowMs());
    },
    taken() {
      rows = 0;
      bytes = 0;
      flushAsked = false;
      takenMs = nowMs();
    },
  };
}
