/** Latencies of one measurement, kept one by one: percentiles are exact, not read off a histogram. */

export interface Percentiles {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export interface Samples {
  add(ms: number): void;
  percentiles(): Percentiles;
}

const FIRST_CAPACITY = 1 << 16;

export function createSamples(): Samples {
  let values = new Float64Array(FIRST_CAPACITY);
  let count = 0;

  return {
    add(ms) {
      if (count === values.length) {
        const grown = new Float64Array(2 * count);
        grown.set(values);
        values = grown;
      }
      values[count] = ms;
      count += 1;
    },
    percentiles: () => percentilesOf(values.slice(0, count)),
  };
}

/** Sorts `values` in place. Without values every figure is NaN. */
export function percentilesOf(values: Float64Array): Percentiles {
  values.sort();
  const sum = values.reduce((total, value) => total + value, 0);
  return {
    count: values.length,
    meanMs: sum / values.length,
    p50Ms: nearestRank(values, 0.5),
    p99Ms: nearestRank(values, 0.99),
    p999Ms: nearestRank(values, 0.999),
    maxMs: values.at(-1) ?? Number.NaN,
  };
}

/** The smallest value that at least `fraction` of `sorted` do not exceed; NaN when there is none. */
export function nearestRank(sorted: ArrayLike<number>, fraction: number): number {
  // 0.999 × 1000 is 999.0000000000001 or so: without the tolerance it would be the next rank.
  const rank = Math.ceil(fraction * sorted.length - 1e-9);
  return sorted[Math.max(0, rank - 1)] ?? Number.NaN;
}

/** The middle value, or the mean of the two; NaN for none. Does not change `values`. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
