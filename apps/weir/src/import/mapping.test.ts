import { describe, expect, test } from 'bun:test';
import { uuidv5 } from '@libs/models';
import { createMapper, unusedColumns } from './mapper.ts';
import { type Mapping, validateMapping } from './mapping.ts';
import type { Row } from './row.ts';

const BASE = {
  constants: { storeId: 's', sessionId: 'x', eventType: 'item_added', timestamp: '2026-01-01T00:00:00Z' },
};

function mappingOf(value: unknown): Mapping {
  const result = validateMapping(value);
  if (!result.ok) throw new Error(result.problems.join('\n'));
  return result.mapping;
}

function problemsOf(value: unknown): readonly string[] {
  const result = validateMapping(value);
  return result.ok ? [] : result.problems;
}

const cells = (values: readonly string[], number = 2): Row => ({
  kind: 'cells',
  number,
  raw: values.join(','),
  cells: values,
});
const json = (value: unknown, number = 1): Row => ({
  kind: 'json',
  number,
  raw: typeof value === 'string' ? value : JSON.stringify(value),
});

function mapCsv(mapping: unknown, header: readonly string[], values: readonly string[]) {
  const mapped = createMapper(mappingOf(mapping), header)(cells(values));
  return mapped.ok ? JSON.parse(mapped.json) : mapped.rejection;
}

function mapJson(mapping: unknown, value: unknown) {
  const mapped = createMapper(mappingOf(mapping), undefined)(json(value));
  return mapped.ok ? JSON.parse(mapped.json) : mapped.rejection;
}

describe('the validator', () => {
  test('reports every problem at once, each with its place', () => {
    expect(
      problemsOf({
        colums: {},
        constants: { storeId: 5, 'data.__proto__.x': 1, eventId: 'same' },
        columns: {
          a: 'data.a',
          b: { to: 'data.a', as: 'decimal' },
          c: 'data.a.b',
          d: { to: 'userId', as: 'number' },
          e: 'price',
        },
        eventType: { column: '' },
        timestamp: { column: 't', format: 'YYYY' },
        eventId: { uuidv5: [], namespace: 'x' },
      }).map((problem) => problem.slice(0, problem.indexOf(':'))),
    ).toEqual(
      expect.arrayContaining([
        'colums',
        'constants.storeId',
        'constants.data.__proto__.x',
        'constants.eventId',
        'columns.b.as',
        'columns.b',
        'columns.c',
        'columns.d',
        'columns.e.to',
        'eventType.column',
        'timestamp.format',
        'eventId.uuidv5',
        'eventId.namespace',
        'sessionId',
      ]),
    );
  });

  test.each([[null], [[]], ['text'], [5]])('%j is no mapping', (value) => {
    expect(problemsOf(value)).toHaveLength(1);
  });

  test('unknown keys are errors at every depth', () => {
    expect(problemsOf({ ...BASE, columns: { a: { to: 'data.a', type: 'number' } } })).toEqual([
      'columns.a.type: is not a setting of a mapping',
    ]);
    expect(problemsOf({ ...BASE, eventId: { uuid5: 'line', uuidv5: 'line' } })).toEqual([
      'eventId.uuid5: is not a setting of a mapping',
    ]);
  });

  test.each(['eventId', 'eventType', 'timestamp'])('%s by a column and by its own setting is set twice', (field) => {
    const constants = { storeId: 's', sessionId: 'x', eventType: 'item_added', timestamp: 't', [field]: 'fixed' };
    const own = { eventId: { uuidv5: 'line' }, eventType: { column: 'c' }, timestamp: { column: 'c' } };
    const problems = problemsOf({ constants, [field]: own[field as keyof typeof own] });
    expect(problems.some((problem) => problem.includes(`${field} is set by constants.${field} already`))).toBe(true);
  });
});

describe('cells', () => {
  const one = (as: string, text: string) => mapCsv({ ...BASE, columns: { v: { to: 'data.v', as } } }, ['v'], [text]);

  test.each([
    ['text', '007', '007'],
    ['text', ' padded ', ' padded '],
    ['number', '33.20', 33.2],
    ['number', '-1e3', -1000],
    ['integer', '9007199254740991', 9007199254740991],
    ['boolean', 'TRUE', true],
    ['boolean', '0', false],
    ['json', '{"a":[1,null]}', { a: [1, null] }],
    ['json', '"5"', '5'],
  ])('%s of %j', (as, text, expected) => {
    expect(one(as, text).data.v).toEqual(expected as string);
  });

  test.each([
    ['number', '12,5', 'invalid_number'],
    ['number', 'NaN', 'invalid_number'],
    ['number', '0x10', 'invalid_number'],
    ['number', ' ', 'invalid_number'],
    ['number', '1e400', 'number_out_of_range'],
    ['number', '9007199254740993', 'number_out_of_range'],
    ['integer', '1.5', 'invalid_integer'],
    ['boolean', 'yes', 'invalid_boolean'],
    ['json', '{a}', 'invalid_json'],
    ['json', '{"a":12345678901234567890}', 'number_out_of_range'],
  ])('%s of %j is rejected', (as, text, code) => {
    expect(one(as, text).code).toBe(code);
  });

  test('an empty cell is left out, null, text, or a rejection', () => {
    const columns = {
      a: 'data.a',
      b: { to: 'data.b', empty: 'null' },
      c: { to: 'data.c', empty: 'text' },
      d: { to: 'data.d', as: 'number' },
    };
    expect(mapCsv({ ...BASE, columns }, ['a', 'b', 'c', 'd'], ['', '', '', '']).data).toEqual({ b: null, c: '' });
    const strict = { ...BASE, columns: { a: { to: 'data.a', empty: 'reject' } } };
    expect(mapCsv(strict, ['a'], [''])).toMatchObject({ code: 'empty_cell', field: 'a' });
  });

  test('paths nest, and names of inherited methods are only names', () => {
    const columns = { a: 'data.item.id', b: 'data.item.price', c: 'data.toString.valueOf', d: 'metadata.referrer' };
    const event = mapCsv({ ...BASE, columns }, ['a', 'b', 'c', 'd'], ['1', '2', '3', 'r']);
    expect(event.data).toEqual({ item: { id: '1', price: '2' }, toString: { valueOf: '3' } });
    expect(event.metadata).toEqual({ referrer: 'r' });
    expect(Object.hasOwn(Object.prototype.toString, 'valueOf')).toBe(false);
  });
});

