/** The mapping file: which column of a row becomes which part of an event. Every problem is reported at once. */
import { z } from 'zod';
import { CommandError, EXIT_CODE, reasonOf } from '../exit-code.ts';
import { createTimeFormat } from './time-format.ts';

/** Parts of an event that stand beside `data` and `metadata`; each is text. */
const EVENT_FIELDS = ['eventId', 'eventType', 'timestamp', 'userId', 'sessionId', 'storeId'];
const REQUIRED_FIELDS = ['eventType', 'timestamp', 'sessionId', 'storeId'];
const FORBIDDEN_KEYS = ['__proto__', 'constructor', 'prototype'];

const target = z.string().superRefine((value, context) => {
  const problem = targetProblem(value);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

const columnRule = z.preprocess(
  (value) => (typeof value === 'string' ? { to: value } : value),
  z.strictObject({
    to: target,
    as: z.enum(['text', 'number', 'integer', 'boolean', 'json']).default('text'),
    /** What an empty cell (or a missing or null key) becomes. */
    empty: z.enum(['omit', 'null', 'text', 'reject']).default('omit'),
  }),
);

const columnName = z.string().min(1);

export const mappingSchema = z.strictObject({
  description: z.string().optional(),
  constants: z.record(target, z.json()).default({}),
  columns: z.record(columnName, columnRule).default({}),
  eventType: z.strictObject({ column: columnName, map: z.record(z.string(), z.string().min(1)).optional() }).optional(),
  timestamp: z
    .strictObject({ column: columnName, format: z.string().min(1).default('iso'), zone: z.string().optional() })
    .superRefine(({ format, zone }, context) => {
      const made = createTimeFormat(format, zone);
      if (!made.ok) context.addIssue({ code: 'custom', path: ['format'], message: made.problem });
    })
    .optional(),
  eventId: z
    .strictObject({
      /** `line`: the row and its number; otherwise the columns that make a row what it is. */
      uuidv5: z.union([z.literal('line'), z.array(columnName).min(1)], {
        error: 'must be "line" or a list of columns',
      }),
      namespace: z.uuid().optional(),
    })
    .optional(),
});

export type Mapping = z.infer<typeof mappingSchema>;
export type ColumnRule = z.infer<typeof columnRule>;

export type MappingResult =
  | { readonly ok: true; readonly mapping: Mapping }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Checks a mapping. A problem is one line: the place in dots, then what is wrong. */
export function validateMapping(value: unknown): MappingResult {
  const parsed = mappingSchema.safeParse(value);
  const problems = parsed.success ? [] : parsed.error.issues.flatMap(describeIssue);
  problems.push(...assignmentProblems(value));
  if (!parsed.success || problems.length > 0) return { ok: false, problems };
  return { ok: true, mapping: parsed.data };
}

/** Reads a mapping file. Throws `CommandError` (usage) with every problem. */
export async function readMapping(path: string): Promise<Mapping> {
  const value = await Bun.file(path)
    .text()
    .then((text): unknown => JSON.parse(text))
    .catch((error: unknown) => {
      throw new CommandError(EXIT_CODE.usage, 'unreadable_mapping', `The mapping ${path}: ${reasonOf(error)}.`);
    });
  const result = validateMapping(value);
  if (result.ok) return result.mapping;
  const message = `The mapping ${path} cannot be used:`;
  throw new CommandError(EXIT_CODE.usage, 'invalid_mapping', message, { problems: result.problems });
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const place = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${place === '' ? '' : `${place}.`}${key}: is not a setting of a mapping`);
  }
  if (issue.code === 'invalid_key') return issue.issues.map((inner) => `${place}: ${inner.message}`);
  return [`${place === '' ? 'mapping' : place}: ${issue.message}`];
}

function targetProblem(value: string): string | undefined {
  const keys = value.split('.');
  if (keys.some((key) => key === '')) return `"${value}" is no path: names joined by dots`;
  const forbidden = keys.find((key) => FORBIDDEN_KEYS.includes(key));
  if (forbidden !== undefined) return `"${value}": the key ${forbidden} is not allowed in an event`;
  const [first] = keys;
  if (first === 'data' || first === 'metadata') {
    return keys.length > 1 ? undefined : `"${value}" needs a key, such as ${value}.name`;
  }
  if (keys.length === 1 && EVENT_FIELDS.includes(value)) return undefined;
  return `"${value}" is no part of an event: use ${EVENT_FIELDS.join(', ')}, data.… or metadata.…`;
}

interface Assignment {
  readonly place: string;
  readonly to: string;
  readonly value?: unknown;
  readonly as?: unknown;
}

/** What the schema cannot see: targets set twice or inside each other, fields that nothing sets, wrong kinds. */
function assignmentProblems(value: unknown): string[] {
  if (!isObject(value)) return [];
  const assignments = listAssignments(value);
  const problems: string[] = [];
  for (const [index, one] of assignments.entries()) {
    for (const other of assignments.slice(0, index)) {
      if (one.to === other.to) problems.push(`${one.place}: ${one.to} is set by ${other.place} already`);
      else if (one.to.startsWith(`${other.to}.`) || other.to.startsWith(`${one.to}.`)) {
        problems.push(`${one.place}: ${one.to} and ${other.to} (${other.place}) stand inside each other`);
      }
    }
    const isText = EVENT_FIELDS.includes(one.to);
    if (isText && 'value' in one && typeof one.value !== 'string') {
      problems.push(`${one.place}: ${one.to} is text, so its constant must be a string`);
    }
    if (isText && one.as !== undefined && one.as !== 'text') {
      problems.push(`${one.place}: ${one.to} is text, so "as" must be text`);
    }
  }
  if (assignments.some(({ place }) => place === 'constants.eventId')) {
    problems.push('constants.eventId: every event would be a duplicate of the first: set eventId by a column');
  }
  for (const field of REQUIRED_FIELDS) {
    if (!assignments.some(({ to }) => to === field)) {
      problems.push(`${field}: every event needs one: set it by a column or a constant`);
    }
  }
  return problems;
}

function listAssignments(mapping: Readonly<Record<string, unknown>>): Assignment[] {
  const assignments: Assignment[] = [];
  const { constants, columns } = mapping;
  if (isObject(constants)) {
    for (const [to, value] of Object.entries(constants)) assignments.push({ place: `constants.${to}`, to, value });
  }
  if (isObject(columns)) {
    for (const [column, rule] of Object.entries(columns)) {
      const place = `columns.${column}`;
      if (typeof rule === 'string') assignments.push({ place, to: rule });
      else if (isObject(rule) && typeof rule['to'] === 'string') {
        assignments.push({ place, to: rule['to'], as: rule['as'] });
      }
    }
  }
  for (const field of ['eventType', 'timestamp', 'eventId']) {
    if (mapping[field] !== undefined) assignments.push({ place: field, to: field });
  }
  return assignments;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
