/** The environment variables of the service as the table in README.md; `bun scripts/settings-table.ts` prints it. */
import { ENVIRONMENT } from '../apps/ingestion/src/environment.ts';

/** What JSON Schema says of one variable. */
interface Variable {
  readonly default?: string | number;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** From the largest down: a number is written in the first unit that it is a multiple of. */
type Units = readonly (readonly [size: number, name: string])[];

const BYTES: Units = [
  [2 ** 40, 'TiB'],
  [2 ** 30, 'GiB'],
  [2 ** 20, 'MiB'],
  [2 ** 10, 'KiB'],
  [1, 'B'],
];
const MILLISECONDS: Units = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
  [1, 'ms'],
];

export function settingsTable(): string {
  const { properties } = ENVIRONMENT.toJSONSchema() as { readonly properties: Readonly<Record<string, Variable>> };
  const rows = Object.entries(properties).map(([name, variable]) => [
    `\`${name}\``,
    defaultOf(name, variable),
    boundsOf(name, variable),
    variable.description ?? '',
  ]);
  const head = ['variable', 'default', 'bounds', 'what'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

function defaultOf(name: string, { default: value }: Variable): string {
  if (value === undefined) return 'not set';
  if (value === '') return 'empty';
  const units = unitsOf(name);
  const words = typeof value === 'number' && units !== undefined ? inWords(value, units) : '';
  return words === '' || words.startsWith(`${value} `) ? `\`${value}\`` : `\`${value}\` (${words})`;
}

function boundsOf(name: string, { minimum, maximum }: Variable): string {
  if (minimum === undefined || maximum === undefined) return '';
  const units = unitsOf(name);
  return `${inWords(minimum, units)} to ${inWords(maximum, units)}`;
}

function unitsOf(name: string): Units | undefined {
  if (/_BYTES(_|$)/.test(name)) return BYTES;
  return name.endsWith('_MS') ? MILLISECONDS : undefined;
}

function inWords(value: number, units: Units | undefined): string {
  const [size, unit] = units?.find(([one]) => value !== 0 && value % one === 0) ?? [1, undefined];
  const text = (value / size).toLocaleString('en');
  return unit === undefined ? text : `${text} ${unit}`;
}

if (import.meta.main) process.stdout.write(settingsTable());
