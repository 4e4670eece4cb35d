/** Closed loop: every lane has a fixed number of requests in flight and sends the next when one is answered. */

export interface ClosedLoopLane {
  send(requests: number): void;
}

export interface ClosedLoopOptions {
  readonly lanes: readonly ClosedLoopLane[];
  /** Requests in flight on each lane. */
  readonly inFlight: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** A reply came: when, and how long after its request was sent. */
  readonly replied: (nowMs: number, latencyMs: number) => void;
}

export interface ClosedLoop {
  start(): void;
  /** So many replies came on this lane, oldest request first. */
  onReplies(lane: number, replies: number): void;
  /** Sends nothing any more. */
  stop(): void;
  unanswered(): number;
}

export function createClosedLoop({ lanes, inFlight, now, replied }: ClosedLoopOptions): ClosedLoop {
  /** When each lane's requests in flight were sent: a ring, as replies come in the order of requests. */
  const sentAt = lanes.map(() => new Float64Array(inFlight));
  const oldest = new Uint32Array(lanes.length);
  const flying = new Uint32Array(lanes.length);
  let unanswered = 0;
  let isStopped = false;

  function send(lane: number, requests: number, nowMs: number): void {
    const times = sentAt[lane] as Float64Array;
    for (let count = 0; count < requests; count++) {
      times[((oldest[lane] as number) + (flying[lane] as number)) % inFlight] = nowMs;
      flying[lane] = (flying[lane] as number) + 1;
    }
    unanswered += requests;
    lanes[lane]?.send(requests);
  }

  return {
    start() {
      for (let lane = 0; lane < lanes.length; lane++) send(lane, inFlight, now());
    },
    onReplies(lane, replies) {
      const nowMs = now();
      const times = sentAt[lane] as Float64Array;
      for (let count = 0; count < replies; count++) {
        const at = oldest[lane] as number;
        replied(nowMs, nowMs - (times[at] as number));
        oldest[lane] = (at + 1) % inFlight;
      }
      flying[lane] = (flying[lane] as number) - replies;
      unanswered -= replies;
      if (!isStopped) send(lane, replies, now());
    },
    stop() {
      isStopped = true;
    },
    unanswered: () => unanswered,
  };
}
