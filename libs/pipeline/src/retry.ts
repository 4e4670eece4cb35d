/** Trying again after an error: how long to wait, and when to give up. */
import { Overloaded, Permanent } from './errors.ts';

/** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

export interface BackoffLimits {
  /** Milliseconds before the second attempt (half of it at the least: see `backoffMs`). */
  readonly minMs: number;
  /** No wait is longer than this many milliseconds, but for `Overloaded` (see `OVERLOAD_WAIT_MAX_MS`). */
  readonly maxMs: number;
}

export interface RetryOptions extends BackoffLimits {
  /** Ends the waiting between attempts, never an attempt that is under way. */
  readonly signal: AbortSignal;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
  readonly sleep: Sleep;
  /** Errors that are not the attempt's own and end the trying, as `Permanent` does. */
  readonly isFinal?: (error: unknown) => boolean;
  /** Failures that come with progress: the waits begin anew with the shortest. */
  readonly isProgress?: (error: unknown) => boolean;
  /** Told of every failure that will be tried again, before the wait. */
  readonly onRetry?: (error: unknown, failures: number, waitMs: number) => void;
}

/** A server that asks for a day of rest is asked again after five minutes. */
export const OVERLOAD_WAIT_MAX_MS = 300_000;

/**
 * Milliseconds to wait after the given number of failures (from 1): doubled each time up to `maxMs`, of which the
 * upper half is random, so that clients that failed together do not come back together, and none comes back at once.
 */
export function backoffMs(failures: number, limits: BackoffLimits, random: () => number): number {
  const ceilingMs = Math.min(limits.maxMs, limits.minMs * 2 ** Math.min(failures - 1, 40));
  return ceilingMs / 2 + (random() * ceilingMs) / 2;
}

/**
 * Calls `attempt` until it succeeds. `Permanent` and what `isFinal` names is thrown on at once; everything else is tried again after a backoff,
 * after an `Overloaded` no sooner than it asks for. There is no limit on attempts: the caller's signal is the limit.
 * Throws the signal's reason when it aborts while waiting.
 */
export async function retry<T>(attempt: (failures: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await attempt(failures);
    } catch (error) {
      if (error instanceof Permanent || options.isFinal?.(error) === true) throw error;
      failures = options.isProgress?.(error) === true ? 1 : failures + 1;
      const waitMs = waitAfter(error, failures, options);
      options.onRetry?.(error, failures, waitMs);
      await options.sleep(waitMs, options.signal);
    }
  }
}

function waitAfter(error: unknown, failures: number, options: RetryOptions): number {
  const ownMs = backoffMs(failures, options, options.random);
  if (!(error instanceof Overloaded) || !(error.afterMs > 0)) return ownMs;
  return Math.max(ownMs, Math.min(error.afterMs, OVERLOAD_WAIT_MAX_MS));
}

/** The real `Sleep`. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    function onAbort(): void {
      clearTimeout(timer);
      reject(signal.reason);
    }
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
