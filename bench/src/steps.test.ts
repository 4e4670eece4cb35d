import { expect, test } from 'bun:test';
import type { Run } from './rounds.ts';
import { figuresOf } from './steps.ts';

const run = (server: string, round: number, micros: number): Run =>
  ({
    load: 'single',
    server,
    round,
    replaced: [],
    result: { events: 1_000, cpu: { cpuSeconds: { [server === 'weir' ? 'accept' : server]: micros / 1_000 } } },
  }) as never;

test('what a step adds is the difference within a round, not that of the medians', () => {
  // The second round was slower for everybody.
  const runs = [
    [run('bare', 1, 10), run('reply', 1, 12), run('sync', 1, 20), run('weir', 1, 23)],
    [run('bare', 2, 15), run('reply', 2, 18), run('sync', 2, 30), run('weir', 2, 34)],
    [run('bare', 3, 11), run('reply', 3, 12), run('sync', 3, 21), run('weir', 3, 26)],
  ].flat();
  const figures = figuresOf(runs);
  const of = (server: string) => figures.find((one) => one.server === server);
  expect(of('bare')).toEqual({ load: 'single', server: 'bare', micros: { median: 11, min: 10, max: 15 } });
  expect(of('reply')?.more).toEqual({ median: 2, min: 1, max: 3 });
  expect(of('weir')?.more).toEqual({ median: 4, min: 3, max: 5 });
  expect(figures.map(({ server }) => server)).toEqual([
    'bare',
    'reply',
    'body',
    'parse',
    'check',
    'journal',
    'sync',
    'weir',
  ]);
});

test('a step that was not measured is not known, and neither is what the next one adds', () => {
  const [bare, reply, body] = figuresOf([run('bare', 1, 10), run('body', 1, 14)]);
  expect(bare?.micros.median).toBe(10);
  expect(reply?.micros.median).toBeNaN();
  expect(body?.micros.median).toBe(14);
  expect(body?.more?.median).toBeNaN();
});
