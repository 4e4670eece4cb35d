/** The parts that were asked for, one after another; one that fails is reported, and the others go on. */
import type { Children } from './children.ts';
import { type Conditions, readConditions } from './conditions.ts';
import { type Options, optionsText } from './config.ts';
import type { Part, PartContext } from './part.ts';
import { createPinning, NO_PINNING } from './pinning.ts';
import { cpuBetween, readCpu } from './processes.ts';
import { profileLoads } from './profile.ts';
import { conditionsText, disturbanceText, profilesText } from './report.ts';
import { createRunGenerator } from './run-generator.ts';

/** One part, as the JSON file keeps it. */
export interface PartResult {
  readonly startedAt: string;
  /** Those that it was run with, as on a command line; of several files, each part has its own. */
  readonly options: string;
  readonly seconds: number;
  /** Of all processors' time while it was measured: what the host took, and what everybody together used. */
  readonly stealFraction: number;
  readonly busyFraction: number;
  /** What the part's `measure` gave; absent when it failed. */
  readonly data?: unknown;
  readonly problems: readonly string[];
}

export interface Results {
  readonly conditions: Conditions;
  readonly options: unknown;
  readonly parts: Readonly<Record<string, PartResult>>;
}

export interface BenchContext {
  readonly options: Options;
  /** All that there are; the options say which of them are wanted. */
  readonly allParts: readonly Part[];
  readonly children: Children;
  readonly folder: string;
  readonly print: (text: string) => void;
  readonly progress: (text: string) => void;
}

/** `save` is called after every part, with all that there is by then. */
export async function runBench(context: BenchContext, save: (results: Results) => void): Promise<Results> {
  const { options, allParts, print, folder, progress } = context;
  const prepared = prepare(context);
  const conditions = readConditions(folder, options.pin);
  print(conditionsText(conditions));
  const parts: Record<string, PartResult> = {};
  // Where things lie on this machine is nobody's business.
  const shown = { ...options, parts: [...options.parts], jsonFile: undefined, folder: undefined };
  const results = { conditions, options: shown, parts };
  for (const part of allParts.filter(({ name }) => options.parts.has(name))) {
    const result = await measurePart(part, prepared);
    parts[part.name] = result;
    save(results);
    progress('');
    print(`\n${partText(part, result)}`);
  }
  return results;
}

/** Prints where accept spends its time under the loads of the parts; nothing is kept. */
export async function profileParts(context: BenchContext): Promise<void> {
  const { options, allParts, print } = context;
  const loads = allParts.flatMap((part) => (options.parts.has(part.name) ? (part.loads?.(options) ?? []) : []));
  print(profilesText(await profileLoads({ ...prepare(context), loads })));
}

function prepare({ options, children, progress }: BenchContext): PartContext {
  const pinning = options.pin ? createPinning() : NO_PINNING;
  return { options, children, pinning, progress, runGenerator: createRunGenerator(children, pinning) };
}

async function measurePart(part: Part, context: PartContext): Promise<PartResult> {
  const startedAt = new Date().toISOString();
  const before = readCpu([]);
  const measured = await part.measure(context).catch((error: unknown) => ({
    problems: [`It failed: ${error instanceof Error ? error.message : String(error)}`],
  }));
  const { seconds, stealFraction, busyFraction } = cpuBetween(before, readCpu([]));
  return { startedAt, options: optionsText(context.options), seconds, stealFraction, busyFraction, ...measured };
}

function partText(part: Part, result: PartResult): string {
  const title = `== ${part.name}: ${part.what} (${disturbanceText(result)})`;
  const body = result.data === undefined ? [] : [part.text(result.data)];
  return [title, ...body, ...result.problems.map((problem) => `! ${problem}`)].join('\n');
}

export function hasProblems({ parts }: Results): boolean {
  return Object.values(parts).some(({ problems }) => problems.length > 0);
}
