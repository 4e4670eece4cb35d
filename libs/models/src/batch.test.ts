import { expect, test } from 'bun:test';
import { parseBatchRequest } from './batch.ts';

const parse = (value: unknown, eventsMax = 1_000) => parseBatchRequest(value, { eventsMax });

test('hands over the events as they came, with the options', () => {
  const events = [1, null, { a: 1 }, []];
  const parsed = parse({ events, options: { maxSize: 10, failOnError: true } });
  expect(parsed).toEqual({ ok: true, events, options: { maxSize: 10, failOnError: true } });
  expect(parsed.ok && parsed.events).toBe(events);
  expect(parse({ events: [] })).toEqual({ ok: true, events: [], options: {} });
  expect(parse({ events: [], options: {} })).toEqual({ ok: true, events: [], options: {} });
});

test('lowers maxSize to what the operator allows', () => {
  expect(parse({ events: [], options: { maxSize: 1_000 } }, 50)).toMatchObject({ options: { maxSize: 50 } });
  expect(parse({ events: [], options: { maxSize: 20 } }, 50)).toMatchObject({ options: { maxSize: 20 } });
});

test.each([
  [null, 'invalid_type', ''],
  ['x', 'invalid_type', ''],
  [[], 'invalid_type', ''],
  [{}, 'missing_field', 'events'],
  [{ events: {} }, 'invalid_type', 'events'],
  [{ events: null }, 'invalid_type', 'events'],
  [{ events: [], more: 1 }, 'unknown_field', 'more'],
  [JSON.parse('{"events":[],"__proto__":{"options":{}}}'), 'unknown_field', '__proto__'],
  [{ events: [], options: null }, 'invalid_type', 'options'],
  [{ events: [], options: { max: 1 } }, 'unknown_field', 'options.max'],
  [{ events: [], options: { maxSize: 0 } }, 'number_out_of_range', 'options.maxSize'],
  [{ events: [], options: { maxSize: 1_001 } }, 'number_out_of_range', 'options.maxSize'],
  [{ events: [], options: { maxSize: 1.5 } }, 'invalid_type', 'options.maxSize'],
  [{ events: [], options: { maxSize: '5' } }, 'invalid_type', 'options.maxSize'],
  [{ events: [], options: { failOnError: 'true' } }, 'invalid_type', 'options.failOnError'],
])('refuses %j', (value, code, field) => {
  expect(parse(value)).toEqual({ ok: false, code, field, message: expect.any(String) } as never);
});

test('tells a sender of a bare array what a batch looks like', () => {
  expect(parse([{}])).toMatchObject({ message: 'The batch must be an object like {"events": [...]}, not an array.' });
});
