/** The store goes away under load and comes back: what callers notice, and how fast the backlog drains beside the live load. */
import type { Options } from './config.ts';
import type { LoadResult } from './job.ts';
import type { Load } from './loads.ts';
import { outageSection, outageText } from './outage-report.ts';
import type { Part, PartContext } from './part.ts';
import { jobOf, waitUntilStored } from './rounds.ts';
import { type Stack, startStack } from './servers-stack.ts';
import { errorsOf, named } from './summary.ts';
import { startWeir, type Weir } from './weir.ts';

export const OUTAGE_PHASES = ['before', 'during', 'after'] as const;
export type OutagePhase = (typeof OUTAGE_PHASES)[number];

export interface OutageSample {
  /** From the beginning of the first phase. */
  readonly seconds: number;
  /** Acknowledged and not stored yet. */
  readonly pendingEvents: number;
  /** Since the service started. */
  readonly storedEvents: number;
}

export interface OutageData {
  readonly eventsPerSecond: number;
  readonly results: Readonly<Record<OutagePhase, LoadResult>>;
  /** When ClickHouse was killed, and when it answered again. */
  readonly killedAtSeconds: number;
  readonly restartedAtSeconds: number;
  readonly samples: readonly OutageSample[];
  readonly drain?: Drain;
}

export interface Drain {
  /** From the store's return until the first row was stored. */
  readonly delaySeconds: number;
  /** From that row until no more was pending than a second of load. */
  readonly seconds: number;
  readonly storedPerSecond: number;
}

const EVENTS_PER_REQUEST = 100;
const CONNECTIONS = 16;
const BEFORE_SECONDS = 5;
const AFTER_SECONDS_MIN = 15;
const POLL_MS = 200;
const COUNTED_TIMEOUT_MS = 5_000;

const afterSeconds = ({ outageSeconds }: Options) => Math.max(AFTER_SECONDS_MIN, 1.5 * outageSeconds);

export const outagePart: Part<OutageData> = {
  name: 'outage',
  what: 'ClickHouse is killed under load and comes back',
  set: 'full',
  seconds: (options) => 20 + BEFORE_SECONDS + options.outageSeconds + afterSeconds(options),
  async measure(context) {
    const stack = await startStack(['clickhouse'], context.children);
    let weir: Weir | undefined;
    try {
      weir = await startWeir(context, { settings: stack.settings });
      const data = await measureOutage(context, weir, stack);
      const problems = named(errorsOf(Object.values(data.results).map((result) => ({ result }))));
      if (data.drain === undefined) problems.push('The backlog was not drained in time.');
      return { data, problems };
    } finally {
      await weir?.stop();
      await stack.close();
    }
  },
  text: outageText,
  section: outageSection,
};

async function measureOutage(
  { options, runGenerator, progress }: PartContext,
  weir: Weir,
  stack: Stack,
): Promise<OutageData> {
  const startMs = performance.now();
  const now = () => (performance.now() - startMs) / 1000;
  const samples: OutageSample[] = [];
  const watching = new AbortController();
  const watched = watch(weir, samples, now, watching.signal);
  const run = (phase: OutagePhase, seconds: number, began?: () => void) => {
    progress(`${phase} the outage`);
    const load = loadOf(options.outageRate);
    return runGenerator({ ...jobOf(load, weir, options, OUTAGE_PHASES.indexOf(phase)), seconds }, began);
  };
  try {
    const before = await run('before', BEFORE_SECONDS);
    // As the measured seconds begin: what callers notice of the moment itself is among the figures.
    const killed = Promise.withResolvers<number>();
    const kill = () => stack.kill('clickhouse').then(() => killed.resolve(now()), killed.reject);
    const [during, killedAtSeconds] = await Promise.all([run('during', options.outageSeconds, kill), killed.promise]);
    // Between two loads: its own start takes processors that a store elsewhere would not take.
    await stack.restart('clickhouse');
    const restartedAtSeconds = now();
    const after = await run('after', afterSeconds(options));
    await waitUntilStored(weir);
    // Accept hears what is stored a little later.
    const sent = [before, during, after].reduce((sum, { eventsSent }) => sum + eventsSent, 0);
    const endMs = performance.now() + COUNTED_TIMEOUT_MS;
    while ((samples.at(-1)?.storedEvents ?? 0) < sent && performance.now() < endMs) await Bun.sleep(POLL_MS);
    const drain = drainOf(samples, restartedAtSeconds, options.outageRate);
    return {
      eventsPerSecond: options.outageRate,
      results: { before, during, after },
      killedAtSeconds,
      restartedAtSeconds,
      samples,
      ...(drain === undefined ? {} : { drain }),
    };
  } finally {
    watching.abort();
    await watched;
  }
}

function loadOf(eventsPerSecond: number): Load {
  return {
    name: 'outage',
    what: 'batches at a fixed rate',
    kind: 'batch',
    connections: CONNECTIONS,
    eventsPerRequest: EVENTS_PER_REQUEST,
    pace: { requestsPerSecond: eventsPerSecond / EVENTS_PER_REQUEST },
  };
}

async function watch(weir: Weir, samples: OutageSample[], now: () => number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const [pendingEvents, storedEvents] = await Promise.all([weir.pendingEvents(), storedBy(weir)]);
    samples.push({ seconds: now(), pendingEvents, storedEvents });
    await Bun.sleep(POLL_MS);
  }
}

async function storedBy({ url }: Weir): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { accept: 'application/json' } });
  const { storage } = (await response.json()) as { readonly storage: { readonly eventsStored: number } };
  return storage.eventsStored;
}

/** Undefined when the backlog never got small again. */
export function drainOf(
  samples: readonly OutageSample[],
  restartedAtSeconds: number,
  eventsPerSecond: number,
): Drain | undefined {
  const later = samples.filter(({ seconds }) => seconds >= restartedAtSeconds);
  const rising = later.findIndex(({ storedEvents }) => storedEvents > (later[0]?.storedEvents ?? 0));
  const first = later[rising - 1];
  const last = later.slice(Math.max(rising, 0)).find(({ pendingEvents }) => pendingEvents <= eventsPerSecond);
  if (first === undefined || last === undefined) return undefined;
  const seconds = last.seconds - first.seconds;
  return {
    delaySeconds: first.seconds - restartedAtSeconds,
    seconds,
    storedPerSecond: (last.storedEvents - first.storedEvents) / seconds,
  };
}
