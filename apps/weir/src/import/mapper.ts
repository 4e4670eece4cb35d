/** Turns rows into events, by a mapping or, for rows that are events already, as they are. */
import { EVENT_NAMESPACE, uuidv5 } from '@libs/models';
import { CommandError, EXIT_CODE } from '../exit-code.ts';
import { convertCell, isEmptyCell, textOf } from './cell.ts';
import { parseExactly } from './exact-json.ts';
import type { ColumnRule, Mapping } from './mapping.ts';
import { type Rejection, type Row, RowError } from './row.ts';
import { createTimeFormat } from './time-format.ts';

/** One event as the JSON text that is sent. */
export type Mapped =
  | { readonly ok: true; readonly json: string }
  | { readonly ok: false; readonly rejection: Rejection };
export type Mapper = (row: Row) => Mapped;

/** Rows that are events already: checked to be JSON, sent as they stand. */
export function createPassThrough(): Mapper {
  return (row) => {
    if (row.kind !== 'json') return reject(row.kind === 'bad' ? row.rejection : notJson('the row is no JSON'));
    try {
      JSON.parse(row.raw);
    } catch (error) {
      if (error instanceof SyntaxError) return reject(notJson(error.message));
      throw error;
    }
    return { ok: true, json: row.raw };
  };
}

/** What a row holds under a column. */
type Cell = (values: unknown) => unknown;
type Step = (values: unknown, row: Row, event: Record<string, unknown>) => void;

/**
 * Builds the mapper. `header` is the header row of a CSV input, undefined for JSON. Throws `CommandError` (usage)
 * naming every column that the mapping uses and the header lacks.
 */
export function createMapper(mapping: Mapping, header: readonly string[] | undefined): Mapper {
  if (header !== undefined) checkColumns(mapping, header);
  const cellOf = (column: string) => locate(column, header);
  const steps: Step[] = [
    ...Object.entries(mapping.constants).map(([to, value]) => constantStep(to, value)),
    ...Object.entries(mapping.columns).map(([column, rule]) =>
      columnStep(column, rule, cellOf(column), header !== undefined),
    ),
    ...specialSteps(mapping, cellOf),
  ];
  return (row) => {
    if (row.kind === 'bad') return reject(row.rejection);
    try {
      const values = row.kind === 'cells' ? row.cells : parseObject(row.raw);
      const event: Record<string, unknown> = { data: {} };
      for (const step of steps) step(values, row, event);
      return { ok: true, json: JSON.stringify(event) };
    } catch (error) {
      if (error instanceof RowError) return reject(error.rejection);
      throw error;
    }
  };
}

/** Columns of the header that the mapping does not use: nothing of them reaches the service. */
export function unusedColumns(mapping: Mapping, header: readonly string[]): string[] {
  const used = new Set(usedColumns(mapping));
  return header.filter((name) => name !== '' && !used.has(name));
}

function usedColumns(mapping: Mapping): string[] {
  const id = mapping.eventId?.uuidv5;
  return [
    ...Object.keys(mapping.columns),
    ...(mapping.eventType === undefined ? [] : [mapping.eventType.column]),
    ...(mapping.timestamp === undefined ? [] : [mapping.timestamp.column]),
    ...(Array.isArray(id) ? id : []),
  ];
}

function checkColumns(mapping: Mapping, header: readonly string[]): void {
  const missing = [...new Set(usedColumns(mapping))].filter((column) => !header.includes(column));
  if (missing.length === 0) return;
  throw new CommandError(
    EXIT_CODE.usage,
    'missing_columns',
    `The mapping names columns that the input does not have (it has: ${header.join(', ')}):`,
    { problems: missing },
  );
}

function locate(column: string, header: readonly string[] | undefined): Cell {
  if (header !== undefined) {
    const index = header.indexOf(column);
    return (values) => (values as readonly string[])[index];
  }
  const path = column.split('.');
  return (values) => {
    if (Object.hasOwn(values as object, column)) return (values as Record<string, unknown>)[column];
    let value: unknown = values;
    for (const key of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
      value = (value as Record<string, unknown>)[key];
    }
    return value;
  };
}

