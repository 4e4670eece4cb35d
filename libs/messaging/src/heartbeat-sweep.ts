/** Finds silent connections and overdue closes: one timer walks all of them, since a timer each would cost more than the rest. */
import type { ConnectionState, Ending } from './connection-state.ts';

export interface HeartbeatSweepOptions<S extends { readonly data: ConnectionState }> {
  readonly connections: ReadonlySet<S>;
  readonly limits: { readonly heartbeatIntervalMs: number; readonly closeTimeoutMs: number };
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly onSilent: (ws: S) => void;
  readonly onEndOverdue: (ws: S, ending: Ending) => void;
}

export interface HeartbeatSweep {
  start(): void;
  stop(): void;
  /** What the timer does. */
  run(): void;
  nowMs(): number;
  /** The clock as of the last sweep: a frame only copies a number. */
  coarseNowMs(): number;
}

const PERIOD_MAX_MS = 5_000;
const PERIOD_MIN_MS = 5;

/** A connection is silent after two intervals and is found at most a quarter of an interval later. */
export function createHeartbeatSweep<S extends { readonly data: ConnectionState }>(
  options: HeartbeatSweepOptions<S>,
): HeartbeatSweep {
  const { heartbeatIntervalMs, closeTimeoutMs } = options.limits;
  const shortest = Math.min(heartbeatIntervalMs / 8, closeTimeoutMs / 4, PERIOD_MAX_MS);
  const periodMs = Math.max(PERIOD_MIN_MS, shortest);
  // The coarse clock may be a period behind when a frame copies it: nobody is closed early for that.
  const silentMs = 2 * heartbeatIntervalMs + periodMs;
  let sweptMs = options.now();
  let timer: ReturnType<typeof setInterval> | undefined;

  function run(): void {
    const nowMs = options.now();
    // A process that stood still heard nobody: that time is no client's silence.
    const lateMs = Math.max(0, nowMs - sweptMs - 2 * periodMs);
    sweptMs = nowMs;
    for (const ws of options.connections) {
      const state = ws.data;
      if (state.ending !== undefined) {
        if (nowMs - state.ending.sinceMs >= closeTimeoutMs) options.onEndOverdue(ws, state.ending);
        continue;
      }
      if (lateMs > 0) state.lastSeenMs += lateMs;
      if (nowMs - state.lastSeenMs > silentMs) options.onSilent(ws);
    }
  }

  return {
    start() {
      if (timer !== undefined) return;
      sweptMs = options.now();
      timer = setInterval(run, periodMs);
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
    run,
    nowMs: options.now,
    coarseNowMs: () => sweptMs,
  };
}