describe('event types and times', () => {
  const mapping = {
    constants: { storeId: 's', sessionId: 'x' },
    eventType: { column: 't', map: { cart: 'item_added' } },
    timestamp: { column: 'at', format: 'unix_s' },
  };

  test('are translated', () => {
    expect(mapCsv(mapping, ['t', 'at'], ['cart', '0'])).toMatchObject({
      eventType: 'item_added',
      timestamp: '1970-01-01T00:00:00.000Z',
    });
  });

  test('a value without a translation is rejected by name, also one that every object inherits', () => {
    for (const value of ['view', 'toString', '__proto__']) {
      const rejection = mapCsv(mapping, ['t', 'at'], [value, '0']);
      expect(rejection).toMatchObject({ code: 'unmapped_event_type', field: 't' });
      expect(rejection.message).toContain(value);
    }
  });

  test('a time that does not fit is rejected by name', () => {
    expect(mapCsv(mapping, ['t', 'at'], ['cart', 'soon'])).toMatchObject({ code: 'invalid_time', field: 'at' });
  });
});

describe('event ids', () => {
  const header = ['a', 'b'];
  const idOf = (mapping: unknown, values: readonly string[], number: number) => {
    const mapped = createMapper(mappingOf(mapping), header)(cells(values, number));
    return mapped.ok ? JSON.parse(mapped.json).eventId : undefined;
  };

  test('by default over the row and its number', () => {
    const id = idOf(BASE, ['1', '2'], 7);
    expect(idOf(BASE, ['1', '2'], 7)).toBe(id);
    expect(idOf(BASE, ['1', '2'], 8)).not.toBe(id);
    expect(idOf(BASE, ['12', ''], 7)).not.toBe(id);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('over named columns, in which joined texts are not the same name', () => {
    const mapping = { ...BASE, eventId: { uuidv5: ['a', 'b'], namespace: '6ba7b811-9dad-11d1-80b4-00c04fd430c8' } };
    const id = idOf(mapping, ['ab', 'c'], 1);
    expect(id).toBe(uuidv5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', '["ab","c"]'));
    expect(idOf(mapping, ['ab', 'c'], 2)).toBe(id);
    expect(idOf(mapping, ['a', 'bc'], 1)).not.toBe(id);
  });

  test('from a column', () => {
    expect(idOf({ ...BASE, columns: { a: 'eventId' } }, ['mine', ''], 1)).toBe('mine');
  });
});

describe('JSON rows', () => {
  const columns = {
    id: 'eventId',
    'user.name': 'userId',
    price: { to: 'data.price', as: 'number' },
    tags: { to: 'data.tags', as: 'json' },
  };

  test('keys, paths of keys, and values of any type', () => {
    const event = mapJson({ ...BASE, columns }, { id: 5, user: { name: 'n' }, price: 1.5, tags: ['a', { b: null }] });
    expect(event).toMatchObject({ eventId: '5', userId: 'n', data: { price: 1.5, tags: ['a', { b: null }] } });
    expect(mapJson({ ...BASE, columns }, { id: 'x', 'user.name': 'flat', price: '2' })).toMatchObject({
      userId: 'flat',
      data: { price: 2 },
    });
    expect(mapJson({ ...BASE, columns }, { id: 'x', user: null, price: null }).data).toEqual({});
  });

  test('a number that JSON.parse cannot hold stays exact as text, and is rejected as a number', () => {
    expect(mapJson({ ...BASE, columns }, '{"id":2103807459595387724}').eventId).toBe('2103807459595387724');
    expect(mapJson({ ...BASE, columns }, '{"id":"x","price":2103807459595387724}').code).toBe('number_out_of_range');
    expect(mapJson({ ...BASE, columns }, '{"id":"x","tags":[1e999]}').code).toBe('number_out_of_range');
    expect(mapJson({ ...BASE, columns }, '{"id":"x","price":1e21}').data.price).toBe(1e21);
  });

  test('what is no object, and an object where text is wanted', () => {
    expect(mapJson({ ...BASE, columns }, '[1]').code).toBe('invalid_type');
    expect(mapJson({ ...BASE, columns }, '{"id":').code).toBe('malformed_json');
    expect(mapJson({ ...BASE, columns }, { id: { a: 1 } })).toMatchObject({ code: 'invalid_text', field: 'id' });
  });
});

describe('columns', () => {
  test('a header that lacks some is refused with all of them', () => {
    const mapping = mappingOf({ ...BASE, columns: { a: 'data.a', b: 'data.b' }, eventId: { uuidv5: ['c'] } });
    expect(() => createMapper(mapping, ['a'])).toThrow('does not have');
    expect(unusedColumns(mapping, ['a', 'b', 'c', 'd', ''])).toEqual(['d']);
  });
});
