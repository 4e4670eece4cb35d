import { describe, expect, test } from 'bun:test';
import { createInspector } from './inspect.ts';
import { DEFAULT_EVENT_LIMITS } from './limits.ts';

const inspect = createInspector(DEFAULT_EVENT_LIMITS);
const nested = (levels: number) => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);

describe('depth', () => {
  test('takes 32 levels and refuses 33, naming the place', () => {
    expect(inspect(nested(32), 'data')).toBe('clean');
    expect(inspect(nested(33), 'data')).toMatchObject({ code: 'too_deep', field: `data${'.a'.repeat(32)}` });
  });

  test('counts arrays as objects', () => {
    const list = JSON.parse(`{"l":${'['.repeat(31)}${']'.repeat(31)}}`);
    expect(inspect(list, 'data')).toBe('clean');
    expect(inspect({ l: [list] }, 'data')).toMatchObject({ code: 'too_deep' });
  });

  test.each(['{"a":', '['])('does not overflow the stack on a million levels of %s', (open) => {
    const close = open === '[' ? ']' : '}';
    const value = JSON.parse(`{"a":${open.repeat(1_000_000)}1${close.repeat(1_000_000)}}`);
    expect(inspect(value, 'data')).toMatchObject({ code: 'too_deep' });
  });
});

describe('keys', () => {
  const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 1]));

  test('takes 1,000 keys at all depths together and refuses 1,001', () => {
    expect(inspect({ a: [keys(500), { b: keys(498) }] }, 'data')).toBe('clean');
    expect(inspect({ a: [keys(500), { b: keys(499) }] }, 'data')).toMatchObject({
      code: 'too_many_keys',
      field: 'data',
    });
  });

  test('starts counting anew for each container', () => {
    expect(inspect(keys(1_000), 'data')).toBe('clean');
    expect(inspect(keys(1_000), 'metadata')).toBe('clean');
  });

  test.each(['__proto__', 'constructor', 'prototype'])('refuses %s at any depth', (key) => {
    expect(inspect(JSON.parse(`{"${key}":1}`), 'data')).toMatchObject({ code: 'forbidden_key', field: `data.${key}` });
    const deep = JSON.parse(`{"a b":[0,{"c":{"${key}":{"polluted":true}}}]}`);
    expect(inspect(deep, 'metadata')).toMatchObject({ code: 'forbidden_key', field: `metadata["a b"][1].c.${key}` });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('takes keys that only look alike', () => {
    expect(inspect({ proto: 1, Constructor: 1, __proto: 1, toString: 1, hasOwnProperty: 1 }, 'data')).toBe('clean');
  });
});

describe('numbers', () => {
  test.each([
    '0',
    '-0',
    '9007199254740991',
    '-9007199254740991',
    '1e21',
    '-1e300',
    '1.7976931348623157e308',
    '5e-324',
    '1e-400',
    '0.1',
  ])('takes %s', (text) => {
    expect(inspect(JSON.parse(`{"n":[${text}]}`), 'data')).toBe('clean');
  });

  test.each([
    '9007199254740992',
    '-9007199254740993',
    '123456789012345678901',
    '999999999999999868928',
    '1e20',
    '1e309',
    '-1e309',
    '1e999999',
  ])('refuses %s', (text) => {
    expect(inspect(JSON.parse(`{"n":[0,${text}]}`), 'data')).toMatchObject({
      code: 'number_out_of_range',
      field: 'data.n[1]',
    });
  });
});

describe('what is not JSON', () => {
  test.each([[1n], [undefined], [() => 1], [Symbol('x')]])('refuses %p', (value) => {
    expect(inspect({ a: value }, 'data')).toMatchObject({ code: 'invalid_type', field: 'data.a' });
  });
});

describe('size', () => {
  test.each([
    ['one string', { a: 'x'.repeat(65_537) }],
    ['one key', { ['x'.repeat(65_537)]: 1 }],
    ['many strings', { a: Array.from({ length: 700 }, () => 'x'.repeat(100)) }],
    ['many numbers', { a: new Array(40_000).fill(1) }],
    ['many empty lists', { a: new Array(30_000).fill([1, 2]) }],
  ])('gives up on what is too large for the event by %s', (_, value) => {
    expect(inspect(value, 'data')).toMatchObject({ code: 'event_too_large', field: '' });
  });
});
