/** Where accept's CPU time goes: the path of an event cut off after each of its steps, beside the bare server and all of Weir. */
import { usualLoads } from './loads.ts';
import { range } from './loads-report.ts';
import type { Part, PartContext, Section } from './part.ts';
import { codeBlock, fixed, image, table } from './report.ts';
import { measureRounds, type Run, secondsOfRun } from './rounds.ts';
import { type ServerUnderTest, startSmallServer } from './server-under-test.ts';
import { STEPS } from './step-names.ts';
import { errorsOf, frontMicros, named, type Spread, spreadOf } from './summary.ts';
import { barChart } from './svg.ts';
import { startWeir, type Weir } from './weir.ts';

interface StepFigure {
  readonly load: string;
  readonly server: string;
  readonly micros: Spread;
  /** More than the server before it on the path, in the same round; absent for the first. */
  readonly more?: Spread;
}

export interface StepsData {
  readonly figures: readonly StepFigure[];
  readonly runs: readonly Run[];
}

const SERVERS = STEPS.length + 2;
const START_SECONDS = 10;

export const stepsPart: Part<StepsData> = {
  name: 'steps',
  what: "where accept's CPU time goes, step by step",
  set: 'full',
  seconds: (options) => START_SECONDS + usualLoads(options).length * SERVERS * options.rounds * secondsOfRun(options),
  async measure(context) {
    const runs = await measureSteps(context);
    return { data: { figures: figuresOf(runs), runs }, problems: named(errorsOf(runs)) };
  },
  text: stepsText,
  section: stepsSection,
};

async function measureSteps(context: PartContext): Promise<Run[]> {
  const { options, children, pinning } = context;
  const folder = children.makeFolder(options.folder, 'weir-steps-');
  const servers: ServerUnderTest[] = [];
  let weir: Weir | undefined;
  try {
    servers.push(await startSmallServer('bare', children, pinning));
    for (const { name } of STEPS)
      servers.push(await startSmallServer('steps', children, pinning, { name, args: [name, `${folder}/${name}`] }));
    weir = await startWeir(context);
    return await measureRounds({ ...context, loads: usualLoads(options), servers: [...servers, weir] });
  } finally {
    for (const server of servers) await server.stop();
    await weir?.stop();
    children.removeFolder(folder);
  }
}

/** In the order of the path; a difference is made within a round. */
export function figuresOf(runs: readonly Run[]): StepFigure[] {
  const order = ['bare', ...STEPS.map(({ name }) => name), 'weir'];
  return [...new Set(runs.map(({ load }) => load))].flatMap((load) => {
    const of = (server: string | undefined) => runs.filter((run) => run.load === load && run.server === server);
    return order.map((server, at) => {
      const before = new Map(of(order[at - 1]).map((run) => [run.round, frontMicros(run)]));
      const micros = of(server).map((run) => frontMicros(run));
      const more = of(server).map((run) => frontMicros(run) - (before.get(run.round) ?? Number.NaN));
      return { load, server, micros: spreadOf(micros), ...(at === 0 ? {} : { more: spreadOf(more) }) };
    });
  });
}

const HEAD = ['load', 'server', 'what it adds', 'CPU µs', 'min–max', 'more', 'min–max'];
const NOTE =
  'CPU µs of the process that answers, per event; "more": than the row above, within a round. The bare server parses, "reply" and "body" do not.';
const ADDS = new Map<string, string>([
  ['bare', 'Bun.serve, JSON and a reply'],
  ...STEPS.map(({ name, adds }) => [name, adds] as const),
  [
    'weir',
    'the service: tokens, limits, counters, one call for all of a turn, deliver on the same processors; memory settings of its own, ids fetched at once',
  ],
]);

function stepsText({ figures }: StepsData): string {
  const rows = figures.map(({ load, server, micros, more }) => [
    load,
    server,
    ADDS.get(server) ?? '',
    fixed(micros.median, 2),
    range(micros, 2),
    more === undefined ? '' : fixed(more.median, 2),
    more === undefined ? '' : range(more, 2),
  ]);
  return `${table(HEAD, rows, 3)}\n\n${NOTE}`;
}

function stepsSection(data: StepsData): Section {
  const plots = ['single', 'batch'].map((load) => {
    const title = `${load}: CPU time of a path that ends after each step`;
    const groups = data.figures
      .filter((one) => one.load === load)
      .map(({ server, micros: { median, min, max } }) => ({ label: server, bars: [{ value: median, min, max }] }));
    const axis = 'µs of CPU time per event (median, range of the rounds)';
    return { name: `steps-${load}`, title, svg: barChart({ title, axis, series: ['what answers'], groups }) };
  });
  return { markdown: [codeBlock(stepsText(data)), ...plots.map(image)].join('\n\n'), plots };
}
