import { expect, test } from 'bun:test';
import { createTopicStream } from './topics-stream.ts';

function open(signal: AbortSignal) {
  let ends = 0;
  const stream = createTopicStream({
    start: {},
    limit: 1,
    follow: true,
    timing: { heartbeatMs: 1_000, pollMs: 1 },
    signal,
    page: () => Promise.reject(new Error('nobody reads')),
    isOver: () => false,
    onEnd: () => {
      ends += 1;
    },
  });
  return { stream, ends: () => ends };
}

test('a reader that has gone before its stream is made, or before it is read, holds no place', async () => {
  const gone = open(AbortSignal.abort());
  expect(gone.ends()).toBe(1);
  const client = new AbortController();
  const going = open(client.signal);
  expect(going.ends()).toBe(0);
  client.abort();
  expect(going.ends()).toBe(1);
  await Promise.all([gone.stream.cancel(), going.stream.cancel()]);
  expect([gone.ends(), going.ends()]).toEqual([1, 1]);
});
