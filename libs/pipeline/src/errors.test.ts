import { expect, test } from 'bun:test';
import { Overloaded, Permanent, Retryable } from './errors.ts';

const cause = new Error('what really happened');

test('each class keeps its code, its message and the cause', () => {
  const errors = [
    new Retryable('connection_refused', 'nobody listens', { cause }),
    new Permanent('no_such_table', 'the table is gone', { cause }),
    new Overloaded('too_many_parts', 'later', 500, { cause }),
  ];
  expect(errors.map(({ name, code, message }) => [name, code, message])).toEqual([
    ['Retryable', 'connection_refused', 'nobody listens'],
    ['Permanent', 'no_such_table', 'the table is gone'],
    ['Overloaded', 'too_many_parts', 'later'],
  ]);
  for (const error of errors) {
    expect(error).toBeInstanceOf(Error);
    expect(error.cause).toBe(cause);
  }
});

test('nothing was stored unless a Retryable says that it may have been', () => {
  expect(new Retryable('a', 'a').ambiguous).toBe(false);
  expect(new Retryable('a', 'a', { ambiguous: true }).ambiguous).toBe(true);
  expect(new Overloaded('a', 'a', 250).afterMs).toBe(250);
});
