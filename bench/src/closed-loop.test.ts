import { expect, test } from 'bun:test';
import { createClosedLoop } from './closed-loop.ts';

function setup(lanes: number, inFlight: number) {
  const sent: number[] = Array.from({ length: lanes }, () => 0);
  const latencies: number[] = [];
  const clock = { ms: 0 };
  const loop = createClosedLoop({
    lanes: sent.map((_, lane) => ({
      send(requests) {
        sent[lane] = (sent[lane] as number) + requests;
      },
    })),
    inFlight,
    now: () => clock.ms,
    replied: (_nowMs, latencyMs) => latencies.push(latencyMs),
  });
  return { loop, sent, latencies, clock };
}

test('as many requests as are in flight, and one more for each that is answered', () => {
  const { loop, sent } = setup(3, 4);
  loop.start();
  expect(sent).toEqual([4, 4, 4]);
  loop.onReplies(1, 3);
  expect(sent).toEqual([4, 7, 4]);
  expect(loop.unanswered()).toBe(12);
});

test('a latency belongs to the oldest request of its lane', () => {
  const { loop, latencies, clock } = setup(1, 2);
  loop.start();
  clock.ms = 10;
  loop.onReplies(0, 1);
  clock.ms = 15;
  loop.onReplies(0, 2);
  expect(latencies).toEqual([10, 15, 5]);
});

test('after the stop nothing is sent, and what is in flight runs out', () => {
  const { loop, sent } = setup(2, 1);
  loop.start();
  loop.stop();
  loop.onReplies(0, 1);
  loop.onReplies(1, 1);
  expect(sent).toEqual([1, 1]);
  expect(loop.unanswered()).toBe(0);
});
