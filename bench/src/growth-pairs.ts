/** A service that has grown and one that has not, under the same loads in turn, and what both have in common. */
import type { LoadJob, LoadResult } from './job.ts';
import { batchLoads, type Load, usualLoads } from './loads.ts';
import type { PartContext } from './part.ts';
import { cpuSeconds, memoryByProcess, peakRssBytes } from './processes.ts';
import { jobOf, waitUntilStored } from './rounds.ts';
import { type Spread, spreadOf } from './summary.ts';
import { startWeir, type Weir } from './weir.ts';

export interface GrowthRun {
  readonly load: string;
  readonly service: 'grown' | 'plain';
  readonly round: number;
  readonly eventsPerSecond: number;
  readonly acceptMicrosPerEvent: number;
  readonly p99Ms: number;
}

/** Over the rounds: what the grown service reached, divided by the plain one in the same round. */
export interface GrowthRatio {
  readonly load: string;
  readonly rate: Spread;
  readonly acceptCpu: Spread;
}

/** How a service came up in a folder that another one left. */
export interface GrowthStart {
  readonly acceptingMs: number;
  readonly storingMs: number;
  /** Of accept, since it was started. */
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
  readonly rssBytes: number;
  readonly pssBytes: number;
}

export interface GrowthContext extends PartContext {
  /** Adds what was answered wrongly, and how many events were sent. */
  readonly count: (service: Weir, result: LoadResult) => void;
}

const SLICE_SECONDS_MIN = 1;
const SLICE_SECONDS_MAX = 10;

/** So many slices in a row in which nothing is answered: it takes no events any more. */
const EMPTY_SLICES_MAX = 10;

/** Sends batches as fast as they are taken until `reached` says that there are `wanted`. */
export async function fill(
  context: GrowthContext,
  service: Weir,
  wanted: number,
  reached: () => Promise<number>,
): Promise<{ readonly seconds: number; readonly eventsPerSecond: number }> {
  const [load] = batchLoads(context.options);
  let sent = 0;
  let seconds = 0;
  let empty = 0;
  for (let slice = 0; ; slice++) {
    const missing = wanted - (await reached());
    if (missing <= 0) return { seconds, eventsPerSecond: sent / seconds };
    const needed = sent === 0 ? SLICE_SECONDS_MIN : (missing * seconds) / sent;
    const sliceSeconds = Math.min(SLICE_SECONDS_MAX, Math.max(SLICE_SECONDS_MIN, needed));
    context.progress(`${Math.round(missing)} events to go`);
    const job = { ...jobOf(load as Load, service, context.options, slice), warmupSeconds: 0, seconds: sliceSeconds };
    const result = await context.runGenerator(job);
    context.count(service, result);
    sent += result.events;
    seconds += result.cpu.seconds;
    empty = result.events === 0 ? empty + 1 : 0;
    if (empty === EMPTY_SLICES_MAX) throw new Error(`no event was taken any more: ${JSON.stringify(result.problems)}`);
  }
}

/** `run` measures one service once: what happens around the load is its business. */
export async function measurePairs(
  context: GrowthContext,
  services: Readonly<Record<GrowthRun['service'], Weir>>,
  run: (service: Weir, job: LoadJob, name: GrowthRun['service']) => Promise<LoadResult>,
): Promise<GrowthRun[]> {
  const runs: GrowthRun[] = [];
  for (const load of usualLoads(context.options))
    for (let round = 1; round <= context.options.rounds; round++)
      // By turns, so that what changes with time helps neither.
      for (const name of round % 2 === 0 ? (['plain', 'grown'] as const) : (['grown', 'plain'] as const)) {
        context.progress(`${load.name}, round ${round} of ${context.options.rounds}: ${name}`);
        const service = services[name];
        const result = await run(service, jobOf(load, service, context.options, round), name);
        context.count(service, result);
        const seconds = result.cpu.cpuSeconds['accept'] ?? Number.NaN;
        runs.push({
          load: load.name,
          service: name,
          round,
          eventsPerSecond: result.eventsPerSecond,
          acceptMicrosPerEvent: (seconds * 1e6) / result.events,
          p99Ms: result.latency.p99Ms,
        });
      }
  return runs;
}

export function growthRatios(runs: readonly GrowthRun[]): GrowthRatio[] {
  return Array.from(
    Map.groupBy(runs, ({ load }) => load),
    ([load, ofLoad]) => {
      const over = (read: (run: GrowthRun) => number) =>
        spreadOf(
          ofLoad.flatMap((grown) => {
            const plain = ofLoad.find(({ service, round }) => service === 'plain' && round === grown.round);
            return grown.service === 'grown' && plain !== undefined ? [read(grown) / read(plain)] : [];
          }),
        );
      return { load, rate: over((run) => run.eventsPerSecond), acceptCpu: over((run) => run.acceptMicrosPerEvent) };
    },
  );
}

/** Ends it in order or by SIGKILL, and starts another one in its folder. */
export async function restart(
  context: PartContext,
  before: Weir,
  how: 'in order' | 'killed',
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly service: Weir; readonly start: GrowthStart }> {
  await (how === 'killed' ? before.crash() : before.stop('keep'));
  const service = await startWeir(context, { settings, dataFolder: before.dataFolder });
  const pid = service.processes().find(({ name }) => name === 'accept')?.pid;
  const memory = memoryByProcess(service.processes())['accept'];
  if (pid === undefined || memory === undefined) throw new Error('accept is gone right after the start');
  return {
    service,
    start: {
      acceptingMs: service.startMs.accepting,
      storingMs: service.startMs.storing,
      cpuSeconds: cpuSeconds(pid) ?? Number.NaN,
      peakRssBytes: peakRssBytes(pid) ?? Number.NaN,
      ...memory,
    },
  };
}

/** Waits for as long as it gets less. */
export async function waitUntilAllStored(service: Weir): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const { secondsUntilStored, pendingAtEnd } = await waitUntilStored(service);
    if (secondsUntilStored !== undefined) return;
    if (!(pendingAtEnd < before)) throw new Error(`deliver stores nothing any more: ${pendingAtEnd} events wait`);
    before = pendingAtEnd;
  }
}
