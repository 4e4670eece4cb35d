/** Weir and the bare server in turn, under the same load, several times over. */
import { loadavg } from 'node:os';
import type { Options, Part } from './config.ts';
import type { LoadJob, LoadResult } from './job.ts';
import { cpuSeconds, type MemoryByProcess, memoryByProcess } from './processes.ts';
import type { RunGenerator } from './run-generator.ts';
import type { ServerUnderTest } from './server-under-test.ts';

export interface Load {
  readonly name: string;
  /** What is sent, in words. */
  readonly what: string;
  readonly part: Part;
  readonly kind: LoadJob['kind'];
  readonly connections: number;
  readonly eventsPerRequest: number;
  readonly pace: LoadJob['pace'];
}

export const BATCH_EVENTS = 1_000;
const BATCH_CONNECTIONS = 4;

export function loadsOf({ connections, rate, wsInFlight, parts }: Options): Load[] {
  const singles = { part: 'single', kind: 'single', connections, eventsPerRequest: 1 } as const;
  const frames = { part: 'ws', kind: 'ws', connections, eventsPerRequest: 1 } as const;
  const loads: Load[] = [
    {
      ...singles,
      name: 'single',
      what: `POST /events, ${connections} connections, one request in flight on each`,
      pace: { inFlight: 1 },
    },
    {
      ...singles,
      name: 'open',
      what: `POST /events, open loop, ${rate} events/s over ${connections} connections`,
      pace: { requestsPerSecond: rate },
    },
    {
      name: 'batch',
      what: `POST /events/batch, ${BATCH_EVENTS} events each, ${BATCH_CONNECTIONS} connections, one request in flight on each`,
      part: 'batch',
      kind: 'batch',
      connections: BATCH_CONNECTIONS,
      eventsPerRequest: BATCH_EVENTS,
      pace: { inFlight: 1 },
    },
    {
      ...frames,
      name: 'ws',
      what: `WebSocket, one event per frame, ${connections} connections, one frame in flight on each`,
      pace: { inFlight: 1 },
    },
    {
      ...frames,
      name: 'ws-stream',
      what: `the same with ${wsInFlight} frames in flight on each`,
      pace: { inFlight: wsInFlight },
    },
  ];
  return loads.filter(({ part }) => parts.has(part));
}

/** One load against one server, once. */
export interface Run {
  readonly load: string;
  readonly server: string;
  readonly round: number;
  readonly result: LoadResult;
  readonly memory: MemoryByProcess;
  readonly load1: number;
  /** How the rest of the way to the store ended; absent for a server that stores nothing. */
  readonly drain?: DrainResult;
}

export interface DrainResult {
  /** Acknowledged but not stored when the load ended. */
  readonly pendingAtEnd: number;
  /** Seconds until nothing was pending; undefined when that took longer than was waited for. */
  readonly secondsUntilStored?: number;
  /** CPU time of deliver per event, from before the load until all was stored; undefined when it was replaced meanwhile. */
  readonly deliverMicrosPerEvent?: number;
}

const DRAIN_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
const ANSWER_TIMEOUT_SECONDS = 15;

export interface RoundsOptions {
  readonly options: Options;
  readonly loads: readonly Load[];
  readonly servers: readonly ServerUnderTest[];
  readonly runGenerator: RunGenerator;
  readonly progress: (text: string) => void;
}

export async function measureRounds(context: RoundsOptions): Promise<Run[]> {
  const runs: Run[] = [];
  for (const load of context.loads) {
    for (let round = 1; round <= context.options.rounds; round++) {
      for (const server of context.servers) {
        context.progress(`${load.name}, round ${round} of ${context.options.rounds}: ${server.name}`);
        runs.push(await runOnce(context, load, server, round));
      }
    }
  }
  return runs;
}

async function runOnce(context: RoundsOptions, load: Load, server: ServerUnderTest, round: number): Promise<Run> {
  const { options, runGenerator } = context;
  const watch = server.processes();
  const deliver = watch.find(({ name }) => name === 'deliver');
  const deliverBefore = deliver === undefined ? undefined : cpuSeconds(deliver.pid);
  const result = await runGenerator(jobOf(load, server, options, round));
  const memory = memoryByProcess(watch);
  const run = { load: load.name, server: server.name, round, result, memory, load1: loadavg()[0] ?? Number.NaN };
  if (deliver === undefined) return run;
  const drained = await waitUntilStored(server);
  const deliverAfter = cpuSeconds(deliver.pid);
  const isSame = deliverBefore !== undefined && deliverAfter !== undefined;
  const seconds = isSame ? deliverAfter - deliverBefore : undefined;
  return {
    ...run,
    drain: {
      ...drained,
      ...(seconds === undefined ? {} : { deliverMicrosPerEvent: (seconds * 1e6) / result.eventsSent }),
    },
  };
}

export function jobOf(load: Load, server: ServerUnderTest, options: Options, round: number): LoadJob {
  const { kind, connections, eventsPerRequest, pace } = load;
  return {
    kind,
    connections,
    eventsPerRequest,
    pace,
    host: server.host,
    port: server.port,
    warmupSeconds: options.warmupSeconds,
    seconds: options.seconds,
    answerTimeoutSeconds: ANSWER_TIMEOUT_SECONDS,
    // Both servers of a round get the same events, but for the ids.
    seed: options.seed + round * 1_000,
    titles: options.titles,
    watch: server.processes(),
  };
}

/** Waits until everything that was acknowledged is stored. */
export async function waitUntilStored(server: ServerUnderTest): Promise<DrainResult> {
  const startMs = performance.now();
  const pendingAtEnd = await server.pendingEvents();
  let pending = pendingAtEnd;
  while (pending !== 0) {
    if (performance.now() - startMs > DRAIN_TIMEOUT_MS) return { pendingAtEnd };
    await Bun.sleep(POLL_MS);
    pending = await server.pendingEvents();
  }
  return { pendingAtEnd, secondsUntilStored: (performance.now() - startMs) / 1000 };
}
