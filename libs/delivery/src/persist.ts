/** Changing the state when the disk may be full. */
import { type BackoffLimits, backoffMs } from '@libs/pipeline';
import type { DeliveryClock } from './limits.ts';
import { isDiskFull } from './state-database.ts';

/** The state database failed: after that nobody knows what its file holds, and only a new process may read it. */
export class StateFailed extends Error {
  constructor(cause: unknown) {
    super(`the state database failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'StateFailed';
  }
}

/**
 * Runs a transaction of the state. A full disk passes, and SQLite has rolled back: it is tried again. Any other error
 * becomes `StateFailed`.
 */
export type Persist = (transaction: () => void) => Promise<void>;

/** `waits` ends the waiting; once `halt` has aborted nothing is changed any more. Both throw their reason. */
export function createPersist(options: {
  readonly limits: BackoffLimits;
  readonly clock: DeliveryClock;
  readonly waits: AbortSignal;
  readonly halt: AbortSignal;
  readonly onDiskFull: (error: unknown) => void;
}): Persist {
  const { limits, clock, waits, halt, onDiskFull } = options;
  return async (transaction) => {
    for (let failures = 1; ; failures++) {
      halt.throwIfAborted();
      try {
        transaction();
        return;
      } catch (error) {
        if (!isDiskFull(error)) throw new StateFailed(error);
        onDiskFull(error);
        await clock.sleep(backoffMs(failures, limits, clock.random), waits);
      }
    }
  };
}
