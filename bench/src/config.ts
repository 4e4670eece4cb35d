/** The options of the command line, and the environment that servers under test are started with. */
import { parseArgs } from 'node:util';
import type { Titles } from './events.ts';
import type { Part } from './part.ts';

/** Parts as far as the command line is concerned. */
export type PartOption = Pick<Part, 'name' | 'what' | 'set' | 'seconds'>;

export interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Events per second of the open loop. */
  readonly rate: number;
  readonly connections: number;
  readonly wsInFlight: number;
  readonly drainRate: number;
  readonly drainSeconds: number;
  readonly outageRate: number;
  readonly outageSeconds: number;
  readonly sockets: number;
  readonly titles: Titles;
  readonly seed: number;
  /** Names. */
  readonly parts: ReadonlySet<string>;
  readonly profile: boolean;
  /** Write docs/benchmarks.md and its pictures. */
  readonly docs: boolean;
  /** Result files from which the docs are made, instead of measuring. */
  readonly from: readonly string[];
  readonly pin: boolean;
  /** The guard makes a new baseline instead of comparing. */
  readonly update: boolean;
  /** Undefined: bench/baseline.json. */
  readonly baselineFile: string | undefined;
  /** WebSockets of the part `many`, and the seconds from one event of each to its next. */
  readonly manySockets: number;
  readonly manyEverySeconds: number;
  /** How long the soak lasts. */
  readonly minutes: number;
  /** Ids in the dedupe window, and undelivered events, that growth is measured with. */
  readonly ids: number;
  readonly backlog: number;
  /** Undefined: beside this package, named after the time. */
  readonly jsonFile: string | undefined;
  /** Folder in which the temporary data folder is made; undefined: the system's. */
  readonly folder: string | undefined;
}

export type ParsedOptions =
  | { readonly kind: 'options'; readonly options: Options }
  | { readonly kind: 'help'; readonly options: Options }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] };

const NUMBERS = {
  rounds: { fallback: 5, min: 1, max: 100, what: 'rounds; every figure is the median over them' },
  seconds: { fallback: 3, min: 0.5, max: 60, what: 'seconds measured in each round' },
  warmup: { fallback: 1, min: 0, max: 30, what: 'seconds of load before them' },
  rate: { fallback: 10_000, min: 1, max: 200_000, what: 'events per second of the open loop' },
  connections: { fallback: 64, min: 1, max: 1_000, what: 'connections for single events and WebSocket frames' },
  'ws-in-flight': {
    fallback: 32,
    min: 1,
    max: 1_000,
    what: 'frames in flight per connection in ws-stream and ws-cumulative',
  },
  'drain-rate': { fallback: 50_000, min: 1_000, max: 1_000_000, what: 'events per second, in batches, for drain' },
  'drain-seconds': { fallback: 10, min: 1, max: 120, what: 'seconds of that load' },
  'outage-rate': {
    fallback: 20_000,
    min: 1_000,
    max: 1_000_000,
    what: 'events per second, in batches of 100, for outage',
  },
  'outage-seconds': { fallback: 10, min: 1, max: 600, what: 'seconds without ClickHouse' },
  sockets: { fallback: 15_000, min: 100, max: 18_000, what: 'idle WebSockets' },
  'many-sockets': { fallback: 50_000, min: 100, max: 200_000, what: 'WebSockets on several accept processes' },
  'many-every': { fallback: 10, min: 0.1, max: 25, what: 'seconds from one event of each of them to its next' },
  minutes: { fallback: 30, min: 0.1, max: 1_440, what: 'minutes of the soak' },
  ids: { fallback: 10_000_000, min: 1_000, max: 100_000_000, what: 'ids in the dedupe window, for growth' },
  backlog: { fallback: 5_000_000, min: 1_000, max: 50_000_000, what: 'undelivered events, for growth' },
  seed: { fallback: 1, min: 0, max: 0xffff_ffff, what: 'seed of the events (their ids never repeat)' },
} as const;
type NumberName = keyof typeof NUMBERS;

