/** Whether an event costs more than it did: CPU per event as a ratio to the bare server, against a committed baseline. */
import { tmpdir } from 'node:os';
import { readConditions } from './conditions.ts';
import type { Options } from './config.ts';
import { BASELINE_FILE, type Baseline, readBaseline, writeBaseline } from './guard-baseline.ts';
import { type Comparison, compareFigures, figureOf, type GuardFigures, type GuardProcess } from './guard-compare.ts';
import { batchLoads, type Load, singleLoads, wsLoads } from './loads.ts';
import type { Measured, Part, PartContext } from './part.ts';
import { table } from './report.ts';
import { measureRounds, type Run, secondsOfRun } from './rounds.ts';
import { startSmallServer } from './server-under-test.ts';
import { errorsOf, microsPerEvent, named } from './summary.ts';
import { startWeir } from './weir.ts';

export interface GuardData {
  /** What was compared with; undefined when a new baseline was asked for. */
  readonly baseline?: Baseline['conditions'];
  /** A run with errors is no baseline. */
  readonly isWritten: boolean;
  readonly figures: GuardFigures;
  readonly comparisons: readonly Comparison[];
  readonly conditions: Baseline['conditions'];
  readonly runs: readonly Run[];
}

const START_SECONDS = 5;

/** Closed loops only: at a fixed rate the bare server idles, and its CPU per event says little. */
const guardLoads = (options: Options): Load[] =>
  [...singleLoads(options), ...batchLoads(options), ...wsLoads(options)].filter(({ name }) =>
    ['single', 'batch', 'ws', 'ws-stream'].includes(name),
  );

export const guardPart: Part<GuardData> = {
  name: 'guard',
  what: 'CPU per event against bench/baseline.json',
  set: 'named',
  seconds(options) {
    const runs = 2 * guardLoads(options).length;
    return options.rounds * (START_SECONDS + runs * secondsOfRun(options));
  },
  measure: measureGuard,
  text: guardText,
};

async function measureGuard(context: PartContext): Promise<Measured<GuardData>> {
  const { options } = context;
  const file = options.baselineFile ?? BASELINE_FILE;
  // Read first: nobody wants to hear after minutes that there was nothing to compare with.
  const before = options.update ? undefined : readBaseline(file);
  const { startedAt, processor, cores, kernel, bun, load1 } = readConditions(options.folder ?? tmpdir(), options.pin);
  const conditions = { startedAt, processor, cores, kernel, bun, load1 };
  const runs = await measureFresh(context);
  const figures = figuresOf(runs);
  const comparisons = before === undefined ? [] : compareFigures(before.figures, figures);
  const errors = [
    ...named(errorsOf(runs)),
    ...incomplete(figures, options.rounds),
    ...(options.update ? tooNoisy(figures) : []),
  ];
  const isWritten = options.update && errors.length === 0;
  if (isWritten) writeBaseline(file, { conditions, figures });
  return {
    data: {
      ...(before === undefined ? {} : { baseline: before.conditions }),
      isWritten,
      figures,
      comparisons,
      conditions,
      runs,
    },
    problems: [
      ...comparisons.flatMap(problemOf),
      ...(before === undefined ? [] : missing(before.figures, figures)),
      ...errors,
    ],
  };
}

/** Both servers are started anew for every round: how code and memory happen to lie belongs to the spread. */
async function measureFresh(context: PartContext): Promise<Run[]> {
  const { options, children, pinning, runGenerator } = context;
  const runs: Run[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const bare = await startSmallServer('bare', children, pinning);
    const weir = await startWeir(context);
    try {
      const measured = await measureRounds({
        options: { ...options, rounds: 1, seed: options.seed + round },
        loads: guardLoads(options),
        servers: round % 2 === 0 ? [weir, bare] : [bare, weir],
        runGenerator,
        progress: (text) => context.progress(`round ${round} of ${options.rounds}: ${text}`),
      });
      runs.push(...measured.map((run) => ({ ...run, round })));
    } finally {
      await weir.stop();
      await bare.stop();
    }
  }
  return runs;
}

