import { describe, expect, test } from 'bun:test';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createEventModel } from './event-model.ts';
import { type EventTypes, InvalidEventTypes } from './event-types.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';

const origin = { receivedAtMs: Date.parse('2026-03-14T09:27:00Z') };

const schema = {
  type: 'object',
  required: ['productId'],
  properties: {
    productId: { type: 'string', minLength: 1 },
    price: { type: 'number', minimum: 0 },
    currency: { enum: ['EUR', 'USD'] },
    url: { type: 'string', format: 'uri' },
    tags: { type: 'array', items: { type: 'object', properties: { 'a/b~c': { type: 'integer' } } } },
  },
  additionalProperties: false,
};

const build = (eventTypes: EventTypes) => createEventModel({ eventTypes, limits: DEFAULT_EVENT_LIMITS });
const model = build({ product_viewed: { description: 'A product page was opened.', schema }, search_run: {} });
const view = (data: object) => model.check({ ...EXAMPLE_EVENT, eventType: 'product_viewed', data }, origin);

describe('a registered type', () => {
  test('is known beside the built-in ones, to the model and to its schema', () => {
    expect(model.types).toContain('cart_created');
    expect(model.types).toContain('product_viewed');
    expect(model.jsonSchema).toMatchObject({ properties: { eventType: { enum: [...model.types] } } });
    expect(JSON.stringify(model.jsonSchema)).toContain('A product page was opened.');
    expect(view({ productId: 'p1', price: 0, tags: [{}] })).toMatchObject({ ok: true, eventType: 'product_viewed' });
    expect(model.check({ ...EXAMPLE_EVENT, eventType: 'search_run', data: { any: 1 } }, origin)).toMatchObject({
      ok: true,
    });
  });

  test.each([
    [{}, 'data.productId', 'data.productId is missing (schema of product_viewed).'],
    [{ productId: '' }, 'data.productId', undefined],
    [{ productId: 'p', price: -1 }, 'data.price', 'data.price must be >= 0 (schema of product_viewed).'],
    [{ productId: 'p', prize: 1 }, 'data.prize', 'data.prize is not allowed (schema of product_viewed).'],
    [{ productId: 'p', url: 'no url' }, 'data.url', undefined],
    [{ productId: 'p', tags: [{}, { 'a/b~c': 'x' }] }, 'data.tags[1]["a/b~c"]', undefined],
    [
      { productId: 'p', currency: 'DM' },
      'data.currency',
      'data.currency must be equal to one of the allowed values: ["EUR","USD"] (schema of product_viewed).',
    ],
  ])('judges the data %j', (data, field, message) => {
    expect(view(data)).toMatchObject({
      ok: false,
      code: 'invalid_data',
      field,
      ...(message === undefined ? {} : { message }),
    });
  });

  test('judges what is stored, after sanitising', () => {
    expect(view({ productId: '\0' })).toMatchObject({ code: 'invalid_data', field: 'data.productId' });
    expect(view({ 'productId\0': 'p' })).toMatchObject({ ok: true, sanitized: true });
  });

  test('is not met by inherited properties', () => {
    const strict = build({ t: { schema: { required: ['toString'] } } });
    expect(strict.check({ ...EXAMPLE_EVENT, eventType: 't', data: {} }, origin)).toMatchObject({
      code: 'invalid_data',
    });
  });

  test('may be written in draft-07 or 2020-12', () => {
    for (const $schema of ['http://json-schema.org/draft-07/schema#', 'https://json-schema.org/draft/2020-12/schema']) {
      const drafted = build({ t: { schema: { $schema, properties: { a: { type: 'string' } } } } });
      expect(drafted.check({ ...EXAMPLE_EVENT, eventType: 't', data: { a: 1 } }, origin)).toMatchObject({
        field: 'data.a',
      });
    }
  });
});

describe('what cannot be registered', () => {
  test('is reported all at once, with its place', () => {
    const eventTypes = {
      cart_created: {},
      'Bad Name': {},
      constructor: { schema: { type: 'objekt' } },
      typo: { schema: { propertees: {} } },
      unknown_format: { schema: { properties: { a: { type: 'string', format: 'ip' } } } },
      bad_pattern: { schema: { properties: { a: { type: 'string', pattern: '(' } } } },
      remote: { schema: { $ref: 'https://example.com/schema.json' } },
      asynchronous: { schema: { $async: true } },
    };
    let problems: readonly string[] = [];
    try {
      build(eventTypes);
    } catch (error) {
      if (!(error instanceof InvalidEventTypes)) throw error;
      problems = error.problems;
    }
    expect(problems.map((problem) => problem.slice(0, problem.indexOf(':')))).toEqual([
      'eventTypes.cart_created',
      'eventTypes["Bad Name"]',
      'eventTypes.constructor.schema',
      'eventTypes.typo.schema',
      'eventTypes.unknown_format.schema',
      'eventTypes.bad_pattern.schema',
      'eventTypes.remote.schema',
      'eventTypes.asynchronous.schema',
    ]);
  });

  test.each([
    [{ t: { shema: {} } }, 'eventTypes.t'],
    [{ t: { schema: true } }, 'eventTypes.t.schema'],
    [{ t: { description: 1 } }, 'eventTypes.t.description'],
  ])('%j is refused at %s', (eventTypes, at) => {
    expect(() => build(eventTypes as never)).toThrow(`${at}: `);
  });

  test('is more than 500 types', () => {
    const many = Object.fromEntries(Array.from({ length: 501 }, (_, index) => [`type_${index}`, {}]));
    expect(() => build(many)).toThrow('at most 500 types');
  });
});