const OTHER_OPTIONS = {
  only: { type: 'string' },
  full: { type: 'boolean', default: false },
  docs: { type: 'boolean', default: false },
  from: { type: 'string', multiple: true },
  profile: { type: 'boolean', default: false },
  pin: { type: 'boolean', default: false },
  guard: { type: 'boolean', default: false },
  update: { type: 'boolean', default: false },
  baseline: { type: 'string' },
  titles: { type: 'string', default: 'ascii' },
  json: { type: 'string' },
  folder: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** `args` is what stands behind the script on the command line. */
export function parseOptions(args: readonly string[], parts: readonly PartOption[]): ParsedOptions {
  const numberOptions = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, { type: 'string' as const }]));
  let values: Record<string, string | boolean | string[] | undefined>;
  try {
    ({ values } = parseArgs({ args: [...args], options: { ...numberOptions, ...OTHER_OPTIONS }, strict: true }));
  } catch (error) {
    return { kind: 'wrong', problems: [(error as Error).message] };
  }
  const problems: string[] = [];
  const number = (name: NumberName) => readNumber(name, values[name], problems);
  const options: Options = {
    rounds: Math.round(number('rounds')),
    seconds: number('seconds'),
    warmupSeconds: number('warmup'),
    rate: number('rate'),
    connections: Math.round(number('connections')),
    wsInFlight: Math.round(number('ws-in-flight')),
    drainRate: number('drain-rate'),
    drainSeconds: number('drain-seconds'),
    outageRate: number('outage-rate'),
    outageSeconds: number('outage-seconds'),
    sockets: Math.round(number('sockets')),
    seed: Math.round(number('seed')),
    titles: values['titles'] === 'mixed' ? 'mixed' : 'ascii',
    parts: readParts(
      values['guard'] === true ? 'guard' : text(values['only']),
      values['full'] === true,
      parts,
      problems,
    ),
    profile: values['profile'] === true,
    docs: values['docs'] === true || values['from'] !== undefined,
    from: Array.isArray(values['from']) ? values['from'] : [],
    pin: values['pin'] === true,
    update: values['update'] === true,
    baselineFile: text(values['baseline']),
    manySockets: Math.round(number('many-sockets')),
    manyEverySeconds: number('many-every'),
    minutes: number('minutes'),
    ids: Math.round(number('ids')),
    backlog: Math.round(number('backlog')),
    jsonFile: text(values['json']),
    folder: text(values['folder']),
  };
  if (values['titles'] !== options.titles) problems.push(`--titles ${values['titles']}: must be ascii or mixed.`);
  if (options.pin && Bun.which('taskset') === null) problems.push('--pin: needs the program taskset (util-linux).');
  if (values['guard'] === true && values['only'] !== undefined) problems.push('--guard: cannot stand beside --only.');
  if (options.update && !options.parts.has('guard')) problems.push('--update: stands beside --guard only.');
  if (values['help'] === true) return { kind: 'help', options };
  return problems.length > 0 ? { kind: 'wrong', problems } : { kind: 'options', options };
}

function readNumber(name: NumberName, given: string | boolean | string[] | undefined, problems: string[]): number {
  const { fallback, min, max } = NUMBERS[name];
  if (given === undefined) return fallback;
  const value = Number(given);
  if (given !== '' && value >= min && value <= max) return value;
  problems.push(`--${name} ${given}: must be a number from ${min} to ${max}.`);
  return fallback;
}

function readParts(
  only: string | undefined,
  isFull: boolean,
  parts: readonly PartOption[],
  problems: string[],
): ReadonlySet<string> {
  if (only === undefined) {
    const sets = isFull ? ['core', 'full'] : ['core'];
    return new Set(parts.filter(({ set }) => sets.includes(set)).map(({ name }) => name));
  }
  const named = only.split(',').map((name) => name.trim());
  const unknown = named.filter((name) => !parts.some((part) => part.name === name));
  if (unknown.length > 0)
    problems.push(`--only ${unknown.join(',')}: must be of ${parts.map(({ name }) => name).join(', ')}.`);
  return new Set(named);
}

function text(value: string | boolean | string[] | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** What rounds were like, in one line: how many of what length there were belongs to every figure. */
export function optionsText({ rounds, seconds, warmupSeconds, connections, titles, pin }: Options): string {
  const plain = `--rounds ${rounds} --seconds ${seconds} --warmup ${warmupSeconds} --connections ${connections} --titles ${titles}`;
  return pin ? `${plain} --pin` : plain;
}

export function helpText(options: Options, parts: readonly PartOption[]): string {
  const numbers = Object.entries(NUMBERS).map(([name, { fallback, what }]) => [`--${name} N`, `${what} (${fallback})`]);
  const others = [
    ['--only PARTS', 'these parts, separated by commas (the core set)'],
    ['--full', 'all but those that have to be named'],
    ['--docs', 'writes docs/benchmarks.md and its pictures from what was measured'],
    [
      '--from FILE',
      'measures nothing: the docs from a saved JSON file; more than once: a later file has its parts instead',
    ],
    ['--guard', 'the same as --only guard: exit code 1 when an event costs more CPU than the baseline says'],
    ['--update', 'with --guard: writes a new baseline instead of comparing'],
    ['--baseline FILE', 'the baseline of --guard (bench/baseline.json)'],
    ['--profile', 'instead of measuring: where accept spends its time under each load'],
    ['--pin', 'accept and the bare server on the first processor, generator and deliver on the last'],
    ['--titles KIND', 'ascii, or mixed: one title in twenty beyond ASCII (ascii)'],
    ['--json FILE', 'where the results go (bench/results/<time>.json)'],
    ['--folder DIR', 'where the temporary data folder is made: the disk that is measured'],
  ];
  const lines = (rows: readonly (readonly (string | undefined)[])[]) =>
    rows.map(([name, what]) => `  ${name?.padEnd(20)} ${what}`).join('\n');
  const seconds = (wanted: readonly PartOption[]) => wanted.reduce((sum, part) => sum + part.seconds(options), 0);
  const ofSet = (...sets: string[]) => minutesText(seconds(parts.filter(({ set }) => sets.includes(set))));
  const partLines = parts.map((part) => [
    part.name,
    `${minutesText(part.seconds(options)).padStart(8)}  ${part.set.padEnd(5)}  ${part.what}`,
  ]);
  return [
    'npm run bench -- [options]',
    lines([...numbers, ...others]),
    `Parts, about how long each takes, and in which set it is: core (${ofSet('core')}), full (${ofSet('core', 'full')} with core), named`,
    lines(partLines),
    '',
  ].join('\n\n');
}

function minutesText(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** What is of no concern to a server under test is passed on; the settings of a Weir on this machine are not. */
export function serverEnvironment(settings: Readonly<Record<string, string>>): Record<string, string> {
  const passedOn = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LD_LIBRARY_PATH'];
  const kept = passedOn.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(kept), ...settings };
}