export function figuresOf(runs: readonly Run[]): GuardFigures {
  const byLoad = Map.groupBy(runs, ({ load }) => load);
  const figures = Array.from(byLoad, ([load, ofLoad]) => {
    const figure = (read: (weir: Run) => number) => {
      const ratios = ofLoad.flatMap((weir) => {
        const bare = ofLoad.find(({ server, round }) => server === 'bare' && round === weir.round);
        if (weir.server !== 'weir' || bare === undefined) return [];
        const ratio = read(weir) / microsPerEvent(bare, 'bare');
        // A process that was replaced meanwhile has no figure.
        return Number.isFinite(ratio) ? [ratio] : [];
      });
      return figureOf(ratios);
    };
    const accept = figure((weir) => microsPerEvent(weir, 'accept'));
    const deliver = figure((weir) => weir.drain?.deliverMicrosPerEvent ?? Number.NaN);
    return [load, { accept, deliver }] as const;
  });
  return Object.fromEntries(figures);
}

const percent = (fraction: number) => `${fraction > 0 ? '+' : ''}${(100 * fraction).toFixed(1)} %`;

function problemOf({ load, process, before, now, change, tolerance, verdict }: Comparison): string[] {
  const what = `${load}, ${process}`;
  const figures = `${before.toFixed(2)} → ${now.toFixed(2)} times the bare server's CPU per event`;
  if (verdict === 'worse')
    return [`${what}: ${percent(change)}, ${figures} (tolerance ${(100 * tolerance).toFixed(1)} %).`];
  if (verdict === 'too noisy')
    return [
      `${what}: too noisy to tell (only more than ${(100 * tolerance).toFixed(0)} % would show): run it again on a quieter machine.`,
    ];
  return [];
}

function incomplete(figures: GuardFigures, wanted: number): string[] {
  return Object.entries(figures).flatMap(([load, byProcess]) =>
    Object.entries(byProcess).flatMap(([process, { rounds }]) =>
      rounds === wanted ? [] : [`${load}, ${process}: it was replaced in ${wanted - rounds} of ${wanted} rounds.`],
    ),
  );
}

/** Of a baseline that could tell nothing from nothing. */
function tooNoisy(figures: GuardFigures): string[] {
  return compareFigures(figures, figures)
    .filter(({ verdict }) => verdict === 'too noisy')
    .map(({ load, process }) => `${load}, ${process}: too noisy for a baseline: more --rounds, or a quieter machine.`);
}

/** What only one of them has. */
export function missing(baseline: GuardFigures, now: GuardFigures): string[] {
  const anew = '"npm run bench -- --guard --update" makes it anew.';
  const lacking = (one: GuardFigures, other: GuardFigures) => Object.keys(one).filter((load) => !(load in other));
  return [
    ...lacking(now, baseline).map((load) => `${load}: the baseline does not have it: ${anew}`),
    ...lacking(baseline, now).map((load) => `${load}: it stands in the baseline, and was not measured: ${anew}`),
  ];
}

function guardText({ baseline, comparisons, conditions, figures, isWritten }: GuardData): string {
  const named = (one: Baseline['conditions']) =>
    `${one.processor}, ${one.cores} cores, Bun ${one.bun}, ${one.startedAt.slice(0, 10)}`;
  if (baseline === undefined) {
    const rows = Object.entries(figures).flatMap(([load, byProcess]) =>
      (Object.keys(byProcess) as GuardProcess[]).map((process) => {
        const { median, spread, rounds } = byProcess[process];
        return [load, process, median.toFixed(2), `± ${((100 * spread) / median).toFixed(1)} %`, String(rounds)];
      }),
    );
    const title = isWritten ? 'A new baseline' : 'No new baseline, because of the errors below';
    return `${title}: CPU per event, divided by the bare server's\n${table(['load', 'process', 'ratio', 'spread', 'rounds'], rows, 2)}`;
  }
  const rows = comparisons.map(({ load, process, before, now, change, tolerance, verdict }) => [
    load,
    process,
    before.toFixed(2),
    now.toFixed(2),
    percent(change),
    `${(100 * tolerance).toFixed(1)} %`,
    verdict,
  ]);
  return [
    `Baseline  ${named(baseline)}`,
    `Now       ${named(conditions)}`,
    "CPU per event, divided by the bare server's",
    table(['load', 'process', 'baseline', 'now', 'change', 'tolerance', 'verdict'], rows, 2),
  ].join('\n');
}
