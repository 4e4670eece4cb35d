import { expect, test } from 'bun:test';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { cartEventSchema, EXAMPLE_EVENT } from './cart-event.ts';
import { createShapeCheck } from './event-check.ts';

const schema = cartEventSchema(['item_added', 'cart_created'], 'What happened.');
const shape = createShapeCheck(schema);

const scalar = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    '',
    'x'.repeat(64),
    'x'.repeat(65),
    '😀'.repeat(32),
    '😀'.repeat(33),
    'x'.repeat(128),
    'x'.repeat(129),
  ),
  fc.constantFrom('item_added', 'cart_created', 'toString', '\0', '\x7f', '\x9f', '\xa0', '\ud83d', '\ude00', 'é'),
  fc.constantFrom('2026-03-14T09:26:53Z', '2026-02-29T09:26:53Z', '2024-02-29T09:26:53.5+01:00', '2026-03-14T09:26:53'),
  fc.constantFrom<unknown>(null, true, 0, -1.5, [], {}, ['x'], { length: 3 }),
);
const metadata = fc.dictionary(
  fc.constantFrom('userAgent', 'ipAddress', 'referrer', 'other', '__proto__'),
  fc.oneof(scalar, fc.constantFrom('x'.repeat(1_024), 'x'.repeat(1_025), 'x'.repeat(2_048), 'x'.repeat(2_049))),
);

/** The example event with a few of its fields changed, taken away or added. */
const nearlyEvent = fc
  .array(
    fc.oneof(
      fc.tuple(fc.constantFrom(...Object.keys(EXAMPLE_EVENT)), scalar),
      fc.tuple(fc.constantFrom(...Object.keys(EXAMPLE_EVENT)), fc.constant(undefined)),
      fc.tuple(fc.constant('metadata'), metadata),
      fc.tuple(fc.constantFrom('extra', 'receivedAt', 'toString', 'hasOwnProperty'), scalar),
    ),
    { maxLength: 3 },
  )
  .map((changes): unknown => JSON.parse(JSON.stringify({ ...EXAMPLE_EVENT, ...Object.fromEntries(changes) })));

test('the compiled check, Zod and the published JSON Schema agree on every value', () => {
  const ajv = new Ajv({ formats: { 'date-time': true } }).addVocabulary(['example']);
  const published = ajv.compile(shape.jsonSchema);
  let accepted = 0;
  let rejected = 0;
  fc.assert(
    fc.property(fc.oneof({ weight: 9, arbitrary: nearlyEvent }, fc.jsonValue()), (value) => {
      const zod = schema.safeParse(value).success;
      expect(shape.accepts(value)).toBe(zod);
      expect(published(value)).toBe(zod);
      expect(shape.explain(value) === undefined).toBe(zod);
      if (zod) accepted += 1;
      else rejected += 1;
    }),
    { numRuns: 5_000 },
  );
  // Both answers were really tried.
  expect(accepted).toBeGreaterThan(200);
  expect(rejected).toBeGreaterThan(200);
});

test('the published schema says what a caller must know', () => {
  expect(shape.jsonSchema).toMatchObject({
    type: 'object',
    additionalProperties: false,
    required: ['eventId', 'eventType', 'timestamp', 'sessionId', 'storeId', 'data'],
    properties: {
      eventType: { enum: ['item_added', 'cart_created'] },
      storeId: { minLength: 1, maxLength: 64 },
      timestamp: { format: 'date-time', pattern: expect.stringContaining('02-29') },
    },
    example: EXAMPLE_EVENT,
  });
});
