/**
 * Open loop: requests are due at a fixed rate, whatever the server does. A latency runs from the moment at which its
 * request was due, not from when it could be sent: a server that stalls for a second is charged for every request that
 * was due in that second (otherwise the load politely waits for it: "coordinated omission").
 */

export interface OpenLoopLane {
  send(requests: number): void;
}

export interface OpenLoopOptions {
  /** One request in flight on each; requests that are due while none is free wait, and their latency grows. */
  readonly lanes: readonly OpenLoopLane[];
  readonly requestsPerSecond: number;
  /** Requests in all. */
  readonly requests: number;
  /** When the first is due, in the milliseconds of `now`. */
  readonly startMs: number;
  readonly now: () => number;
  /** `lagMs`: how long after it was due the request was sent. */
  readonly replied: (dueMs: number, latencyMs: number, lagMs: number) => void;
}

export interface OpenLoop {
  /** Sends what is due and has a free lane. Returns when the next is due; undefined when that waits for a lane or nothing is left. */
  pump(): number | undefined;
  /** So many replies came on this lane; more than one is in flight on none. */
  onReplies(lane: number, replies: number): void;
  isDone(): boolean;
  /** Requests that have not been answered, sent or not. */
  unanswered(): number;
}

/** Servers close connections that they have not heard of for some seconds: Weir after 8 to 12. */
const IDLE_MS_MAX = 4_000;

export function createOpenLoop(options: OpenLoopOptions): OpenLoop {
  const { lanes, requestsPerSecond, requests, startMs, now, replied } = options;
  const free = lanes.map((_lane, index) => index).reverse();
  const freeSince = new Float64Array(lanes.length).fill(startMs);
  const dueOf = new Float64Array(lanes.length);
  const lagOf = new Float64Array(lanes.length);
  const isFlying = new Uint8Array(lanes.length);
  let next = 0;
  let answered = 0;

  /** Computed from the start each time, so that rounding never adds up. */
  const dueAt = (request: number) => startMs + (request * 1000) / requestsPerSecond;

  /** The one that was used last, as clients with a pool do, unless the server might close another one soon. */
  function nextLane(nowMs: number): number | undefined {
    const [stalest] = free;
    if (stalest === undefined) return undefined;
    return nowMs - (freeSince[stalest] as number) > IDLE_MS_MAX ? free.shift() : free.pop();
  }

  function pump(): number | undefined {
    while (next < requests) {
      const dueMs = dueAt(next);
      const nowMs = now();
      if (dueMs > nowMs) return dueMs;
      const lane = nextLane(nowMs);
      if (lane === undefined) return undefined;
      next += 1;
      dueOf[lane] = dueMs;
      lagOf[lane] = nowMs - dueMs;
      isFlying[lane] = 1;
      lanes[lane]?.send(1);
    }
    return undefined;
  }

  return {
    pump,
    onReplies(lane, replies) {
      if (isFlying[lane] !== 1 || replies !== 1) throw new Error(`${replies} replies came where at most one was due`);
      isFlying[lane] = 0;
      answered += 1;
      const dueMs = dueOf[lane] as number;
      replied(dueMs, now() - dueMs, lagOf[lane] as number);
      freeSince[lane] = now();
      free.push(lane);
      if (next < requests && dueAt(next) <= now()) pump();
    },
    isDone: () => answered === requests,
    unanswered: () => requests - answered,
  };
}
