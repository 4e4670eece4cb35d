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

export function createOpenLoop(options: OpenLoopOptions): OpenLoop {
  const { lanes, requestsPerSecond, requests, startMs, now, replied } = options;
  // The one that has been idle longest is next: a server may close what it has not heard of for some seconds.
  const free = lanes.map((_lane, index) => index);
  const dueOf = new Float64Array(lanes.length);
  const lagOf = new Float64Array(lanes.length);
  const isFlying = new Uint8Array(lanes.length);
  let next = 0;
  let answered = 0;

  /** Computed from the start each time, so that rounding never adds up. */
  const dueAt = (request: number) => startMs + (request * 1000) / requestsPerSecond;

  function pump(): number | undefined {
    while (next < requests) {
      const dueMs = dueAt(next);
      const nowMs = now();
      if (dueMs > nowMs) return dueMs;
      const lane = free.shift();
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
      free.push(lane);
      if (next < requests && dueAt(next) <= now()) pump();
    },
    isDone: () => answered === requests,
    unanswered: () => requests - answered,
  };
}
