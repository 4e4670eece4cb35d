/** 50,000 WebSockets on one service of several accept processes: what they cost, whether each gets its turn, how all come back. */
import { readFileSync } from 'node:fs';
import { startRedis } from '@libs/services';
import { type Fleet, startFleet } from './many-fleet.ts';
import type { Attempts } from './many-job.ts';
import { type ProbeResult, startProbe } from './many-probe.ts';
import type { Measured, PartContext } from './part.ts';
import { type CpuUse, cpuBetween, cpuSeconds, type NamedProcess, readCpu } from './processes.ts';
import { median, type Percentiles, percentilesOf } from './samples.ts';
import { settledRss } from './settled-rss.ts';
import { startWeir, type Weir } from './weir.ts';

export interface ManyRun {
  readonly sockets: number;
  readonly workers: number;
  readonly descriptorsMax: number;
  /** From the first to the last handshake, with the accept processes' CPU meanwhile. */
  readonly connectSeconds: number;
  readonly connectCpu: CpuUse;
  readonly memory: ManyMemory;
  readonly idle: { readonly heartbeatSeconds: number; readonly cpu: CpuUse };
  readonly load: ManyLoad;
  readonly restart: ManyRestart;
}

/** RSS of the accept processes together, and what a connection adds to it; the first tenth is not charged for. */
export interface ManyMemory {
  readonly rssBytesBefore: number;
  readonly bytesPerSocket: number;
  /** After each has sent events. */
  readonly bytesPerSocketUsed: number;
}

export interface ManyLoad {
  readonly everySeconds: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  readonly latency: Percentiles;
  /** Answers per connection. */
  readonly acks: { readonly min: number; readonly median: number; readonly max: number };
  readonly starved: number;
  readonly skipped: number;
  /** Events that had no answer when no more were waited for, and connections that ended since the first was opened. */
  readonly unanswered: number;
  readonly ended: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly cpu: CpuUse;
}

export interface ManyRestart {
  /** From SIGTERM: until the service had ended, until the new one took connections, until all were back. */
  readonly endedSeconds: number;
  readonly acceptingSeconds: number;
  readonly backSeconds: number;
  readonly attempts: Attempts;
  /** Of the new accept processes, from their start until all were back. */
  readonly cpuSeconds: number;
  readonly probe: ProbeResult;
}

const WORKERS_MIN = 4;
/** Of what a process may open: files, sockets of its own, and room for an uneven share of the connections. */
const DESCRIPTORS_SHARE = 0.75;
const WARMUP_SHARE = 0.1;
const OPEN_TIMEOUT_MS = 90_000;
const BACK_TIMEOUT_MS = 60_000;
const IDLE_MS = 15_000;
/** As the service asks in `hello`. */
const HEARTBEAT_MS = 30_000;
/** Turns of every connection. */
const LOAD_TURNS = 2;
const LAST_ANSWERS_MS = 15_000;
/** Below those that the system gives to outgoing connections, which would take it while the service is away. */
const PORT_MIN = 20_000;
const PORTS = 10_000;

export async function measureMany(context: PartContext): Promise<Measured<ManyRun>> {
  const { options, children, progress } = context;
  const descriptorsMax = openFilesMax();
  const sockets = options.manySockets;
  const workers = Math.max(WORKERS_MIN, Math.ceil(sockets / (DESCRIPTORS_SHARE * descriptorsMax)));
  progress('starting Redis and Weir');
  const redis = await startRedis();
  const adopted = children.adopt(redis);
  const port = PORT_MIN + Math.floor(Math.random() * PORTS);
  const settings = { REDIS_URL: redis.url, WEIR_WORKERS: String(workers) };
  const start = (dataFolder?: string) => startWeir(context, { settings, port, dataFolder });
  let weir = await start();
  const fleet = startFleet(weir, sockets, options.seed, children);
  try {
    fleet.pace('heartbeats', HEARTBEAT_MS);
    progress(`opening ${sockets} WebSockets`);
    const connected = await connectAll(fleet, weir, sockets);
    progress(`${sockets} idle WebSockets`);
    const idle = { heartbeatSeconds: HEARTBEAT_MS / 1_000, cpu: await cpuDuring(weir, () => Bun.sleep(IDLE_MS)) };
    progress(`${sockets} WebSockets, an event from each every ${options.manyEverySeconds} s`);
    const load = await loadAll(fleet, weir, options.manyEverySeconds);
    const used = (await settledRss(() => accepts(weir))) - connected.rssBytesBefore;
    progress(`${sockets} WebSockets come back after a restart`);
    const { rssBytesBefore, bytesPerSocket, connectSeconds, connectCpu } = connected;
    const restart = await restartUnder(fleet, weir, sockets, options.seed, async () => {
      weir = await start(weir.dataFolder);
      return weir;
    });
    const memory = { rssBytesBefore, bytesPerSocket, bytesPerSocketUsed: used / (sockets * (1 - WARMUP_SHARE)) };
    const data = { sockets, workers, descriptorsMax, connectSeconds, connectCpu, memory, idle, load, restart };
    return { data, problems: problemsOf(data) };
  } finally {
    await fleet.stop();
    await weir.stop();
    await adopted.close();
  }
}

