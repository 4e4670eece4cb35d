/** Compiles the JSON Schemas that operators register: 2020-12, or draft-07 where `$schema` says so. */
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

export type SchemaCompiler = (schema: Record<string, unknown>) => ValidateFunction;

/** Strict about keywords and formats (a typo is reported), lenient about style (types need not be repeated). */
const SCHEMA_OPTIONS = {
  strictSchema: true,
  strictNumbers: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allErrors: false,
  ownProperties: true,
  logger: false,
} as const;

/** Throws Ajv's errors for a schema that it cannot compile. */
export function createSchemaCompiler(): SchemaCompiler {
  let draft07: Ajv | undefined;
  let draft2020: Ajv2020 | undefined;
  return (schema) => {
    if (schema['$async'] !== undefined) throw new Error('$async schemas are not supported');
    const draft = schema['$schema'];
    if (typeof draft === 'string' && draft.includes('draft-07')) {
      draft07 ??= addFormats(new Ajv(SCHEMA_OPTIONS));
      return draft07.compile(schema);
    }
    draft2020 ??= addFormats(new Ajv2020(SCHEMA_OPTIONS));
    return draft2020.compile(schema);
  };
}
