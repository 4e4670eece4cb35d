/** A service that asks for less is left alone for a while: as long as it says, else longer each time. */
import { backoffMs, OVERLOAD_WAIT_MAX_MS } from '@libs/pipeline';
import type { Reply } from './downstream-reply.ts';

/** For a 429 without Retry-After. */
const UNNAMED_WAITS = { minMs: 1_000, maxMs: 60_000 };

export interface Pause {
  note(reply: Reply): void;
  /** Milliseconds for which nothing may be sent; 0 when there is no pause. */
  leftMs(): number;
  /** Of the last pause. */
  reason(): string;
}

/** `nowMs` is a monotonic clock in milliseconds. No pause is longer than `OVERLOAD_WAIT_MAX_MS`. */
export function createPause(nowMs: () => number, random: () => number): Pause {
  let untilMs = 0;
  let inRow = 0;
  let reason = '';

  return {
    note(reply) {
      if (reply.kind !== 'failed') {
        inRow = 0;
        return;
      }
      const { retryAfterMs, isThrottled } = reply;
      if (retryAfterMs === undefined && !isThrottled) return;
      if (nowMs() >= untilMs) inRow++;
      const waitMs = retryAfterMs ?? backoffMs(inRow, UNNAMED_WAITS, random);
      untilMs = Math.max(untilMs, nowMs() + Math.min(waitMs, OVERLOAD_WAIT_MAX_MS));
      reason = reply.message;
    },
    leftMs: () => Math.max(0, untilMs - nowMs()),
    reason: () => reason,
  };
}
