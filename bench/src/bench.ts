/** The whole bench in order. */
import { type Ceiling, measureCeilings } from './ceiling.ts';
import type { Children } from './children.ts';
import { type Conditions, readConditions } from './conditions.ts';
import type { Options } from './config.ts';
import { type DrainRun, measureDrain } from './drain.ts';
import { type IdleRun, measureIdle, measureSockets, type SocketsRun } from './idle.ts';
import { createPinning, NO_PINNING, type Pinning } from './pinning.ts';
import { memoryByProcess } from './processes.ts';
import { type Profile, profileLoads } from './profile.ts';
import {
  ceilingText,
  conditionsText,
  drainText,
  idleText,
  loadsText,
  memoryText,
  profilesText,
  ratiosText,
  socketsText,
  summaryText,
} from './report.ts';
import { loadsOf, measureRounds, type Run } from './rounds.ts';
import { createRunGenerator, type RunGenerator } from './run-generator.ts';
import { startSmallServer } from './server-under-test.ts';
import { errorsOf, type LoadSummary, type Ratio, ratios, summarise } from './summary.ts';
import { startWeir } from './weir.ts';

export interface Results {
  readonly conditions: Conditions;
  readonly options: unknown;
  readonly profiles?: readonly Profile[];
  readonly idle?: IdleRun;
  readonly sockets?: readonly SocketsRun[];
  readonly ceilings?: readonly Ceiling[];
  readonly summary?: readonly LoadSummary[];
  readonly ratios?: readonly Ratio[];
  readonly drain?: DrainRun;
  readonly runs?: readonly Run[];
}

export interface BenchContext {
  readonly options: Options;
  readonly children: Children;
  readonly folder: string;
  readonly print: (text: string) => void;
  readonly progress: (text: string) => void;
}

interface Prepared extends BenchContext {
  readonly pinning: Pinning;
  readonly runGenerator: RunGenerator;
}

export async function runBench(context: BenchContext): Promise<{ results: Results; hasErrors: boolean }> {
  const { options, children, print, folder } = context;
  const pinning = options.pin ? createPinning() : NO_PINNING;
  const prepared = { ...context, pinning, runGenerator: createRunGenerator(children, pinning) };
  const conditions = readConditions(folder, options.pin);
  const show = (text: string) => {
    context.progress('');
    print(text);
  };
  show(conditionsText(conditions));
  const base = { conditions, options: { ...options, parts: [...options.parts] } };
  const shown = { ...prepared, print: (text: string) => show(`\n${text}`) };
  if (options.profile) {
    const profiles = await profileLoads({ ...shown, loads: loadsOf(options) });
    shown.print(profilesText(profiles));
    return { results: { ...base, profiles }, hasErrors: false };
  }
  const idle = options.parts.has('idle') ? await idlePart(shown) : {};
  const loaded = await loadPart(shown);
  const failed = [...(loaded.runs ?? []), ...(loaded.drain === undefined ? [] : [loaded.drain])];
  const lost = idle.sockets?.some((one) => one.lost > 0) ?? false;
  return { results: { ...base, ...idle, ...loaded }, hasErrors: lost || Object.keys(errorsOf(failed)).length > 0 };
}

/** A fresh service, so that nothing that was done before counts as idle. */
async function idlePart(context: Prepared): Promise<Pick<Results, 'idle' | 'sockets'>> {
  const { options, children, pinning, print, progress } = context;
  const weir = await startWeir({ parentFolder: options.folder, children, pinning });
  const sockets: SocketsRun[] = [];
  let idle: IdleRun;
  try {
    progress('idle memory');
    idle = await measureIdle(weir);
    print(idleText(idle));
    progress(`${options.sockets} idle WebSockets: weir`);
    sockets.push(await measureSockets(options, weir, children));
  } finally {
    await weir.stop();
  }
  const bare = await startSmallServer('bare', children, pinning);
  try {
    progress(`${options.sockets} idle WebSockets: bare`);
    sockets.push(await measureSockets(options, bare, children));
  } finally {
    await bare.stop();
  }
  print(socketsText(sockets));
  return { idle, sockets };
}

async function loadPart(context: Prepared): Promise<Omit<Results, 'conditions' | 'options'>> {
  const { options, children, pinning, runGenerator, print, progress } = context;
  const loads = loadsOf(options);
  if (loads.length === 0 && !options.parts.has('drain')) return {};
  progress("the generator's ceiling");
  const ceilings = loads.length === 0 ? [] : await measureCeilings(options, loads, children, pinning, runGenerator);
  if (ceilings.length > 0) print(ceilingText(ceilings));
  const bare = await startSmallServer('bare', children, pinning);
  const weir = await startWeir({ parentFolder: options.folder, children, pinning });
  try {
    const runs = await measureRounds({ options, loads, servers: [weir, bare], runGenerator, progress });
    const summary = summarise(runs);
    const ratio = ratios(runs);
    if (runs.length > 0) {
      print(loadsText(loads, runs[0]?.result.eventBytes ?? Number.NaN));
      print(summaryText(summary));
      print(ratiosText(ratio));
      print(memoryText('Memory of Weir after these loads', memoryByProcess(weir.processes())));
    }
    if (!options.parts.has('drain')) return { ceilings, summary, ratios: ratio, runs };
    progress('drain');
    const drain = await measureDrain(options, weir, runGenerator);
    print(drainText(drain));
    return { ceilings, summary, ratios: ratio, drain, runs };
  } finally {
    await weir.stop();
    await bare.stop();
  }
}
