/** JSON Schemas for the API docs, made from the Zod schemas that judge. */
import { z } from 'zod';

export type JsonSchema = Record<string, unknown>;

/** The schema as OpenAPI 3.0 writes it. */
export function toJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { target: 'openapi-3.0' }) as JsonSchema;
}
