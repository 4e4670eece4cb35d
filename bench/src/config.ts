/** The options of the command line, and the environment that servers under test are started with. */
import { parseArgs } from 'node:util';
import type { Titles } from './events.ts';

export const PARTS = ['single', 'batch', 'ws', 'drain', 'idle'] as const;
export type Part = (typeof PARTS)[number];

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
  readonly sockets: number;
  readonly titles: Titles;
  readonly seed: number;
  readonly parts: ReadonlySet<Part>;
  readonly profile: boolean;
  readonly pin: boolean;
  /** Undefined: beside this package, named after the time. */
  readonly jsonFile: string | undefined;
  /** Folder in which the temporary data folder is made; undefined: the system's. */
  readonly folder: string | undefined;
}

export type ParsedOptions =
  | { readonly kind: 'options'; readonly options: Options }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] };

const NUMBERS = {
  rounds: { fallback: 5, min: 1, max: 100, what: 'rounds; every figure is the median over them' },
  seconds: { fallback: 3, min: 0.5, max: 60, what: 'seconds measured in each round' },
  warmup: { fallback: 1, min: 0, max: 30, what: 'seconds of load before them' },
  rate: { fallback: 10_000, min: 1, max: 200_000, what: 'events per second of the open loop' },
  connections: { fallback: 64, min: 1, max: 1_000, what: 'connections for single events and WebSocket frames' },
  'ws-in-flight': { fallback: 32, min: 1, max: 1_000, what: 'frames in flight per connection in ws-stream' },
  'drain-rate': { fallback: 50_000, min: 1_000, max: 1_000_000, what: 'events per second, in batches, for drain' },
  'drain-seconds': { fallback: 10, min: 1, max: 120, what: 'seconds of that load' },
  sockets: { fallback: 15_000, min: 100, max: 18_000, what: 'idle WebSockets' },
  seed: { fallback: 1, min: 0, max: 0xffff_ffff, what: 'seed of the events (their ids never repeat)' },
} as const;
type NumberName = keyof typeof NUMBERS;

const OTHER_OPTIONS = {
  only: { type: 'string' },
  idle: { type: 'boolean', default: false },
  profile: { type: 'boolean', default: false },
  pin: { type: 'boolean', default: false },
  titles: { type: 'string', default: 'ascii' },
  json: { type: 'string' },
  folder: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** `args` is what stands behind the script on the command line. */
export function parseOptions(args: readonly string[]): ParsedOptions {
  const numberOptions = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, { type: 'string' as const }]));
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({ args: [...args], options: { ...numberOptions, ...OTHER_OPTIONS }, strict: true }));
  } catch (error) {
    return { kind: 'wrong', problems: [(error as Error).message] };
  }
  if (values['help'] === true) return { kind: 'help' };
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
    sockets: Math.round(number('sockets')),
    seed: Math.round(number('seed')),
    titles: values['titles'] === 'mixed' ? 'mixed' : 'ascii',
    parts: readParts(values['only'], values['idle'] === true, problems),
    profile: values['profile'] === true,
    pin: values['pin'] === true,
    jsonFile: text(values['json']),
    folder: text(values['folder']),
  };
  if (values['titles'] !== options.titles) problems.push(`--titles ${values['titles']}: must be ascii or mixed.`);
  if (options.pin && Bun.which('taskset') === null) problems.push('--pin: needs the program taskset (util-linux).');
  return problems.length > 0 ? { kind: 'wrong', problems } : { kind: 'options', options };
}

function readNumber(name: NumberName, given: string | boolean | undefined, problems: string[]): number {
  const { fallback, min, max } = NUMBERS[name];
  if (given === undefined) return fallback;
  const value = Number(given);
  if (given !== '' && value >= min && value <= max) return value;
  problems.push(`--${name} ${given}: must be a number from ${min} to ${max}.`);
  return fallback;
}

function readParts(only: string | boolean | undefined, idle: boolean, problems: string[]): ReadonlySet<Part> {
  const named = [...(typeof only === 'string' ? only.split(',') : []), ...(idle ? ['idle'] : [])];
  const parts = PARTS.filter((part) => named.includes(part));
  const unknown = named.filter((name) => !PARTS.some((part) => part === name));
  if (unknown.length > 0) problems.push(`--only ${unknown.join(',')}: must be of ${PARTS.join(', ')}.`);
  return new Set(named.length === 0 ? PARTS : parts);
}

function text(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function helpText(): string {
  const lines = Object.entries(NUMBERS).map(([name, { fallback, what }]) => [`--${name} N`, `${what} (${fallback})`]);
  const others = [
    ['--only PARTS', `of ${PARTS.join(', ')}, separated by commas (all)`],
    ['--idle', 'the same as --only idle'],
    ['--profile', 'instead of measuring: where accept spends its time under each load'],
    ['--pin', 'accept and the bare server on the first processor, generator and deliver on the last'],
    ['--titles KIND', 'ascii, or mixed: one title in twenty beyond ASCII (ascii)'],
    ['--json FILE', 'where the results go (bench/results/<time>.json)'],
    ['--folder DIR', 'where the temporary data folder is made: the disk that is measured'],
  ];
  const rows = [...lines, ...others].map(([name, what]) => `  ${name?.padEnd(20)} ${what}`);
  return `npm run bench -- [options]\n\n${rows.join('\n')}\n`;
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
