/** The shape of an event: Zod compiled to a function that says yes at once, and Zod to say what is wrong otherwise. */
import { z } from 'zod';
import type { CartEvent, CartEventSchema } from './cart-event.ts';
import type { Problem } from './codes.ts';
import { shorten } from './field-path.ts';
import { FORBIDDEN_KEY_MESSAGE, FORBIDDEN_KEYS } from './inspect.ts';
import { type Issue, problemOfIssue, typeName } from './issue-problem.ts';
import { type JsonSchema, toJsonSchema } from './json-schema.ts';

export interface ShapeCheck {
  /**
   * True when the value has the shape; 0.17 µs for an event of 330 bytes, where safeParse takes 1.1 and Ajv, compiled
   * from the JSON Schema, 0.3.
   */
  accepts(value: unknown): value is CartEvent;
  /** The first thing that is wrong with a value, or undefined when Zod takes it. */
  explain(value: unknown): Problem | undefined;
  /** The schema as OpenAPI 3.0 writes it. */
  readonly jsonSchema: JsonSchema;
}

/** Compiles the check; `strict` makes Zod refuse a schema that it could not compile whole. */
export function createShapeCheck(schema: CartEventSchema): ShapeCheck {
  const compiled = z.compile(schema, { strict: true });
  return {
    accepts: (value): value is CartEvent => compiled.validate(value),
    explain: (value) => explain(schema, value),
    jsonSchema: toJsonSchema(schema),
  };
}

function explain(schema: CartEventSchema, value: unknown): Problem | undefined {
  if (typeof value === 'object' && value !== null) {
    for (const key of FORBIDDEN_KEYS) {
      if (Object.hasOwn(value, key)) return { code: 'forbidden_key', field: key, message: FORBIDDEN_KEY_MESSAGE };
    }
  }
  const issue = schema.safeParse(value).error?.issues[0];
  if (issue === undefined) return undefined;
  return eventProblem(issue, value as Record<string, unknown>) ?? problemOfIssue(issue, value, 'The event');
}

/** What is said about an event in other words than about other values. */
function eventProblem(issue: Issue, event: Record<string, unknown>): Problem | undefined {
  const field = issue.path.join('.');
  if (issue.code === 'invalid_value' && event['eventType'] !== undefined)
    return eventTypeProblem(issue, event['eventType']);
  if (issue.code !== 'invalid_format') return undefined;
  if (field === 'timestamp') return { code: 'invalid_timestamp', field, message: TIMESTAMP_MESSAGE };
  return {
    code: 'invalid_characters',
    field,
    message: `${field} must not hold control characters or lone surrogates.`,
  };
}

function eventTypeProblem(issue: Extract<Issue, { code: 'invalid_value' }>, sent: unknown): Problem {
  const field = 'eventType';
  if (typeof sent !== 'string') {
    return { code: 'invalid_type', field, message: `eventType must be a string, not ${typeName(sent)}.` };
  }
  const known = shorten(issue.values.map(String).join(', '), 500);
  const message = `The event type ${JSON.stringify(shorten(sent))} is not known; known are ${known}.`;
  return { code: 'unknown_event_type', field, message };
}

const TIMESTAMP_MESSAGE =
  'timestamp must be a real ISO 8601 date and time with seconds, at most 9 fraction digits, and Z or an offset, like 2026-01-31T23:59:59.123Z.';
