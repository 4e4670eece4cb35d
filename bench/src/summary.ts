/** From single runs to medians and ratios. */
import type { Run } from './rounds.ts';
import { median } from './samples.ts';

/** Over the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface LoadSummary {
  readonly load: string;
  readonly server: string;
  readonly eventsPerSecond: Spread;
  /** CPU time per event while it was measured, by process, in microseconds. */
  readonly microsPerEvent: Readonly<Record<string, number>>;
  /** The same of what answers: all accept processes together, or the whole of another server. */
  readonly frontMicros: Spread;
  /** From before the load until everything was stored, by process and by server that is used; absent for what stores nothing. */
  readonly storedMicros?: Readonly<Record<string, number>>;
  /** Deliver's of these, and the embedded engine's part of it. */
  readonly deliverMicrosPerEvent?: number;
  readonly engineMicrosPerEvent?: number;
  /** All processes of Weir until everything was stored, and the same without the embedded engine. */
  readonly allMicros?: Spread;
  readonly ownMicros?: Spread;
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

/** What a server reached, divided by what the bare one reached in the same round. */
export interface Ratio {
  readonly load: string;
  readonly server: string;
  readonly rate: Spread;
  /** CPU per event of what answers. */
  readonly acceptCpu: Spread;
  /** CPU per event of all of Weir's processes until all was stored. */
  readonly allCpu: Spread;
  /** The same without the embedded engine. */
  readonly ownCpu: Spread;
}

/** A backlog smaller than this says nothing about a rate. */
const BACKLOG_MIN = 20_000;

export function microsPerEvent(run: Run, process: string): number {
  const seconds = run.result.cpu.cpuSeconds[process];
  return seconds === undefined ? Number.NaN : (seconds * 1e6) / run.result.events;
}

/** Processes that answer nobody. */
const BEHIND = ['deliver', 'supervisor'];

/** CPU per event of what answers, in microseconds, while it was measured. */
export function frontMicros(run: Run): number {
  const names = Object.keys(run.result.cpu.cpuSeconds).filter((name) => name !== 'generator');
  const accepts = names.filter((name) => name === 'accept' || name.startsWith('accept-'));
  const front = accepts.length > 0 ? accepts : names;
  if (run.replaced.some((name) => !BEHIND.includes(name))) return Number.NaN;
  return front.length === 0 ? Number.NaN : front.reduce((sum, name) => sum + microsPerEvent(run, name), 0);
}

const OWN_PROCESSES = /^(accept(-\d+)?|deliver|supervisor)$/;

/** CPU per event of all of Weir's processes until everything was stored; NaN where nothing is stored. */
function allMicros({ drain, replaced }: Run): number {
  if (drain?.microsPerEvent === undefined || replaced.length > 0) return Number.NaN;
  const own = Object.entries(drain.microsPerEvent).filter(([name]) => OWN_PROCESSES.test(name));
  return own.reduce((sum, [, micros]) => sum + micros, 0);
}

const ownMicros = (run: Run) => allMicros(run) - (run.drain?.engineMicrosPerEvent ?? Number.NaN);

export function spreadOf(values: readonly number[]): Spread {
  const known = values.filter((value) => !Number.isNaN(value));
  if (known.length === 0) return { median: Number.NaN, min: Number.NaN, max: Number.NaN };
  return { median: median(known), min: Math.min(...known), max: Math.max(...known) };
}

export function summarise(runs: readonly Run[]): LoadSummary[] {
  const groups = Map.groupBy(runs, ({ load, server }) => `${load} ${server}`);
  return Array.from(groups.values(), summariseGroup);
}

