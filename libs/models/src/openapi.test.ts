import { describe, expect, test } from 'bun:test';
import { Ajv } from 'ajv';
import { VERDICT_CODES } from './codes.ts';
import { createEventModel } from './event-model.ts';
import { serverFrameSchema } from './frames.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';
import { OPENAPI_SCHEMA_NAMES, openApiSchemas, schemaRef } from './openapi.ts';

const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS, eventTypes: { product_viewed: {} } });
const schemas = openApiSchemas(model);
const ajv = new Ajv({ formats: { 'date-time': true }, allowUnionTypes: true }).addVocabulary(['example', 'components']);
ajv.addSchema({ $id: 'api', components: { schemas } });
const validator = (name: (typeof OPENAPI_SCHEMA_NAMES)[number]) => ajv.compile({ $ref: `api${schemaRef(name).$ref}` });

describe.each([...OPENAPI_SCHEMA_NAMES])('%s', (name) => {
  test('is a JSON Schema with a description, and its example matches it', () => {
    const validate = validator(name);
    expect(schemas[name]['description']).toBeString();
    const example = schemas[name]['example'];
    if (example === undefined) return;
    validate(example);
    expect(validate.errors).toBeNull();
  });

  test('uses nothing that OpenAPI 3.0 does not know', () => {
    const text = JSON.stringify(schemas[name]);
    for (const keyword of [
      '$schema',
      '$defs',
      'const',
      'propertyNames',
      'examples',
      'prefixItems',
      'exclusiveMinimum',
    ]) {
      expect(text).not.toContain(`"${keyword}":`);
    }
  });
});

test('a batch and a message refer to the event', () => {
  const bad = { events: [{ eventId: 'x' }] };
  expect(validator('BatchRequest')(bad)).toBe(false);
  expect(validator('ClientFrame')({ type: 'cart_event', payload: bad.events[0] })).toBe(false);
  expect(validator('ClientFrame')({ type: 'heartbeat' })).toBe(true);
  expect(JSON.stringify(schemas.CartEvent)).toContain('product_viewed');
});

test('every code is documented', () => {
  expect(schemas.VerdictCode['enum']).toEqual(Object.keys(VERDICT_CODES));
  for (const [code, meaning] of Object.entries(VERDICT_CODES)) {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(meaning).toMatch(/^[A-Za-z].*\.$/);
  }
});

test('the messages of the server are what the schema says', () => {
  const timestamp = '2026-03-14T09:26:53.700Z';
  for (const frame of [
    {
      type: 'hello',
      timestamp,
      connectionId: 'c',
      credit: 10_000,
      maxFrameBytes: 1_048_576,
      heartbeatIntervalMs: 30_000,
    },
    { type: 'event_ack', timestamp, eventId: 'e', seq: 1, status: 'duplicate' },
    { type: 'event_ack', timestamp, throughSeq: 7 },
    { type: 'event_error', timestamp, code: 'too_long', field: 'payload[3].storeId', message: 'm', retryAfterMs: 100 },
    { type: 'heartbeat_ack', timestamp },
    { type: 'event_confirmed', timestamp, eventId: 'e', level: 'stored' },
    { type: 'overloaded', timestamp },
    { type: 'going_away', timestamp, message: 'm', retryAfterMs: 1_500 },
  ]) {
    expect(serverFrameSchema.safeParse(frame).error).toBeUndefined();
    expect(validator('ServerFrame')(frame)).toBe(true);
  }
});
