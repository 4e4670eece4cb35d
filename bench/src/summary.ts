/** From single runs to medians and ratios. */
import type { Run } from './rounds.ts';
import { median } from './samples.ts';

export interface LoadSummary {
  readonly load: string;
  readonly server: string;
  readonly eventsPerSecond: { readonly median: number; readonly min: number; readonly max: number };
  /** CPU time per event while it was measured, by process, in microseconds. */
  readonly microsPerEvent: Readonly<Record<string, number>>;
  /** Deliver's, until everything was stored. */
  readonly deliverMicrosPerEvent?: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly sendLagP99Ms?: number;
  readonly generatorCores: number;
  readonly stealFraction: number;
  readonly busyFraction: number;
  readonly otherCores: number;
  /** Rows that deliver stored per second after the load, where it had fallen behind. */
  readonly drainedPerSecond?: number;
  readonly eventBytes: number;
  /** Wrong answers, lost connections and unanswered requests, over all rounds. */
  readonly errors: Readonly<Record<string, number>>;
}

export interface Ratio {
  readonly load: string;
  /** Medians, over the rounds, of what Weir reached divided by what the bare server reached in the same round. */
  readonly rate: number;
  /** CPU of accept per event, divided by the bare server's. */
  readonly acceptCpu: number;
  /** CPU of all of Weir's processes per event (deliver's until all was stored), divided by the bare server's. */
  readonly allCpu: number;
}

/** A backlog smaller than this says nothing about a rate. */
const BACKLOG_MIN = 20_000;

export function microsPerEvent(run: Run, process: string): number {
  const seconds = run.result.cpu.cpuSeconds[process];
  return seconds === undefined ? Number.NaN : (seconds * 1e6) / run.result.events;
}

export function summarise(runs: readonly Run[]): LoadSummary[] {
  const groups = Map.groupBy(runs, ({ load, server }) => `${load} ${server}`);
  return Array.from(groups.values(), summariseGroup);
}

function summariseGroup(runs: readonly Run[]): LoadSummary {
  const first = runs[0] as Run;
  const over = (read: (run: Run) => number | undefined) =>
    median(runs.flatMap((run) => read(run) ?? []).filter((value) => !Number.isNaN(value)));
  const rates = runs.map(({ result }) => result.eventsPerSecond);
  const watched = new Set(runs.flatMap(({ result }) => Object.keys(result.cpu.cpuSeconds)));
  watched.delete('generator');
  const deliver = over(({ drain }) => drain?.deliverMicrosPerEvent);
  const drained = over(({ drain }) =>
    drain?.secondsUntilStored !== undefined && drain.pendingAtEnd >= BACKLOG_MIN
      ? drain.pendingAtEnd / drain.secondsUntilStored
      : undefined,
  );
  const lag = over(({ result }) => result.sendLag?.p99Ms);
  return {
    load: first.load,
    server: first.server,
    eventsPerSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
    microsPerEvent: Object.fromEntries(Array.from(watched, (name) => [name, over((run) => microsPerEvent(run, name))])),
    ...(Number.isNaN(deliver) ? {} : { deliverMicrosPerEvent: deliver }),
    p50Ms: over(({ result }) => result.latency.p50Ms),
    p99Ms: over(({ result }) => result.latency.p99Ms),
    p999Ms: over(({ result }) => result.latency.p999Ms),
    ...(Number.isNaN(lag) ? {} : { sendLagP99Ms: lag }),
    generatorCores: over(({ result }) => (result.cpu.cpuSeconds['generator'] ?? Number.NaN) / result.cpu.seconds),
    stealFraction: over(({ result }) => result.cpu.stealFraction),
    busyFraction: over(({ result }) => result.cpu.busyFraction),
    otherCores: over(({ result }) => result.cpu.otherCores),
    ...(Number.isNaN(drained) ? {} : { drainedPerSecond: drained }),
    eventBytes: first.result.eventBytes,
    errors: errorsOf(runs),
  };
}

/** Empty when every request was answered as it should be. */
export function errorsOf(runs: readonly Pick<Run, 'result'>[]): Record<string, number> {
  const errors: Record<string, number> = {};
  const add = (name: string, count: number) => {
    if (count > 0) errors[name] = (errors[name] ?? 0) + count;
  };
  for (const { result } of runs) {
    for (const [name, count] of Object.entries(result.problems)) add(name, count);
    add('unanswered', result.unanswered);
  }
  return errors;
}

/** Round by round, because what disturbs the machine disturbs neighbours alike. */
export function ratios(runs: readonly Run[]): Ratio[] {
  const byLoad = Map.groupBy(runs, ({ load }) => load);
  return Array.from(byLoad, ([load, ofLoad]) => {
    const pairs = ofLoad.flatMap((weir) => {
      const bare = ofLoad.find(({ server, round }) => server === 'bare' && round === weir.round);
      return weir.server === 'weir' && bare !== undefined ? [{ weir, bare }] : [];
    });
    const over = (read: (pair: { weir: Run; bare: Run }) => number) => median(pairs.map(read));
    const bareCpu = (bare: Run) => microsPerEvent(bare, 'bare');
    return {
      load,
      rate: over(({ weir, bare }) => weir.result.eventsPerSecond / bare.result.eventsPerSecond),
      acceptCpu: over(({ weir, bare }) => microsPerEvent(weir, 'accept') / bareCpu(bare)),
      allCpu: over(({ weir, bare }) => {
        const deliver = weir.drain?.deliverMicrosPerEvent ?? Number.NaN;
        return (microsPerEvent(weir, 'accept') + microsPerEvent(weir, 'supervisor') + deliver) / bareCpu(bare);
      }),
    };
  });
}
