import { expect, test } from 'bun:test';
import { drainOf } from './outage.ts';

const sample = (seconds: number, pendingEvents: number, storedEvents: number) => ({
  seconds,
  pendingEvents,
  storedEvents,
});

test('the backlog drains from the first row stored after the return until a second of load is left', () => {
  const samples = [
    sample(4, 500, 9_500),
    sample(10, 50_000, 10_000),
    sample(11, 60_000, 10_000),
    sample(12, 70_000, 10_000),
    sample(13, 40_000, 50_000),
    sample(14, 9_000, 91_000),
    sample(15, 100, 110_000),
  ];
  expect(drainOf(samples, 10.5, 10_000)).toEqual({ delaySeconds: 1.5, seconds: 2, storedPerSecond: 40_500 });
});

test('a backlog that never drained has no rate', () => {
  const stuck = [sample(10, 50_000, 10_000), sample(11, 60_000, 10_000)];
  expect(drainOf(stuck, 10.5, 10_000)).toBeUndefined();
  expect(drainOf([...stuck, sample(12, 70_000, 10_000), sample(13, 60_000, 20_000)], 10.5, 10_000)).toBeUndefined();
});
