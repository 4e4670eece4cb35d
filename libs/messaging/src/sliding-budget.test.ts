import { expect, test } from 'bun:test';
import { createSlidingBudget } from './sliding-budget.ts';

test('the last of max within the window is one too many', () => {
  const budget = createSlidingBudget(3, 1000);
  expect([0, 10, 999].map((ms) => budget.spend(ms))).toEqual([false, false, true]);
});

test('max in exactly a window are fine, in any position of the ring', () => {
  const budget = createSlidingBudget(3, 1000);
  for (let ms = 0; ms < 20_000; ms += 500) expect(budget.spend(ms)).toBe(false);
  expect(budget.spend(19_999)).toBe(true);
});

test('a budget of one has no room at all', () => {
  expect(createSlidingBudget(1, 1000).spend(0)).toBe(true);
});
