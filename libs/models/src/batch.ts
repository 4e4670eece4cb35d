/** The JSON body of POST /events/batch. Its events are not judged here: each one gets its own verdict. */
import { z } from 'zod';
import type { Problem } from './codes.ts';
import { problemOfIssue } from './issue-problem.ts';

/** The most events that any message may carry. */
export const BATCH_EVENTS_MAX = 1_000;

export const batchRequestSchema = z
  .strictObject({
    events: z.array(z.unknown()).meta({ description: `1 to ${BATCH_EVENTS_MAX} events.` }),
    options: z
      .strictObject({
        maxSize: z.int().min(1).max(BATCH_EVENTS_MAX).optional().meta({
          description: 'Lowers the number of events that this request may carry; more is 413.',
        }),
        failOnError: z
          .boolean()
          .optional()
          .meta({ description: 'All or nothing: one rejected event and nothing is stored.' }),
      })
      .optional(),
  })
  .meta({ description: 'Events to take in together; each one gets its own verdict.' });

export interface BatchRequest {
  /** As they came, unvalidated; their number is not judged either. */
  readonly events: readonly unknown[];
  readonly options: {
    /** At most `eventsMax`. */
    readonly maxSize?: number;
    readonly failOnError?: boolean;
  };
}

export type ParsedBatch = ({ readonly ok: true } & BatchRequest) | ({ readonly ok: false } & Problem);

/** Reads a batch from parsed JSON. `eventsMax` is the operator's limit: a `maxSize` beyond it is lowered to it. */
export function parseBatchRequest(value: unknown, limits: { readonly eventsMax: number }): ParsedBatch {
  const events = isObject(value) && Array.isArray(value['events']) ? (value['events'] as unknown[]) : undefined;
  // Zod would copy the events one by one.
  const envelope = events === undefined ? value : { ...(value as object), events: [] };
  const parsed = batchRequestSchema.safeParse(envelope);
  if (!parsed.success) return { ok: false, ...batchProblem(parsed.error, value) };
  const { maxSize, failOnError } = parsed.data.options ?? {};
  return {
    ok: true,
    events: events ?? [],
    options: {
      ...(maxSize === undefined ? {} : { maxSize: Math.min(maxSize, limits.eventsMax) }),
      ...(failOnError === undefined ? {} : { failOnError }),
    },
  };
}

function batchProblem(error: z.ZodError, value: unknown): Problem {
  const [issue] = error.issues;
  if (issue === undefined) throw new Error('Zod refused a batch without an issue', { cause: error });
  const problem = problemOfIssue(issue, value, 'The batch');
  if (!Array.isArray(value)) return problem;
  return { ...problem, message: 'The batch must be an object like {"events": [...]}, not an array.' };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
