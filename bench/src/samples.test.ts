import { expect, test } from 'bun:test';
import { createSamples, median, nearestRank, percentilesOf } from './samples.ts';

test('percentiles of 1 to 1,000 in any order', () => {
  const samples = createSamples();
  for (let value = 0; value < 1_000; value++) samples.add(((value * 617) % 1_000) + 1);
  expect(samples.percentiles()).toEqual({
    count: 1_000,
    meanMs: 500.5,
    p50Ms: 500,
    p99Ms: 990,
    p999Ms: 999,
    maxMs: 1_000,
  });
});

test('one slow answer in a hundred is beyond p99, two are not', () => {
  const slow = (count: number) => percentilesOf(Float64Array.from({ length: 100 }, (_, at) => (at < count ? 500 : 1)));
  expect(slow(1).p99Ms).toBe(1);
  expect(slow(2).p99Ms).toBe(500);
});

test('an exponential distribution has the percentiles it must have', () => {
  const count = 200_000;
  const values = Float64Array.from({ length: count }, (_, at) => -Math.log(1 - (at + 0.5) / count));
  const { meanMs, p50Ms, p99Ms, p999Ms } = percentilesOf(values);
  expect(meanMs).toBeCloseTo(1, 3);
  expect(p50Ms).toBeCloseTo(Math.log(2), 3);
  expect(p99Ms).toBeCloseTo(Math.log(100), 2);
  expect(p999Ms).toBeCloseTo(Math.log(1_000), 1);
});

test('more samples than the first buffer holds', () => {
  const samples = createSamples();
  for (let value = 1; value <= 200_001; value++) samples.add(value);
  expect(samples.percentiles()).toMatchObject({ count: 200_001, p50Ms: 100_001, maxMs: 200_001 });
});

test('nothing measured is no number', () => {
  expect(percentilesOf(new Float64Array())).toMatchObject({ count: 0, p50Ms: Number.NaN, maxMs: Number.NaN });
  expect(median([])).toBeNaN();
});

test('nearest rank at the edges', () => {
  expect(nearestRank([7], 0.5)).toBe(7);
  expect(nearestRank([1, 2], 0.5)).toBe(1);
  expect(nearestRank([1, 2, 3], 1)).toBe(3);
});

test('a median leaves its values in order', () => {
  const values = [3, 1, 2];
  expect(median(values)).toBe(2);
  expect(values).toEqual([3, 1, 2]);
  expect(median([4, 1, 2, 3])).toBe(2.5);
});
