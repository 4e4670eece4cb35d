/** A part that measures loads against Weir, in one setting or several, and the bare server in turn. */
import { type Ceiling, measureCeilings } from './ceiling.ts';
import type { Options } from './config.ts';
import type { Load } from './loads.ts';
import { loadsSection, loadsText } from './loads-report.ts';
import type { Part, PartContext } from './part.ts';
import { type MemoryByProcess, memoryByProcess } from './processes.ts';
import { measureRounds, type Run, secondsOfRun } from './rounds.ts';
import { startSmallServer } from './server-under-test.ts';
import { type Stack, type StackServer, startStack } from './servers-stack.ts';
import { errorsOf, type LoadSummary, named, type Ratio, ratios, summarise } from './summary.ts';
import { startWeir, type Weir } from './weir.ts';

export interface LoadsData {
  readonly loads: readonly Load[];
  readonly ceilings: readonly Ceiling[];
  readonly summary: readonly LoadSummary[];
  readonly ratios: readonly Ratio[];
  /** Of each Weir, by its name, after the loads. */
  readonly memory: Readonly<Record<string, MemoryByProcess>>;
  /** Servers that Weir used. */
  readonly stack: readonly StackServer[];
  readonly runs: readonly Run[];
}

/** One way to run Weir. */
interface Setting {
  readonly name: string;
  readonly workers: number;
}

interface LoadsPartPlan extends Pick<Part, 'name' | 'what' | 'set'> {
  readonly loads: (options: Options) => readonly Load[];
  /** Servers that Weir uses; default: none, and the embedded engine. */
  readonly stack?: readonly StackServer[];
  /** Default: one, with one accept process. */
  readonly settings?: readonly Setting[];
}

const ONE: readonly Setting[] = [{ name: 'weir', workers: 1 }];
/** Start and end of the servers. */
const START_SECONDS = 6;
const STACK_SECONDS = 12;

export function loadsPart({ loads, stack = [], settings = ONE, ...plan }: LoadsPartPlan): Part<LoadsData> {
  return {
    ...plan,
    loads,
    seconds(options) {
      const runs = loads(options).length * ((settings.length + 1) * options.rounds + 1);
      const start = START_SECONDS + (stack.length > 0 ? STACK_SECONDS : 0);
      return start + runs * secondsOfRun(options);
    },
    async measure(context) {
      const data = await measureLoads(context, loads(context.options), stack, settings);
      const notStored = data.runs.filter(({ drain }) => drain !== undefined && drain.secondsUntilStored === undefined);
      const problems = [
        ...named(errorsOf(data.runs)),
        ...data.ceilings.flatMap(({ load, errors }) =>
          named(errors).map((error) => `${load}, the generator's ceiling: ${error}`),
        ),
        ...notStored.map(
          ({ load, server, round }) => `${load}, ${server}, round ${round}: not everything was stored in time`,
        ),
      ];
      return { data, problems };
    },
    text: loadsText,
    section: (data) => loadsSection(plan.name, data),
  };
}

async function measureLoads(
  context: PartContext,
  loads: readonly Load[],
  names: readonly StackServer[],
  settings: readonly Setting[],
): Promise<LoadsData> {
  const { options, children, pinning, runGenerator, progress } = context;
  progress("the generator's ceiling");
  const ceilings = await measureCeilings(options, loads, children, pinning, runGenerator);
  progress('start');
  const bare = await startSmallServer('bare', children, pinning);
  let stack: Stack | undefined;
  const weirs: Weir[] = [];
  try {
    stack = await startStack(names, children);
    for (const setting of settings) weirs.push(await startWith(context, stack, setting));
    const runs = await measureRounds({ options, loads, servers: [...weirs, bare], runGenerator, progress });
    const memory = Object.fromEntries(weirs.map((weir) => [weir.name, memoryByProcess(weir.processes())]));
    return { loads, ceilings, summary: summarise(runs), ratios: ratios(runs), memory, stack: names, runs };
  } finally {
    for (const weir of weirs) await weir.stop();
    await bare.stop();
    await stack?.close();
  }
}

function startWith(context: PartContext, stack: Stack, { name, workers }: Setting): Promise<Weir> {
  const settings = { ...stack.settings, WEIR_WORKERS: String(workers) };
  return startWeir(context, { name, settings, companions: stack.processes });
}
