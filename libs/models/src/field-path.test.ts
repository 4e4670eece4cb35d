import { expect, test } from 'bun:test';
import { fieldPath, shorten } from './field-path.ts';

test.each([
  [[], ''],
  [['data'], 'data'],
  [['data', 'items', 3, 'price'], 'data.items[3].price'],
  [['data', 'a b'], 'data["a b"]'],
  [['data', 'a.b', '0', ''], 'data["a.b"]["0"][""]'],
  [['a"b\n'], '["a\\"b\\n"]'],
  [['__proto__'], '__proto__'],
  [['_a1', '$b'], '_a1.$b'],
])('%j is written %s', (segments, path) => {
  expect(fieldPath(segments)).toBe(path);
});

test('stays short whatever the keys', () => {
  expect(fieldPath(['data', 'x'.repeat(100_000)])).toBe(`data["${'x'.repeat(64)}…"]`);
  expect(fieldPath(new Array(100_000).fill('key')).length).toBeLessThan(1_200);
});

test('shorten never leaves half a character', () => {
  expect(shorten('ab😀', 3).isWellFormed()).toBe(true);
  expect(shorten('abc', 3)).toBe('abc');
});
