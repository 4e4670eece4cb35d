/** Where accept spends its time under each load: Bun's sampling profiler, written when the process ends in order. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Children } from './children.ts';
import type { Options } from './config.ts';
import type { Load } from './loads.ts';
import type { Pinning } from './pinning.ts';
import { jobOf, waitUntilStored } from './rounds.ts';
import type { RunGenerator } from './run-generator.ts';
import { startWeir } from './weir.ts';

export interface HotFunction {
  /** `name (file:line)`, or what can be said of code that has no file. */
  readonly name: string;
  /** Of all samples of the process. */
  readonly selfFraction: number;
}

export interface Profile {
  readonly load: string;
  readonly samples: number;
  readonly eventsPerSecond: number;
  readonly top: readonly HotFunction[];
}

/** The part of Chrome's CPU profile format that is read. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly hitCount?: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
}

const TOP = 5;

export interface ProfileOptions {
  readonly options: Options;
  readonly loads: readonly Load[];
  readonly children: Children;
  readonly pinning: Pinning;
  readonly runGenerator: RunGenerator;
  readonly progress: (text: string) => void;
}

export async function profileLoads(context: ProfileOptions): Promise<Profile[]> {
  const profiles: Profile[] = [];
  for (const load of context.loads) {
    context.progress(`profile under ${load.name}`);
    profiles.push(await profileLoad(context, load));
  }
  return profiles;
}

async function profileLoad(context: ProfileOptions, load: Load): Promise<Profile> {
  const { options, children, runGenerator } = context;
  const folder = children.makeFolder(options.folder, 'weir-profile-');
  try {
    const bunArguments = ['--cpu-prof', `--cpu-prof-dir=${folder}`];
    const weir = await startWeir(context, { bunArguments });
    const accept = weir.processes().find(({ name }) => name === 'accept');
    let eventsPerSecond: number;
    try {
      ({ eventsPerSecond } = await runGenerator(jobOf(load, weir, options, 0)));
      await waitUntilStored(weir);
    } finally {
      await weir.stop();
    }
    const file = readdirSync(folder).find((name) => name.includes(`.${accept?.pid}.`));
    if (file === undefined) throw new Error('accept wrote no profile: it was replaced, or did not end in order');
    const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
    return { load: load.name, eventsPerSecond, ...hottest(profile) };
  } finally {
    children.removeFolder(folder);
  }
}

/** The functions with the largest self time. */
export function hottest({ nodes }: CpuProfile): Pick<Profile, 'samples' | 'top'> {
  const hits = new Map<string, number>();
  let samples = 0;
  for (const { callFrame, hitCount = 0 } of nodes) {
    const { functionName, url, lineNumber } = callFrame;
    const name = nameOf(functionName, url, lineNumber);
    hits.set(name, (hits.get(name) ?? 0) + hitCount);
    samples += hitCount;
  }
  const top = [...hits]
    .toSorted((left, right) => right[1] - left[1])
    .slice(0, TOP)
    .map(([name, count]) => ({ name, selfFraction: count / samples }));
  return { samples, top };
}

/** The runtime's own functions have no file; code that a library generated has lines but no file either. */
function nameOf(functionName: string, url: string, lineNumber: number): string {
  if (url !== '') return `${functionName || '(anonymous)'} (${basename(url)}:${lineNumber + 1})`;
  if (functionName !== '') return `${functionName} (runtime)`;
  return lineNumber < 0 ? '(the runtime outside of any function)' : '(generated code)';
}
