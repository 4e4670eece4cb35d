import { expect, test } from 'bun:test';
import { createRequestBuffers } from './kafka-buffers.ts';

test('what was given back is taken again, when it is large enough, and by one at a time', () => {
  const buffers = createRequestBuffers();
  const small = buffers.take(10);
  const large = buffers.take(5_000_000);
  expect(large.length).toBeGreaterThanOrEqual(5_000_000);
  buffers.give(small);
  buffers.give(large);
  expect(buffers.take(4_000_000)).toBe(large);
  expect(buffers.take(4_000_000)).not.toBe(large);
  expect(buffers.take(small.length)).toBe(small);
});

test('not more are kept than there is room for, the latest', () => {
  const buffers = createRequestBuffers();
  const all = Array.from({ length: 50 }, () => buffers.take(1));
  for (const one of all) buffers.give(one);
  const again = Array.from({ length: 50 }, () => buffers.take(1));
  expect(again.filter((one) => all.includes(one))).toEqual(all.slice(-8));
});
