/** When a client that has to go should come back: at a moment of its own, and later the more of them there are. */

/** Nobody is told to come back before this: a restart takes about as long. */
const DELAY_MIN_MS = 1_000;
const SPREAD_MIN_MS = 1_000;
/** So that all who were told to go are back, and can resume, within half of the minute in which they may. */
const SPREAD_MAX_MS = 29_000;
/** 1,000 handshakes a second, about a tenth of what one process manages. */
const SPREAD_MS_PER_CONNECTION = 1;

/** Milliseconds, 1,000 to 30,000; `connections` are those that may come back at once, `random` gives numbers in [0, 1). */
export function reconnectDelayMs(connections: number, random: () => number): number {
  const spreadMs = Math.min(SPREAD_MAX_MS, Math.max(SPREAD_MIN_MS, connections * SPREAD_MS_PER_CONNECTION));
  return DELAY_MIN_MS + Math.floor(random() * spreadMs);
}