function summariseGroup(runs: readonly Run[]): LoadSummary {
  const first = runs[0] as Run;
  const over = (read: (run: Run) => number | undefined) => spreadOf(runs.map((run) => read(run) ?? Number.NaN)).median;
  const byName = (read: (run: Run) => Readonly<Record<string, number>>) => {
    const names = new Set(runs.flatMap((run) => Object.keys(read(run))));
    names.delete('generator');
    return Object.fromEntries(Array.from(names, (name) => [name, over((run) => read(run)[name])]));
  };
  const drained = over(({ drain }) =>
    drain?.secondsUntilStored !== undefined && drain.pendingAtEnd >= BACKLOG_MIN
      ? drain.pendingAtEnd / drain.secondsUntilStored
      : undefined,
  );
  const lag = over(({ result }) => result.sendLag?.p99Ms);
  return {
    load: first.load,
    server: first.server,
    eventsPerSecond: spreadOf(runs.map(({ result }) => result.eventsPerSecond)),
    microsPerEvent: byName(({ result }) =>
      Object.fromEntries(
        Object.entries(result.cpu.cpuSeconds).map(([name, seconds]) => [name, (seconds * 1e6) / result.events]),
      ),
    ),
    frontMicros: spreadOf(runs.map(frontMicros)),
    ...storedSummary(runs, over, byName),
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

/** What there is to say of a server that stores; nothing of another one. */
function storedSummary(
  runs: readonly Run[],
  over: (read: (run: Run) => number | undefined) => number,
  byName: (read: (run: Run) => Readonly<Record<string, number>>) => Readonly<Record<string, number>>,
): Partial<LoadSummary> {
  if (runs.every(({ drain }) => drain?.microsPerEvent === undefined)) return {};
  const engine = over(({ drain }) => drain?.engineMicrosPerEvent);
  return {
    storedMicros: byName(({ drain }) => drain?.microsPerEvent ?? {}),
    deliverMicrosPerEvent: over(({ drain }) => drain?.deliverMicrosPerEvent),
    ...(Number.isNaN(engine) ? {} : { engineMicrosPerEvent: engine, ownMicros: spreadOf(runs.map(ownMicros)) }),
    allMicros: spreadOf(runs.map(allMicros)),
  };
}

/** Empty when every request was answered as it should be. */
export function errorsOf(
  runs: readonly (Pick<Run, 'result'> & Partial<Pick<Run, 'replaced'>>)[],
): Record<string, number> {
  const errors: Record<string, number> = {};
  const add = (name: string, count: number) => {
    if (count > 0) errors[name] = (errors[name] ?? 0) + count;
  };
  for (const { result, replaced = [] } of runs) {
    for (const [name, count] of Object.entries(result.problems)) add(name, count);
    add('unanswered', result.unanswered);
    for (const name of replaced) add(`${name} was replaced while it was measured`, 1);
    add('round in which nothing was answered', result.events === 0 ? 1 : 0);
  }
  return errors;
}

/** A sentence for each: how often, and what. */
export function named(errors: Readonly<Record<string, number>>): string[] {
  return Object.entries(errors).map(([name, times]) => `${times} × ${name}`);
}

/** Round by round, because what disturbs the machine disturbs neighbours alike. */
export function ratios(runs: readonly Run[]): Ratio[] {
  const others = runs.filter(({ server }) => server !== 'bare');
  const groups = Map.groupBy(others, ({ load, server }) => `${load} ${server}`);
  return Array.from(groups.values(), (group) => {
    const pairs = group.flatMap((run) => {
      const bare = runs.find(
        ({ load, server, round }) => server === 'bare' && load === run.load && round === run.round,
      );
      return bare === undefined ? [] : [{ run, bare }];
    });
    const over = (read: (pair: { run: Run; bare: Run }) => number) => spreadOf(pairs.map(read));
    const { load, server } = group[0] as Run;
    return {
      load,
      server,
      rate: over(({ run, bare }) => run.result.eventsPerSecond / bare.result.eventsPerSecond),
      acceptCpu: over(({ run, bare }) => frontMicros(run) / frontMicros(bare)),
      allCpu: over(({ run, bare }) => allMicros(run) / frontMicros(bare)),
      ownCpu: over(({ run, bare }) => ownMicros(run) / frontMicros(bare)),
    };
  });
}
