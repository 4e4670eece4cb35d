import { expect, test } from 'bun:test';
import { createRandom } from './random.ts';
import { type Reading, slopeOf } from './soak-slope.ts';

const MINUTES = 30;
const INTERVAL_SECONDS = 5;
const COUNT = (MINUTES * 60) / INTERVAL_SECONDS;

function series(valueAt: (minutes: number, at: number) => number): Reading[] {
  return Array.from({ length: COUNT }, (_, at) => {
    const seconds = at * INTERVAL_SECONDS;
    return { seconds, value: valueAt(seconds / 60, at) };
  });
}

/** A heap that grows until it is collected. */
const sawtooth = (at: number, period: number) => 40 * ((at % period) / period);

test('a heap that is collected again and again is flat', () => {
  const { perMinute, verdict } = slopeOf(
    series((_minutes, at) => 200 + sawtooth(at, 13)),
    1,
  );
  expect(Math.abs(perMinute)).toBeLessThan(1);
  expect(verdict).toBe('flat');
});

test('a leak is found behind the same saw', () => {
  const { perMinute, uncertainty, verdict } = slopeOf(
    series((minutes, at) => 200 + sawtooth(at, 13) + 3 * minutes),
    1,
  );
  expect(verdict).toBe('grows');
  expect(Math.abs(perMinute - 3)).toBeLessThan(uncertainty);
});

test('what grew in the first half only is flat', () => {
  expect(
    slopeOf(
      series((minutes) => Math.min(200, 50 + 40 * minutes)),
      1,
    ),
  ).toEqual({ perMinute: 0, uncertainty: 0, verdict: 'flat' });
});

test('too much noise for too slow a slope is unclear, and so are too few readings', () => {
  const random = createRandom(1);
  const noisy = series(() => 200 + random.below(400));
  expect(slopeOf(noisy, 0.01).verdict).toBe('unclear');
  expect(slopeOf(noisy.slice(0, 9), 1).verdict).toBe('unclear');
  expect(slopeOf([], 1).verdict).toBe('unclear');
});

test('the interval holds the true slope in nineteen cases of twenty', () => {
  const random = createRandom(2);
  const times = 1_000;
  let held = 0;
  for (let time = 0; time < times; time++) {
    // Each reading hangs on the one before.
    let wander = 0;
    const readings = series((minutes) => {
      wander = 0.6 * wander + random.below(1_000) / 100 - 5;
      return 2 * minutes + wander;
    });
    const { perMinute, uncertainty } = slopeOf(readings, 1);
    if (Math.abs(perMinute - 2) <= uncertainty) held += 1;
  }
  expect(held / times).toBeGreaterThan(0.92);
  expect(held / times).toBeLessThan(0.98);
});
