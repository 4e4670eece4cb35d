import { expect, test } from 'bun:test';
import { createOpenLoop } from './open-loop.ts';
import { createSamples } from './samples.ts';

/**
 * A server on a clock of its own: it answers `serviceMs` after a request came, but does nothing at all between `stallFromMs`
 * and `stallToMs`. Time goes on in steps of a quarter of a millisecond.
 */
function simulate(options: {
  readonly lanes: number;
  readonly requestsPerSecond: number;
  readonly requests: number;
  readonly serviceMs: number;
  readonly stallFromMs: number;
  readonly stallToMs: number;
}) {
  const { serviceMs, stallFromMs, stallToMs, requests } = options;
  let nowMs = 0;
  const answerAt = new Map<number, number>();
  const latencies = createSamples();
  const lags = createSamples();
  /** From the sending: what a load that waits for the server would have seen. */
  const fromSending = createSamples();
  const loop = createOpenLoop({
    lanes: Array.from({ length: options.lanes }, (_, lane) => ({
      send() {
        const doneMs = nowMs + serviceMs;
        answerAt.set(lane, doneMs > stallFromMs && doneMs <= stallToMs ? stallToMs + serviceMs : doneMs);
      },
    })),
    requestsPerSecond: options.requestsPerSecond,
    requests,
    startMs: 0,
    now: () => nowMs,
    replied(_dueMs, latencyMs, lagMs) {
      latencies.add(latencyMs);
      lags.add(lagMs);
      fromSending.add(latencyMs - lagMs);
    },
  });
  for (; !loop.isDone(); nowMs += 0.25) {
    loop.pump();
    for (const [lane, doneMs] of [...answerAt]) {
      if (doneMs > nowMs) continue;
      answerAt.delete(lane);
      loop.onReplies(lane, 1);
    }
  }
  return {
    latency: latencies.percentiles(),
    lag: lags.percentiles(),
    fromSending: fromSending.percentiles(),
    unanswered: loop.unanswered(),
  };
}

test('a server that never stalls: every latency is the time of service, nothing is late', () => {
  const { latency, lag, unanswered } = simulate({
    lanes: 8,
    requestsPerSecond: 1_000,
    requests: 5_000,
    serviceMs: 2,
    stallFromMs: 0,
    stallToMs: 0,
  });
  expect(latency).toMatchObject({ count: 5_000, p50Ms: 2, p999Ms: 2, maxMs: 2 });
  expect(lag.maxMs).toBe(0);
  expect(unanswered).toBe(0);
});

test('a stall of one second in ten is charged to every request that was due in it', () => {
  const { latency, lag } = simulate({
    lanes: 4,
    requestsPerSecond: 1_000,
    requests: 10_000,
    serviceMs: 0.5,
    stallFromMs: 5_000,
    stallToMs: 6_000,
  });
  expect(latency.count).toBe(10_000);
  expect(latency.p50Ms).toBeLessThan(1);
  // A tenth of the requests waits from 0 to 1 s, plus what the server needs to catch up at 8,000 a second: the last
  // hundredth of all requests waited for at least nine tenths of the second.
  expect(latency.p99Ms).toBeGreaterThan(880);
  expect(latency.p99Ms).toBeLessThan(930);
  expect(latency.maxMs).toBeGreaterThan(995);
  // The four lanes were busy: what was due after them could not even be sent.
  expect(lag.p99Ms).toBeGreaterThan(880);
});

test('from the sending, the same stall would hardly be seen: that is what is avoided', () => {
  const { latency, fromSending } = simulate({
    lanes: 1,
    requestsPerSecond: 100,
    requests: 1_000,
    serviceMs: 1,
    stallFromMs: 3_000,
    stallToMs: 4_000,
  });
  // A hundred requests were due in the stall, one was sent into it.
  expect(fromSending).toMatchObject({ p99Ms: 1, p999Ms: 1 });
  expect(fromSending.maxMs).toBeGreaterThan(990);
  expect(latency.p99Ms).toBeGreaterThan(850);
});

test('the rate holds to the last request, without rounding adding up', () => {
  let nowMs = 0;
  const sentAt: number[] = [];
  const loop = createOpenLoop({
    lanes: Array.from({ length: 1_000 }, () => ({ send: () => sentAt.push(nowMs) })),
    requestsPerSecond: 3,
    requests: 1_000,
    startMs: 0,
    now: () => nowMs,
    replied() {},
  });
  for (let dueMs = loop.pump(); dueMs !== undefined; dueMs = loop.pump()) nowMs = dueMs;
  expect(sentAt).toHaveLength(1_000);
  expect(sentAt.at(-1)).toBeCloseTo((999 * 1_000) / 3, 6);
});

test('a reply that nobody asked for is a bug of the reader, not a sample', () => {
  const loop = createOpenLoop({
    lanes: [{ send() {} }],
    requestsPerSecond: 1,
    requests: 1,
    startMs: 0,
    now: () => 0,
    replied() {},
  });
  expect(() => loop.onReplies(0, 1)).toThrow();
  loop.pump();
  expect(() => loop.onReplies(0, 2)).toThrow();
});

test('no connection is left idle until the server closes it', () => {
  const sentAt: number[][] = [[], [], []];
  let nowMs = 0;
  let last = 0;
  const loop = createOpenLoop({
    lanes: sentAt.map((times, lane) => ({
      send() {
        times.push(nowMs);
        last = lane;
      },
    })),
    requestsPerSecond: 100,
    requests: 3_000,
    startMs: 0,
    now: () => nowMs,
    replied: () => undefined,
  });
  for (; !loop.isDone(); nowMs += 10) {
    loop.pump();
    loop.onReplies(last, 1);
  }
  for (const times of sentAt) {
    const gaps = times.map((time, at) => time - (times[at - 1] ?? 0));
    expect(times.length).toBeGreaterThan(0);
    expect(Math.max(...gaps, nowMs - (times.at(-1) as number))).toBeLessThan(5_000);
  }
});