function constantStep(to: string, value: unknown): Step {
  const set = setter(to);
  return (_values, _row, event) => set(event, value);
}

function columnStep(column: string, rule: ColumnRule, cell: Cell, isCsv: boolean): Step {
  const set = setter(rule.to);
  return (values, _row, event) => {
    const value = cell(values);
    if (!isEmptyCell(value)) return set(event, convertCell(value, rule.as, column, isCsv));
    if (rule.empty === 'reject') throw new RowError('empty_cell', column, 'the cell is empty');
    if (rule.empty === 'null') set(event, null);
    else if (rule.empty === 'text') set(event, '');
  };
}

function specialSteps(mapping: Mapping, cellOf: (column: string) => Cell): Step[] {
  const steps: Step[] = [];
  if (mapping.eventType !== undefined) steps.push(eventTypeStep(mapping.eventType, cellOf(mapping.eventType.column)));
  if (mapping.timestamp !== undefined) steps.push(timestampStep(mapping.timestamp, cellOf(mapping.timestamp.column)));
  const givesId = 'eventId' in mapping.constants || Object.values(mapping.columns).some(({ to }) => to === 'eventId');
  if (!givesId) steps.push(eventIdStep(mapping.eventId ?? { uuidv5: 'line' }, cellOf));
  return steps;
}

function eventTypeStep({ column, map }: NonNullable<Mapping['eventType']>, cell: Cell): Step {
  const types = map === undefined ? undefined : new Map(Object.entries(map));
  return (values, _row, event) => {
    const value = cell(values);
    if (isEmptyCell(value)) return;
    const text = textOf(value, column);
    const type = types === undefined ? text : types.get(text);
    if (type === undefined) {
      throw new RowError('unmapped_event_type', column, `"${text}" is not in the mapping's eventType.map`);
    }
    event['eventType'] = type;
  };
}

function timestampStep({ column, format, zone }: NonNullable<Mapping['timestamp']>, cell: Cell): Step {
  const made = createTimeFormat(format, zone);
  if (!made.ok) throw new CommandError(EXIT_CODE.usage, 'invalid_mapping', made.problem);
  return (values, _row, event) => {
    const value = cell(values);
    if (isEmptyCell(value)) return;
    const text = textOf(value, column);
    const timestamp = made.parse(text);
    if (timestamp === undefined) throw new RowError('invalid_time', column, `"${text}" does not fit ${format}`);
    event['timestamp'] = timestamp;
  };
}

/** The name is a JSON array, so that ["ab", "c"] and ["a", "bc"] are two names. */
function eventIdStep(
  { uuidv5: of, namespace }: NonNullable<Mapping['eventId']>,
  cellOf: (column: string) => Cell,
): Step {
  const space = namespace ?? EVENT_NAMESPACE;
  if (of === 'line') {
    return (_values, row, event) => {
      const parts = row.kind === 'cells' ? row.cells : [row.raw];
      event['eventId'] = uuidv5(space, JSON.stringify([row.number, ...parts]));
    };
  }
  const cells = of.map((column) => [column, cellOf(column)] as const);
  return (values, _row, event) => {
    const parts = cells.map(([column, cell]) => {
      const value = cell(values);
      return isEmptyCell(value) ? '' : textOf(value, column);
    });
    event['eventId'] = uuidv5(space, JSON.stringify(parts));
  };
}

function setter(to: string): (event: Record<string, unknown>, value: unknown) => void {
  const keys = to.split('.');
  const last = keys.pop() as string;
  return (event, value) => {
    let object = event;
    for (const key of keys) {
      if (!Object.hasOwn(object, key)) object[key] = {};
      object = object[key] as Record<string, unknown>;
    }
    object[last] = value;
  };
}

function parseObject(raw: string): unknown {
  let value: unknown;
  try {
    value = parseExactly(raw);
  } catch (error) {
    if (error instanceof SyntaxError) throw new RowError('malformed_json', '', error.message);
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RowError('invalid_type', '', 'the row is no JSON object');
  }
  return value;
}

function notJson(message: string): Rejection {
  return { code: 'malformed_json', field: '', message };
}

function reject(rejection: Rejection): Mapped {
  return { ok: false, rejection };
}
