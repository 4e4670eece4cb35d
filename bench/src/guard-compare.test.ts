import { expect, test } from 'bun:test';
import { missing } from './guard.ts';
import { compareFigures, figureOf, type GuardFigure, type GuardFigures, toleranceOf } from './guard-compare.ts';
import { createRandom } from './random.ts';

const steady: GuardFigure = { median: 2, spread: 0, rounds: 5 };
const both = (accept: GuardFigure, deliver = accept): GuardFigures => ({ batch: { accept, deliver } });

/** Sum of twelve uniform values: mean 0, standard deviation 1, near enough to normal. */
function normal(random: ReturnType<typeof createRandom>): number {
  let sum = -6;
  for (let count = 0; count < 12; count++) sum += random.below(1_000_000) / 1_000_000;
  return sum;
}

test('what got worse is named, with the load, the process and by how much', () => {
  const [accept, deliver] = compareFigures(both(steady), both({ ...steady, median: 2.3 }, steady));
  expect(accept).toMatchObject({ load: 'batch', process: 'accept', before: 2, now: 2.3, verdict: 'worse' });
  expect(accept?.change).toBeCloseTo(0.15);
  expect(deliver).toMatchObject({ process: 'deliver', change: 0, verdict: 'same' });
});

test('a change within the noise is none, and the same change on a quiet machine is one', () => {
  const now = { median: 2.3, spread: 0.12, rounds: 5 };
  expect(compareFigures(both({ ...steady, spread: 0.12 }), both(now))[0]?.verdict).toBe('same');
  const quiet = { ...now, spread: 0.02 };
  expect(compareFigures(both({ ...steady, spread: 0.02 }), both(quiet))[0]?.verdict).toBe('worse');
});

test('noise that could hide a third is said, unless it got worse even so', () => {
  const wild = { median: 2, spread: 0.5, rounds: 5 };
  expect(compareFigures(both(steady), both(wild))[0]?.verdict).toBe('too noisy');
  expect(compareFigures(both(steady), both({ ...wild, median: 6 }))[0]?.verdict).toBe('worse');
});

test('what got better is told apart, and is no complaint', () => {
  expect(compareFigures(both(steady), both({ ...steady, median: 1.5 }))[0]?.verdict).toBe('better');
});

test('without a figure nothing is called the same', () => {
  expect(compareFigures(both(steady), both(figureOf([])))[0]?.verdict).toBe('too noisy');
});

test('a load that only one side has is told', () => {
  expect(missing(both(steady), both(steady))).toEqual([]);
  expect(missing({}, both(steady))[0]).toStartWith('batch: the baseline does not have it');
  expect(missing(both(steady), {})[0]).toStartWith('batch: it stands in the baseline, and was not measured');
});

test('a load that the baseline lacks is not compared', () => {
  expect(compareFigures({}, both(steady))).toEqual([]);
});

test('the spread is the standard deviation of a round, and one disturbed round changes little', () => {
  const random = createRandom(1);
  const values = Array.from({ length: 20_000 }, () => 3 + 0.2 * normal(random));
  const { median, spread } = figureOf(values);
  expect(median).toBeCloseTo(3, 1);
  expect(Math.abs(spread - 0.2)).toBeLessThan(0.01);
  const disturbed = figureOf([1, 1.01, 0.99, 1.02, 9]);
  expect(disturbed.median).toBe(1.01);
  expect(disturbed.spread).toBeLessThan(0.05);
});

test('the spread of five values is not too small on average', () => {
  const random = createRandom(2);
  const groups = 4_000;
  let sum = 0;
  for (let group = 0; group < groups; group++) sum += figureOf(Array.from({ length: 5 }, () => normal(random))).spread;
  expect(Math.abs(sum / groups - 1)).toBeLessThan(0.1);
});

test('two runs of the same thing are hardly ever told apart, whatever the noise', () => {
  const random = createRandom(3);
  const draw = () => both(figureOf(Array.from({ length: 5 }, () => 2 + 0.08 * normal(random))));
  const verdicts = Array.from({ length: 2_000 }, () => compareFigures(draw(), draw())[0]?.verdict);
  expect(verdicts.filter((verdict) => verdict === 'worse').length).toBeLessThan(20);
});

test('more rounds make the tolerance smaller, down to what is not worth an alarm', () => {
  const noisy = (rounds: number) => ({ median: 2, spread: 0.1, rounds });
  expect(toleranceOf(noisy(20), noisy(20))).toBeCloseTo(toleranceOf(noisy(5), noisy(5)) / 2);
  expect(toleranceOf(steady, steady)).toBe(0.05);
});
