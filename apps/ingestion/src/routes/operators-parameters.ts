/**
 * What operators name in a query string or a body. Unlike elsewhere a name that is not known is refused: a filter with a
 * slip of the pen would otherwise mean everything.
 */
import { HttpError, queryOf } from '@libs/elysia-server';
import { z } from 'zod';
import type { DeadLetterFilter, DeadLetterSelection } from '../operator-requests.ts';

const IDS_MAX = 1_000;
const TEXT_CHARS_MAX = 256;
/** The last millisecond that a Date can hold. */
const TIME_MS_MAX = 8.64e15;

const text = (what: string) =>
  z
    .string({ error: `must be ${what}` })
    .min(1, { error: `must be ${what}` })
    .max(TEXT_CHARS_MAX, { error: 'is too long' });

export const whole = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^\d{1,16}$/, { error })
          .transform(Number),
      ],
      { error },
    )
    .refine((value) => Number.isSafeInteger(value) && value >= min && value <= max, { error });
};

const TIME_ERROR = 'must be an ISO 8601 time with an offset (2026-03-14T09:26:53Z) or milliseconds since 1970';
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/;

/** Becomes milliseconds since 1970. */
export const time = z
  .union([z.string(), z.number()], { error: TIME_ERROR })
  .transform((value) => (typeof value === 'number' || /^\d{1,16}$/.test(value) ? Number(value) : isoMs(value)))
  .refine((ms) => Number.isSafeInteger(ms) && ms >= 0 && ms <= TIME_MS_MAX, { error: TIME_ERROR });

function isoMs(value: string): number {
  return ISO_TIME.test(value) ? Date.parse(value) : Number.NaN;
}

export const FLAG = z
  .union([z.boolean(), z.enum(['true', 'false'])], { error: 'must be true or false' })
  .transform((value) => value === true || value === 'true');

export const FILTER_FIELDS = {
  sink: text('the name of a sink').optional(),
  eventType: text('an event type').optional(),
  storeId: text('a store').optional(),
  code: text('a code').optional(),
  from: time.optional(),
  to: time.optional(),
};

export const SELECTION_FIELDS = {
  ...FILTER_FIELDS,
  ids: z
    .array(whole(1, Number.MAX_SAFE_INTEGER), { error: 'must be a list of ids' })
    .min(1)
    .max(IDS_MAX, { error: `may hold ${IDS_MAX} ids` })
    .optional(),
  all: FLAG.optional(),
};

type Filter = z.infer<z.ZodObject<typeof FILTER_FIELDS>>;
type Selection = z.infer<z.ZodObject<typeof SELECTION_FIELDS>>;

export function filterOf({ sink, eventType, storeId, code, from, to }: Filter): DeadLetterFilter {
  return {
    ...(sink === undefined ? {} : { sink }),
    ...(eventType === undefined ? {} : { eventType }),
    ...(storeId === undefined ? {} : { storeId }),
    ...(code === undefined ? {} : { code }),
    ...(from === undefined ? {} : { fromMs: from }),
    ...(to === undefined ? {} : { toMs: to }),
  };
}

/** Throws 400 `selection_required` when nothing is named, and when ids stand beside a filter. */
export function selectionOf(given: Selection): DeadLetterSelection {
  const filter = filterOf(given);
  const isFiltered = Object.keys(filter).length > 0;
  if (given.ids !== undefined) {
    if (isFiltered || given.all === true) throw selectionRequired('Name either ids or a filter, not both.');
    return { ids: given.ids };
  }
  if (!isFiltered && given.all !== true) {
    throw selectionRequired('Name ids, at least one filter, or all=true for every dead letter.');
  }
  return { filter };
}

function selectionRequired(message: string): HttpError {
  return new HttpError(400, 'selection_required', message, {
    details: { allowed: ['ids', ...Object.keys(FILTER_FIELDS), 'all'] },
  });
}

/** The query string by the schema; `lists` names parameters that may stand there more than once. Throws 400 `invalid_parameter`. */
export function readQuery<T extends z.ZodRawShape>(
  request: Request,
  shape: T,
  lists: readonly string[] = [],
): z.infer<z.ZodObject<T>> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of queryOf(request)) {
    if (!Object.hasOwn(shape, name)) throw invalid(400, name, 'is not known here', shape);
    if (lists.includes(name)) given[name] = [...((given[name] as string[] | undefined) ?? []), value];
    else if (Object.hasOwn(given, name)) throw invalid(400, name, 'stands there more than once', shape);
    else given[name] = value;
  }
  return parse(given, shape, 400);
}

/** A JSON body by the schema. Throws 422 `invalid_parameter`. */
export function readSelectionBody<T extends z.ZodRawShape>(body: unknown, shape: T): z.infer<z.ZodObject<T>> {
  return parse(body, shape, 422);
}

function parse<T extends z.ZodRawShape>(given: unknown, shape: T, status: number): z.infer<z.ZodObject<T>> {
  const parsed = z.strictObject(shape, { error: (issue) => objectError(issue.code) }).safeParse(given);
  if (parsed.success) return parsed.data as z.infer<z.ZodObject<T>>;
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') throw invalid(status, String(issue.keys[0]), 'is not known here', shape);
  throw invalid(status, String(issue?.path[0] ?? ''), issue?.message ?? 'is wrong', shape);
}

function objectError(code: string): string | undefined {
  return code === 'invalid_type' ? 'must be a JSON object' : undefined;
}

const NAME_CHARS_MAX = 100;

function invalid(status: number, name: string, what: string, shape: z.ZodRawShape): HttpError {
  const shown = name.slice(0, NAME_CHARS_MAX).toWellFormed();
  const subject = shown === '' ? 'The body' : status === 400 ? `The query parameter ${shown}` : `The field ${shown}`;
  return new HttpError(status, 'invalid_parameter', `${subject} ${what}.`, {
    details: { [status === 400 ? 'parameter' : 'field']: shown, allowed: Object.keys(shape) },
  });
}
