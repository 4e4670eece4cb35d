/** What the shared window tells of itself: health, counters, and a log that a flapping server does not fill. */
import type { SinkHealth } from '@libs/pipeline';
import { type Problem, SKIP_REASONS, type SkipReason } from './redis-problem.ts';

interface Counted {
  claimed: number;
  duplicate: number;
  busy: number;
  /** Ids, by why Redis was not asked or did not answer in time. */
  readonly skipped: Record<SkipReason, number>;
  confirmsSent: number;
  releasesSent: number;
}

/** Counts of ids since the start. */
export interface WindowCounters extends Readonly<Omit<Counted, 'skipped'>> {
  readonly skipped: Readonly<Record<SkipReason, number>>;
  /** Not confirmed, because too many waited or for too long. */
  readonly confirmsDropped: number;
  /** Times that the time limit passed, and replies that came after it: calls. */
  readonly timeouts: number;
  readonly lateReplies: number;
}

export interface WindowHealth extends SinkHealth {
  /** Why ids are not claimed just now; absent when they are. */
  readonly skipping?: SkipReason;
  readonly pendingConfirms: number;
  readonly counters: WindowCounters;
}

export function createCounters(): Counted {
  const skipped = Object.fromEntries(SKIP_REASONS.map((reason) => [reason, 0])) as Record<SkipReason, number>;
  return { claimed: 0, duplicate: 0, busy: 0, skipped, confirmsSent: 0, releasesSent: 0 };
}

/** These pass by themselves; every other reason needs somebody to look. */
const PASSING: readonly SkipReason[] = ['connecting', 'timeout', 'loading', 'overloaded'];

export function windowState(skipping: SkipReason | undefined): SinkHealth['state'] {
  if (skipping === undefined) return 'healthy';
  return PASSING.includes(skipping) ? 'degraded' : 'unhealthy';
}

export interface WindowLogger {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

const REPEAT_INTERVAL_MS = 60_000;

/** Remembers the last problem for /health, and logs each kind once a minute at most, with its end. */
export function createOutageLog(logger: WindowLogger, monotonicMs: () => number, consequence: string) {
  const loggedMs = new Map<SkipReason, number>();
  let lastError: string | undefined;
  let isOpen = false;

  function changed(why: Problem | undefined): void {
    if (why === undefined) {
      if (isOpen) logger.info({}, 'Redis answers again');
      isOpen = false;
      return;
    }
    lastError = why.message;
    if (why.reason === 'closed') return;
    const nowMs = monotonicMs();
    const lastMs = loggedMs.get(why.reason);
    if (lastMs !== undefined && nowMs - lastMs < REPEAT_INTERVAL_MS) return;
    loggedMs.set(why.reason, nowMs);
    isOpen = true;
    logger.warn({ reason: why.reason, error: why.message }, `Redis cannot be used: ${consequence}`);
  }

  return { changed, lastError: () => lastError };
}
