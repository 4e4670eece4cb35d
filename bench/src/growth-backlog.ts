/**
 * A journal with millions of undelivered events against one with none. Deliver is frozen (SIGSTOP) while either service
 * is measured, so that the backlog is all in which the two differ.
 */
import { join } from 'node:path';
import {
  fill,
  type GrowthContext,
  type GrowthRatio,
  type GrowthRun,
  type GrowthStart,
  growthRatios,
  measurePairs,
  restart,
  waitUntilAllStored,
} from './growth-pairs.ts';
import { type MemoryByProcess, memoryByProcess } from './processes.ts';
import { folderBytes } from './soak-samples.ts';
import { startWeir, type Weir } from './weir.ts';

export interface BacklogGrowth {
  /** When the rounds begin. */
  readonly pendingEvents: { readonly grown: number; readonly plain: number };
  readonly journalBytes: number;
  readonly fill: { readonly seconds: number; readonly eventsPerSecond: number };
  readonly runs: readonly GrowthRun[];
  readonly ratios: readonly GrowthRatio[];
  /** After the loads; deliver as it was frozen. */
  readonly memory: { readonly grown: MemoryByProcess; readonly plain: MemoryByProcess };
  /** After SIGKILL to every process, with the whole backlog undelivered. */
  readonly start: GrowthStart;
  /** From that start until all of it was stored. */
  readonly secondsUntilStored: number;
  readonly memoryAfterDrain: MemoryByProcess;
  readonly acknowledged: number;
  /** Rows, and different events among them. */
  readonly stored: number;
  readonly storedDifferent: number;
}

/** Both forget at once, so that the dedupe window plays no part; the journal takes any backlog. */
const SETTINGS = { DEDUPE_IDS_MAX: '100000', JOURNAL_BYTES_MAX: String(64 * 1024 ** 3) };
const COUNT_TIMEOUT_MS = 120_000;

export async function measureBacklog(
  context: GrowthContext,
  own: (service: Weir) => Weir,
  acknowledged: (service: Weir) => number,
): Promise<BacklogGrowth> {
  const { options, runGenerator } = context;
  const before = own(await startWeir(context, { settings: SETTINGS }));
  const plain = own(await startWeir(context, { settings: SETTINGS }));
  signalDeliver(before, 'SIGSTOP');
  const filled = await fill(context, before, options.backlog, before.pendingEvents);
  const pendingEvents = { grown: await before.pendingEvents(), plain: await plain.pendingEvents() };
  const journalBytes = folderBytes(join(before.dataFolder, 'journals'));
  const runs = await measurePairs(context, { grown: before, plain }, async (service, job, name) => {
    if (name === 'grown') return await runGenerator(job);
    signalDeliver(service, 'SIGSTOP');
    const result = await runGenerator(job).finally(() => signalDeliver(service, 'SIGCONT'));
    await waitUntilAllStored(service);
    return result;
  });
  const memory = { grown: memoryByProcess(before.processes()), plain: memoryByProcess(plain.processes()) };
  await plain.stop();

  context.progress('start with the whole backlog');
  const sent = acknowledged(before);
  const { service, start } = await restart(context, before, 'killed', SETTINGS);
  const grown = own(service);
  const readyMs = performance.now();
  context.progress(`${sent} events to be stored`);
  await waitUntilAllStored(grown);
  const seconds = (start.storingMs + performance.now() - readyMs) / 1000;
  const memoryAfterDrain = memoryByProcess(grown.processes());
  const [stored, storedDifferent] = await countStored(grown);
  await grown.stop();
  return {
    pendingEvents,
    journalBytes,
    fill: filled,
    runs,
    ratios: growthRatios(runs),
    memory,
    start,
    secondsUntilStored: seconds,
    memoryAfterDrain,
    acknowledged: sent,
    stored,
    storedDifferent,
  };
}

function signalDeliver(service: Weir, signal: 'SIGSTOP' | 'SIGCONT'): void {
  const deliver = service.processes().find(({ name }) => name === 'deliver');
  if (deliver === undefined) throw new Error('deliver is gone');
  process.kill(deliver.pid, signal);
}

/** By 64 bits of hash: that two of ten million events share theirs is a matter of 1 in 10^5, and 128 take too much memory. */
export async function countStored({ url }: Weir): Promise<readonly [rows: number, different: number]> {
  const query =
    'SELECT count() AS rows, uniqExact(sipHash64(storeId, eventId)) AS different FROM raw_events FORMAT JSONCompactEachRow';
  const response = await fetch(`${url}/query`, {
    method: 'POST',
    body: query,
    signal: AbortSignal.timeout(COUNT_TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`the stored events could not be counted: ${text.slice(0, 200)}`);
  const [rows, different] = JSON.parse(text) as [unknown, unknown];
  return [Number(rows), Number(different)];
}