async function connectAll(fleet: Fleet, weir: Weir, sockets: number) {
  const warm = Math.round(sockets * WARMUP_SHARE);
  const warmBeganMs = performance.now();
  await fleet.open(warm, OPEN_TIMEOUT_MS);
  const warmMs = performance.now() - warmBeganMs;
  const rssBytesBefore = await settledRss(() => accepts(weir));
  const beganMs = performance.now();
  const connectCpu = await cpuDuring(weir, () => fleet.open(sockets, OPEN_TIMEOUT_MS));
  const connectSeconds = (warmMs + performance.now() - beganMs) / 1_000;
  const bytesPerSocket = ((await settledRss(() => accepts(weir))) - rssBytesBefore) / (sockets - warm);
  return { rssBytesBefore, bytesPerSocket, connectSeconds, connectCpu };
}

async function loadAll(fleet: Fleet, weir: Weir, everySeconds: number): Promise<ManyLoad> {
  const earlier = await fleet.report();
  const seconds = LOAD_TURNS * everySeconds;
  fleet.pace('events', everySeconds * 1_000);
  const cpu = await cpuDuring(weir, () => Bun.sleep(seconds * 1_000));
  fleet.pace('heartbeats', HEARTBEAT_MS);
  const inTime = await fleet.report();
  const unanswered = await fleet.settled(LAST_ANSWERS_MS);
  const late = await fleet.report();
  const acks = inTime.acks.map((own, at) => own + (late.acks[at] ?? 0)).toSorted((left, right) => left - right);
  const refusals = { ...inTime.refusals };
  for (const [code, times] of Object.entries(late.refusals)) refusals[code] = (refusals[code] ?? 0) + times;
  return {
    everySeconds,
    seconds,
    // What was answered after the load had ended is in the latencies, and in no rate.
    eventsPerSecond: inTime.acks.reduce((sum, one) => sum + one, 0) / seconds,
    latency: percentilesOf(Float64Array.from([...inTime.latenciesMs, ...late.latenciesMs])),
    acks: { min: acks[0] ?? Number.NaN, median: median(acks), max: acks.at(-1) ?? Number.NaN },
    starved: acks.filter((one) => one === 0).length,
    skipped: inTime.skipped + late.skipped,
    unanswered,
    ended: [earlier, inTime, late].reduce((sum, { attempts }) => sum + attempts.ended, 0),
    refusals,
    cpu,
  };
}

async function restartUnder(fleet: Fleet, weir: Weir, sockets: number, seed: number, start: () => Promise<Weir>) {
  await fleet.report();
  const beganMs = performance.now();
  const sinceSeconds = () => (performance.now() - beganMs) / 1_000;
  await weir.stop('keep');
  const endedSeconds = sinceSeconds();
  const probe = startProbe(weir.url, seed);
  const restarted = await start();
  await fleet.open(sockets, BACK_TIMEOUT_MS);
  const backSeconds = sinceSeconds();
  const cpu = accepts(restarted).reduce((sum, { pid }) => sum + (cpuSeconds(pid) ?? Number.NaN), 0);
  const acceptingSeconds = endedSeconds + restarted.startMs.accepting / 1_000;
  const { attempts } = await fleet.report();
  return { endedSeconds, acceptingSeconds, backSeconds, attempts, cpuSeconds: cpu, probe: await probe.stop() };
}

function problemsOf({ load, restart }: ManyRun): string[] {
  const refusals = Object.entries(load.refusals).map(([code, times]) => `${times} events were answered ${code}.`);
  return [
    ...(load.unanswered > 0 ? [`${load.unanswered} events got no answer.`] : []),
    ...(load.ended > 0 ? [`${load.ended} connections ended while the service ran.`] : []),
    ...(load.starved > 0 ? [`${load.starved} connections got no answer at all.`] : []),
    ...(restart.probe.failures > 0
      ? [`${restart.probe.failures} requests failed while the connections came back.`]
      : []),
    ...refusals,
  ];
}

const accepts = (weir: Weir): NamedProcess[] => weir.processes().filter(({ name }) => name.startsWith('accept'));

async function cpuDuring(weir: Weir, work: () => Promise<unknown>): Promise<CpuUse> {
  const watched = weir.processes();
  const before = readCpu(watched);
  await work();
  const use = cpuBetween(before, readCpu(watched));
  const gone = watched.filter(({ name }) => use.cpuSeconds[name] === undefined).map(({ name }) => name);
  // Connections went with it: no figure would mean what it says.
  if (gone.length > 0) throw new Error(`${gone.join(', ')} ended while it was measured`);
  return use;
}

/** The most that a process of ours may have open: children inherit it. */
function openFilesMax(): number {
  const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
}
