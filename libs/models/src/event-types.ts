/** Event types that an operator registers by configuration, and the JSON Schemas of their `data`. */
import type { ErrorObject, ValidateFunction } from 'ajv';
import { z } from 'zod';
import { BUILT_IN_EVENT_TYPES } from './cart-event.ts';
import type { Problem } from './codes.ts';
import { fieldPath, shorten } from './field-path.ts';
import type { SchemaCompiler } from './schema-compiler.ts';

const EVENT_TYPES_MAX = 500;
const TYPE_NAME = /^[a-z][a-z0-9_]{0,63}$/;

/** The `eventTypes` of a configuration file: type name → what it is and, optionally, the JSON Schema of its data. */
export const eventTypesSchema = z
  .record(
    z.string(),
    z.strictObject({
      description: z.string().max(1_000).optional(),
      topic: z.string().optional().meta({ description: 'The Kafka topic; `events.<type>` when absent.' }),
      schema: z
        .looseObject({})
        .optional()
        .meta({ description: 'JSON Schema (2020-12, or draft-07 by $schema) of data.' }),
    }),
  )
  .meta({ description: 'Event types beside the built-in ones.' });

export type EventTypes = z.infer<typeof eventTypesSchema>;

/** The registered types cannot be used. `problems` lists every reason, each beginning with the path in the configuration. */
export class InvalidEventTypes extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'InvalidEventTypes';
    this.problems = problems;
  }
}

/** Says what is wrong with a sanitised `data`, or undefined when it matches. */
export type DataCheck = (data: object) => Problem | undefined;

/** Compiles the registered types. Throws `InvalidEventTypes` with every problem at once. */
export function compileEventTypes(eventTypes: EventTypes): ReadonlyMap<string, DataCheck> {
  const problems: string[] = [];
  const parsed = eventTypesSchema.safeParse(eventTypes);
  if (!parsed.success) {
    throw new InvalidEventTypes(
      parsed.error.issues.map((issue) => `${fieldPath(['eventTypes', ...issue.path])}: ${issue.message}`),
    );
  }
  const names = Object.keys(parsed.data);
  if (names.length > EVENT_TYPES_MAX) problems.push(`eventTypes: at most ${EVENT_TYPES_MAX} types can be registered.`);
  let compile: SchemaCompiler | undefined;
  const checks = new Map<string, DataCheck>();
  for (const name of names.slice(0, EVENT_TYPES_MAX)) {
    const at = fieldPath(['eventTypes', name]);
    if ((BUILT_IN_EVENT_TYPES as readonly string[]).includes(name))
      problems.push(`${at}: this type is built in; choose another name.`);
    else if (!TYPE_NAME.test(name))
      problems.push(`${at}: a name is 1 to 64 of a-z, 0-9 and _, beginning with a letter.`);
    const schema = parsed.data[name]?.schema;
    if (schema === undefined) continue;
    try {
      compile ??= loadCompiler();
      checks.set(name, dataCheck(name, compile(schema)));
    } catch (error) {
      problems.push(`${at}.schema: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (problems.length > 0) throw new InvalidEventTypes(problems);
  return checks;
}

/** Ajv takes 6 MB of memory: it is only loaded where an operator's schema needs it. */
function loadCompiler(): SchemaCompiler {
  const { createSchemaCompiler } = import.meta.require('./schema-compiler.ts') as typeof import('./schema-compiler.ts');
  return createSchemaCompiler();
}

function dataCheck(eventType: string, validate: ValidateFunction): DataCheck {
  return (data) => {
    if (validate(data)) return undefined;
    const error = validate.errors?.[0];
    if (error === undefined)
      return { code: 'invalid_data', field: 'data', message: `data does not match the schema of ${eventType}.` };
    const field = fieldPath(['data', ...segmentsOf(error, data)]);
    return { code: 'invalid_data', field, message: `${field} ${reasonOf(error)} (schema of ${eventType}).` };
  };
}

/** The place of an error as keys and indexes; for a missing or surplus property, the place of that property. */
function segmentsOf(error: ErrorObject, data: object): (string | number)[] {
  const segments: (string | number)[] = [];
  let at: unknown = data;
  for (const raw of error.instancePath.split('/').slice(1)) {
    const key = raw.replaceAll('~1', '/').replaceAll('~0', '~');
    segments.push(Array.isArray(at) ? Number(key) : key);
    at = (at as Record<string, unknown> | undefined)?.[key];
  }
  const property =
    error.params['missingProperty'] ?? error.params['additionalProperty'] ?? error.params['unevaluatedProperty'];
  if (typeof property === 'string') segments.push(property);
  return segments;
}

function reasonOf(error: ErrorObject): string {
  if (error.params['missingProperty'] !== undefined) return 'is missing';
  if (error.keyword === 'additionalProperties' || error.keyword === 'unevaluatedProperties') return 'is not allowed';
  const allowed = error.params['allowedValues'] ?? error.params['allowedValue'];
  const message = error.message ?? 'is not valid';
  return allowed === undefined ? message : `${message}: ${shorten(JSON.stringify(allowed), 200)}`;
}
