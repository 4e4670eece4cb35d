/** Counting into fixed buckets. */
export interface FixedHistogram {
  /** Counts `value` `times` times (default 1): a batch observes once. */
  observe(value: number, times?: number): void;
  snapshot(): HistogramSnapshot;
}

export interface HistogramSnapshot {
  readonly bounds: readonly number[];
  /** Per bucket, not cumulative; one more than there are bounds, for what lies beyond the last. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

/** `bounds` are inclusive upper bounds, finite and rising. */
export function createHistogram(bounds: readonly number[]): FixedHistogram {
  const upper = Float64Array.from(bounds);
  if (upper.length === 0 || upper.some((bound, i) => !Number.isFinite(bound) || bound <= (upper[i - 1] ?? -Infinity))) {
    throw new Error(`The bounds of a histogram are finite and rise: ${bounds.join(', ')}`);
  }
  const counts = new Float64Array(upper.length + 1);
  let sum = 0;
  let count = 0;
  return {
    observe(value, times = 1) {
      let bucket = 0;
      while (bucket < upper.length && value > (upper[bucket] as number)) bucket += 1;
      counts[bucket] = (counts[bucket] as number) + times;
      sum += value * times;
      count += times;
    },
    snapshot: () => ({ bounds, counts: [...counts], count, sum }),
  };
}

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The samples of the exposition formats: cumulative buckets up to `+Inf`, then sum and count. */
export function histogramValues(
  name: string,
  labels: Readonly<Record<string, string>>,
  snapshot: HistogramSnapshot,
): Sample[] {
  let cumulative = 0;
  const buckets = snapshot.counts.map((count, i) => {
    cumulative += count;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: leLabel(snapshot.bounds[i]) }, value: cumulative };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: snapshot.sum },
    { metricName: `${name}_count`, labels, value: snapshot.count },
  ];
}

/** OpenMetrics wants floats here (`1.0`), and Prometheus reads them as well. */
function leLabel(bound: number | undefined): string {
  if (bound === undefined) return '+Inf';
  return Number.isInteger(bound) ? bound.toFixed(1) : String(bound);
}
