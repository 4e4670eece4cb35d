/** Allows fewer than `max` events within any `windowMs` milliseconds. */
export interface SlidingBudget {
  /** Counts one event; true when it is the `max`th within the window. */
  spend(nowMs: number): boolean;
}

/** Remembers the last `max` times in a ring: 8 bytes each, made on the first spend of whoever holds it. */
export function createSlidingBudget(max: number, windowMs: number): SlidingBudget {
  const times = new Float64Array(max).fill(Number.NEGATIVE_INFINITY);
  let next = 0;
  return {
    spend(nowMs) {
      times[next] = nowMs;
      next = (next + 1) % max;
      const oldest = times[next] ?? Number.NEGATIVE_INFINITY;
      return nowMs - oldest < windowMs;
    },
  };
}
