/**
 * Frame time: the last frame's time plus what the monotonic clock has counted since. A wall clock that jumps while
 * the process runs changes nothing; at start the later of last frame and wall clock counts, so time never goes back.
 */
export interface FrameClock {
  /** Milliseconds since 1970, never less than before. */
  nowMs(): number;
}

export interface ClockSources {
  /** Wall clock, ms since 1970. */
  readonly wallMs: () => number;
  /** Monotonic clock, ms from any origin. */
  readonly monotonicMs: () => number;
}

export const SYSTEM_CLOCK: ClockSources = { wallMs: Date.now, monotonicMs: () => performance.now() };

export function createFrameClock(lastFrameMs: number, sources: ClockSources): FrameClock {
  const base = Math.max(lastFrameMs, sources.wallMs());
  const origin = sources.monotonicMs();
  return { nowMs: () => base + Math.floor(sources.monotonicMs() - origin) };
}
