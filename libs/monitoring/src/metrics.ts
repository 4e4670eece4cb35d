/**
 * Metrics that cost the hot path nothing but an addition: values live in plain fields of whoever counts, and are read when
 * somebody scrapes. (prom-client's own `inc` hashes the labels on every call.)
 */
import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import { type Exposition, exposition } from './exposition.ts';
import { createHistogram, type FixedHistogram, type HistogramSnapshot, histogramValues } from './histogram.ts';

export type Labels = Readonly<Record<string, string>>;
/** One series of a metric, as it stands now. */
export interface Series {
  readonly labels: Labels;
  readonly value: number;
}

export interface Metrics {
  /**
   * A counter whose value is read at scrape time; it must never fall. `name` ends in `_total`. The same name may be given
   * again with other values of the same labels.
   */
  counterFrom(name: string, help: string, read: () => number, labels?: Labels): void;
  gaugeFrom(name: string, help: string, read: () => number, labels?: Labels): void;
  /** A gauge or counter whose series come and go (one per sink, per event type): all of them are read at scrape time. */
  seriesFrom(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<Series>,
  ): void;
  /** A histogram with fixed upper bounds (`le`, rising). `observe` is a short loop and three additions. */
  histogram(name: string, help: string, bounds: readonly number[], labels?: Labels): FixedHistogram;
  /** What a scrape gets, by its Accept header: OpenMetrics when it asks for that, else Prometheus text. */
  expose(accept: string | null): Promise<Exposition>;
}

export interface MetricsOptions {
  /** CPU, memory, descriptors and event-loop lag of this process (default true; the lag takes a timer every 10 ms). */
  readonly processMetrics?: boolean;
  /** On each of those series, where several processes of one service are scraped as one. */
  readonly processLabels?: Labels;
}

/** A registry of its own: nothing is shared between two calls but what the process itself is. */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const families = new Map<string, Family>();
  if (options.processMetrics ?? true) registerProcessMetrics(registry, options.processLabels ?? {});

  function family(kind: Family['kind'], name: string, help: string, labelNames: readonly string[]): Family {
    const known = families.get(name);
    if (known !== undefined) {
      if (known.kind !== kind || known.labelNames.join() !== [...labelNames].sort().join()) {
        throw new Error(
          `The metric ${name} exists already as a ${known.kind} with the labels (${known.labelNames.join()})`,
        );
      }
      return known;
    }
    if ((kind === 'counter') !== name.endsWith('_total')) throw new Error(`Exactly counters end in _total: ${name}`);
    const made: Family = { kind, name, help, labelNames: [...labelNames].sort(), readers: [], histograms: [] };
    families.set(name, made);
    registry.registerMetric(kind === 'histogram' ? histogramMetric(made) : scalarMetric(made));
    return made;
  }

  function scalarFrom(kind: 'counter' | 'gauge') {
    return (name: string, help: string, read: () => number, labels: Labels = {}): void => {
      family(kind, name, help, Object.keys(labels)).readers.push(() => [{ labels, value: read() }]);
    };
  }

  return {
    counterFrom: scalarFrom('counter'),
    gaugeFrom: scalarFrom('gauge'),
    seriesFrom(kind, name, help, labelNames, read) {
      family(kind, name, help, labelNames).readers.push(read);
    },
    histogram(name, help, bounds, labels = {}) {
      const histogram = createHistogram(bounds);
      family('histogram', name, help, Object.keys(labels)).histograms.push({ labels, snapshot: histogram.snapshot });
      return histogram;
    },
    expose: (accept) => exposition(registry, accept),
  };
}

interface Family {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly readers: (() => Iterable<Series>)[];
  readonly histograms: { readonly labels: Labels; readonly snapshot: () => HistogramSnapshot }[];
}

function scalarMetric(family: Family): Metric {
  const config = { name: family.name, help: family.help, labelNames: [...family.labelNames], registers: [] };
  const series = () => family.readers.flatMap((read) => [...read()]);
  if (family.kind === 'gauge') {
    return new Gauge({
      ...config,
      collect() {
        this.reset();
        for (const { labels, value } of series()) this.set({ ...labels }, value);
      },
    });
  }
  return new Counter({
    ...config,
    collect() {
      this.reset();
      for (const { labels, value } of series()) this.inc({ ...labels }, value);
    },
  });
}

/** The registry asks a metric for its values only, so this one answers from our own buckets. */
function histogramMetric(family: Family): Metric {
  const { name, help } = family;
  return {
    name,
    help,
    type: 'histogram',
    get: async () => ({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: family.histograms.flatMap(({ labels, snapshot }) => histogramValues(name, labels, snapshot())),
    }),
    reset: () => undefined,
  } as unknown as Metric;
}

/** What prom-client measures and Bun really provides; the rest reads zero there (heap spaces, handles, collections). */
const PROCESS_METRICS =
  /^(process_(cpu_.*|start_time_seconds|resident_memory_bytes|virtual_memory_bytes|open_fds|max_fds)|nodejs_eventloop_lag_.*|nodejs_heap_size_.*|nodejs_external_memory_bytes)$/;

function registerProcessMetrics(registry: Registry, labels: Labels): void {
  const all = new Registry();
  collectDefaultMetrics({ register: all, labels });
  for (const { name } of all.getMetricsAsArray()) {
    const metric = all.getSingleMetric(name);
    if (metric !== undefined && PROCESS_METRICS.test(name)) registry.registerMetric(metric as Metric);
  }
}
