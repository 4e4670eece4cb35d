/** Weir and the bare server in turn, under the same load, several times over. */
import { loadavg } from 'node:os';
import type { Options } from './config.ts';
import { engineSeconds, readThreads } from './engine-share.ts';
import type { LoadJob, LoadResult } from './job.ts';
import type { Load } from './loads.ts';
import { PLAIN_MIX } from './mix.ts';
import { cpuBetween, type MemoryByProcess, memoryByProcess, readCpu } from './processes.ts';
import type { RunGenerator } from './run-generator.ts';
import type { ServerUnderTest } from './server-under-test.ts';

/** One load against one server, once. */
export interface Run {
  readonly load: string;
  readonly server: string;
  readonly round: number;
  readonly result: LoadResult;
  readonly memory: MemoryByProcess;
  readonly load1: number;
  /** Processes that were another one, or none, when all was over: their CPU time is not known. */
  readonly replaced: readonly string[];
  /** How the rest of the way to the store ended; absent for a server that stores nothing. */
  readonly drain?: DrainResult;
}

export interface DrainResult {
  /** Acknowledged but not stored when the load ended; NaN for several accept processes, which say so only later. */
  readonly pendingAtEnd: number;
  /** Seconds until nothing was pending; undefined when that took longer than was waited for. */
  readonly secondsUntilStored?: number;
  /**
   * CPU time per event sent, in microseconds, of each process and of the servers that it uses, from before the load until all was
   * stored. A process that was replaced meanwhile is missing.
   */
  readonly microsPerEvent?: Readonly<Record<string, number>>;
  /** As in `microsPerEvent`: deliver's. */
  readonly deliverMicrosPerEvent?: number;
  /** The part of deliver's that is the embedded engine's: see engine-share.ts. */
  readonly engineMicrosPerEvent?: number;
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

/** A generator's start, and the wait until all is stored. */
const RUN_EXTRA_SECONDS = 1.5;

/** How long one load against one server takes, about. */
export function secondsOfRun({ warmupSeconds, seconds }: Options, extraSeconds = RUN_EXTRA_SECONDS): number {
  return warmupSeconds + seconds + extraSeconds;
}

export async function measureRounds(context: RoundsOptions): Promise<Run[]> {
  const runs: Run[] = [];
  for (const load of context.loads) {
    for (let round = 1; round <= context.options.rounds; round++) {
      // By turns: what the one leaves to be done disturbs the other in every second round only.
      for (const server of round % 2 === 0 ? context.servers.toReversed() : context.servers) {
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
  const all = [...watch, ...server.companions()];
  const before = readCpu(all);
  const threadsBefore = deliver === undefined ? undefined : readThreads(deliver.pid);
  const result = await runGenerator(jobOf(load, server, options, round));
  const memory = memoryByProcess(watch);
  const replaced = () => {
    const now = server.processes();
    return watch
      .filter(({ name, pid }) => !now.some((one) => one.name === name && one.pid === pid))
      .map(({ name }) => name);
  };
  const run = { load: load.name, server: server.name, round, result, memory, load1: loadavg()[0] ?? Number.NaN };
  if (deliver === undefined) return { ...run, replaced: replaced() };
  const drained = await waitUntilStored(server);
  const { cpuSeconds } = cpuBetween(before, readCpu(all));
  const threadsAfter = readThreads(deliver.pid);
  const micros = (seconds: number) => (seconds * 1e6) / result.eventsSent;
  const microsPerEvent = Object.fromEntries(Object.entries(cpuSeconds).map(([name, value]) => [name, micros(value)]));
  const ofDeliver = microsPerEvent['deliver'];
  return {
    ...run,
    replaced: replaced(),
    drain: {
      ...drained,
      microsPerEvent,
      ...(ofDeliver === undefined ? {} : { deliverMicrosPerEvent: ofDeliver }),
      ...(threadsBefore === undefined || threadsAfter === undefined
        ? {}
        : { engineMicrosPerEvent: micros(engineSeconds(threadsBefore, threadsAfter)) }),
    },
  };
}

export function jobOf(load: Load, server: ServerUnderTest, options: Options, round: number): LoadJob {
  const { kind, acks, connections, eventsPerRequest, pace, mix = PLAIN_MIX } = load;
  return {
    kind,
    ...(acks === undefined ? {} : { acks }),
    connections,
    eventsPerRequest,
    pace,
    mix,
    answers: server.answers,
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
  const pendingAtEnd = await server.pendingEvents(startMs);
  let pending = pendingAtEnd;
  while (pending !== 0) {
    if (performance.now() - startMs > DRAIN_TIMEOUT_MS) return { pendingAtEnd };
    await Bun.sleep(POLL_MS);
    pending = await server.pendingEvents(startMs);
  }
  return { pendingAtEnd, secondsUntilStored: (performance.now() - startMs) / 1000 };
}
