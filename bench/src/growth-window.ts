/**
 * A dedupe window that holds millions of ids against one that is next to empty. The window is filled through the front
 * door, with the events of every other load: what recovery then finds is what a service leaves, not what a test wrote.
 */
import { createEvents } from './events.ts';
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
import { createRandom } from './random.ts';
import { startWeir, type Weir } from './weir.ts';

export interface WindowGrowth {
  readonly ids: { readonly grown: number; readonly plain: number };
  readonly fill: { readonly seconds: number; readonly eventsPerSecond: number };
  readonly runs: readonly GrowthRun[];
  readonly ratios: readonly GrowthRatio[];
  /** After the loads. */
  readonly memory: { readonly grown: MemoryByProcess; readonly plain: MemoryByProcess };
  /** After an orderly end. */
  readonly starts: { readonly grown: readonly GrowthStart[]; readonly plain: readonly GrowthStart[] };
  /** Ids after the last start. */
  readonly idsAfterStart: number;
  /** How an event from before the fill is answered after the last start: 200, as a duplicate. */
  readonly firstEventAgain: number;
}

const STARTS = 3;
/** The plain service forgets all but the last of them: it stays as empty as it is. */
const PLAIN_IDS_MAX = 100_000;
const DEFAULT_IDS_MAX = 20_000_000;
/** The window must outlast the fill. */
const WINDOW_MS = 24 * 3_600_000;

export async function measureWindow(context: GrowthContext, own: (service: Weir) => Weir): Promise<WindowGrowth> {
  const { options, runGenerator } = context;
  const grownSettings = {
    DEDUPE_WINDOW_MS: String(WINDOW_MS),
    DEDUPE_IDS_MAX: String(Math.max(DEFAULT_IDS_MAX, 2 * options.ids)),
  };
  const plainSettings = { DEDUPE_WINDOW_MS: String(WINDOW_MS), DEDUPE_IDS_MAX: String(PLAIN_IDS_MAX) };
  let grown = own(await startWeir(context, { settings: grownSettings }));
  let plain = own(await startWeir(context, { settings: plainSettings }));
  const probe = createEvents({ random: createRandom(1), titles: 'ascii' })();
  const first = await post(grown, probe);
  if (first !== 202) throw new Error(`the first event was answered ${first}`);

  const filled = await fill(context, grown, options.ids, () => idsOf(grown));
  await waitUntilAllStored(grown);
  const ids = { grown: await idsOf(grown), plain: await idsOf(plain) };
  const runs = await measurePairs(context, { grown, plain }, async (service, job) => {
    const result = await runGenerator(job);
    await waitUntilAllStored(service);
    return result;
  });
  const memory = { grown: memoryByProcess(grown.processes()), plain: memoryByProcess(plain.processes()) };

  const starts: { grown: GrowthStart[]; plain: GrowthStart[] } = { grown: [], plain: [] };
  for (let times = 0; times < STARTS; times++) {
    context.progress(`start ${times + 1} of ${STARTS}`);
    const full = await restart(context, grown, 'in order', grownSettings);
    grown = own(full.service);
    starts.grown.push(full.start);
    const empty = await restart(context, plain, 'in order', plainSettings);
    plain = own(empty.service);
    starts.plain.push(empty.start);
  }
  const [idsAfterStart, firstEventAgain] = [await idsOf(grown), await post(grown, probe)];
  await grown.stop();
  await plain.stop();
  return {
    ids,
    fill: filled,
    runs,
    ratios: growthRatios(runs),
    memory,
    starts,
    idsAfterStart,
    firstEventAgain,
  };
}

async function idsOf(service: Weir): Promise<number> {
  return (await service.health())?.dedupe?.ids ?? Number.NaN;
}

async function post({ url }: Weir, body: string): Promise<number> {
  const response = await fetch(`${url}/events`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
  await response.arrayBuffer();
  return response.status;
}
