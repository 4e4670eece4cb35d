import { expect, test } from 'bun:test';
import { createBatcher } from './batcher.ts';

function setup() {
  const clock = { ms: 1_000 };
  const batcher = createBatcher({ rowsMax: 100, bytesMax: 10_000, intervalMs: 200 }, () => clock.ms);
  return { clock, batcher };
}

test('nothing is due while nothing waits', () => {
  const { clock, batcher } = setup();
  expect(batcher.dueInMs()).toBeUndefined();
  batcher.waiting(0, 0);
  clock.ms += 10_000;
  expect(batcher.dueInMs()).toBeUndefined();
});

test('the interval starts with the first row, and later rows do not prolong it', () => {
  const { clock, batcher } = setup();
  clock.ms = 5_000;
  batcher.waiting(1, 10);
  expect(batcher.dueInMs()).toBe(200);
  clock.ms = 5_150;
  batcher.waiting(99, 9_999);
  expect(batcher.dueInMs()).toBe(50);
  clock.ms = 5_500;
  expect(batcher.dueInMs()).toBe(0);
});

test.each([
  ['rows', 100, 10],
  ['bytes', 1, 10_000],
])('the limit on %s makes a batch due at once', (_name, rows, bytes) => {
  const { batcher } = setup();
  batcher.waiting(rows, bytes);
  expect(batcher.dueInMs()).toBe(0);
});

test('a flush makes whatever waits due at once, and is kept while nothing waits', () => {
  const { batcher } = setup();
  batcher.flush();
  expect(batcher.dueInMs()).toBeUndefined();
  batcher.waiting(1, 10);
  expect(batcher.dueInMs()).toBe(0);
});

test('after a batch was taken a new interval starts, and an old flush is done with', () => {
  const { clock, batcher } = setup();
  batcher.waiting(1, 10);
  batcher.flush();
  batcher.taken();
  expect(batcher.dueInMs()).toBeUndefined();
  clock.ms += 150;
  batcher.waiting(7, 70);
  expect(batcher.dueInMs()).toBe(200);
});

test('with a pace, batches that are not full keep their distance; what comes after a pause does not wait for it', () => {
  const clock = { ms: 1_000 };
  const limits = { rowsMax: 100, bytesMax: 10_000, intervalMs: 200, paceMs: 1_000 };
  const batcher = createBatcher(limits, () => clock.ms);
  batcher.waiting(1, 10);
  expect(batcher.dueInMs()).toBe(200);
  clock.ms += 200;
  batcher.taken();
  clock.ms += 50;
  batcher.waiting(1, 10);
  expect(batcher.dueInMs()).toBe(950);
  // Full, or asked for, it goes at once.
  batcher.waiting(100, 10);
  expect(batcher.dueInMs()).toBe(0);
  batcher.waiting(2, 20);
  batcher.flush();
  expect(batcher.dueInMs()).toBe(0);
  batcher.taken();
  clock.ms += 5_000;
  batcher.waiting(1, 10);
  expect(batcher.dueInMs()).toBe(200);
});
