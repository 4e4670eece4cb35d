/** Every shape of the API as a JSON Schema for the `components.schemas` of an OpenAPI 3.0 document. */
import { batchRequestSchema } from './batch.ts';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { VERDICT_CODES } from './codes.ts';
import type { EventModel } from './event-model.ts';
import { cartEventFrameSchema, clientFrameSchema, serverFrameSchema } from './frames.ts';
import { type JsonSchema, toJsonSchema } from './json-schema.ts';
import { batchReplySchema, errorBodySchema, eventReplySchema, healthSchema, metricsSchema } from './replies.ts';

export const OPENAPI_SCHEMA_NAMES = [
  'CartEvent',
  'BatchRequest',
  'EventReply',
  'BatchReply',
  'ErrorBody',
  'Health',
  'Metrics',
  'VerdictCode',
  'ClientFrame',
  'ServerFrame',
] as const;
export type OpenApiSchemaName = (typeof OPENAPI_SCHEMA_NAMES)[number];

/** The reference to a schema, for `content` objects. */
export function schemaRef(name: OpenApiSchemaName): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** Builds the schemas; the event's own comes from the model, with its registered types. */
export function openApiSchemas(model: EventModel): Record<OpenApiSchemaName, JsonSchema> {
  const event = schemaRef('CartEvent');
  return {
    CartEvent: { ...model.jsonSchema },
    BatchRequest: {
      ...withProperty(toJsonSchema(batchRequestSchema), 'events', { type: 'array', items: event }),
      example: { events: [EXAMPLE_EVENT], options: { failOnError: false } },
    },
    EventReply: toJsonSchema(eventReplySchema),
    BatchReply: toJsonSchema(batchReplySchema),
    ErrorBody: toJsonSchema(errorBodySchema),
    Health: toJsonSchema(healthSchema),
    Metrics: toJsonSchema(metricsSchema),
    VerdictCode: { type: 'string', enum: Object.keys(VERDICT_CODES), description: codeTable() },
    ClientFrame: clientFrame(event),
    ServerFrame: toJsonSchema(serverFrameSchema),
  };
}

/** The codes and their meanings as a Markdown list. */
function codeTable(): string {
  const lines = Object.entries(VERDICT_CODES).map(([code, meaning]) => `- \`${code}\`: ${meaning}`);
  return ['Why an event or a message is refused:', ...lines].join('\n');
}

function clientFrame(event: JsonSchema): JsonSchema {
  const schema = toJsonSchema(clientFrameSchema);
  const [, ...others] = schema['oneOf'] as JsonSchema[];
  const payload = { anyOf: [event, { type: 'array', items: event, minItems: 1 }] };
  return {
    ...schema,
    oneOf: [withProperty(toJsonSchema(cartEventFrameSchema), 'payload', payload), ...others],
    example: { type: 'cart_event', payload: EXAMPLE_EVENT, seq: 0 },
  };
}

/** The schema with another definition of one property, which keeps its description. */
function withProperty(schema: JsonSchema, name: string, definition: JsonSchema): JsonSchema {
  const properties = schema['properties'] as Record<string, JsonSchema>;
  const description = properties[name]?.['description'];
  return {
    ...schema,
    properties: { ...properties, [name]: { ...(description === undefined ? {} : { description }), ...definition } },
  };
}
