import { expect, test } from 'bun:test';
import type { Run } from './rounds.ts';
import { errorsOf, frontMicros, ratios, summarise } from './summary.ts';

const STORED = {
  microsPerEvent: { accept: 26, deliver: 8, supervisor: 1, kafka: 40 },
  deliverMicrosPerEvent: 8,
  engineMicrosPerEvent: 5,
};

function run(server: 'weir' | 'bare', round: number, eventsPerSecond: number, cpuSeconds: number): Run {
  const events = eventsPerSecond * 2;
  const watched = server === 'weir' ? { accept: cpuSeconds, deliver: 0.1, supervisor: 0 } : { bare: cpuSeconds };
  return {
    load: 'single',
    server,
    round,
    memory: {},
    load1: 1,
    replaced: [],
    result: {
      eventsSent: events * 1.5,
      events,
      eventsPerSecond,
      eventBytes: 330,
      latency: { count: events, meanMs: 1, p50Ms: round, p99Ms: 10 * round, p999Ms: 20 * round, maxMs: 99 },
      cpu: {
        seconds: 2,
        cpuSeconds: { ...watched, generator: 1 },
        stealFraction: round / 100,
        busyFraction: 0.5,
        otherCores: 0,
      },
      unanswered: 0,
      problems: {},
    },
    ...(server === 'weir' ? { drain: { pendingAtEnd: 0, secondsUntilStored: 0, ...STORED } } : {}),
  };
}

const RUNS = [
  run('weir', 1, 20_000, 1),
  run('bare', 1, 40_000, 1),
  run('weir', 2, 30_000, 1.2),
  run('bare', 2, 30_000, 0.6),
  run('weir', 3, 24_000, 1.2),
  run('bare', 3, 30_000, 0.9),
];

test('the median of each figure, with the range of the rates', () => {
  const [weir, bare] = summarise(RUNS);
  expect(weir).toMatchObject({
    load: 'single',
    server: 'weir',
    eventsPerSecond: { median: 24_000, min: 20_000, max: 30_000 },
    deliverMicrosPerEvent: 8,
    p50Ms: 2,
    p99Ms: 20,
    p999Ms: 40,
    generatorCores: 0.5,
    stealFraction: 0.02,
    errors: {},
  });
  expect(weir?.microsPerEvent['accept']).toBeCloseTo(25, 9);
  expect(bare?.microsPerEvent['bare']).toBeCloseTo(12.5, 9);
  expect(bare?.deliverMicrosPerEvent).toBeUndefined();
});

test('what Weir needs until everything is stored, with and without the engine, but not its servers', () => {
  const [weir, bare] = summarise(RUNS);
  expect(weir?.storedMicros).toEqual(STORED.microsPerEvent);
  expect(weir?.allMicros).toEqual({ median: 35, min: 35, max: 35 });
  expect(weir?.ownMicros).toEqual({ median: 30, min: 30, max: 30 });
  expect(weir?.engineMicrosPerEvent).toBe(5);
  expect(bare).not.toHaveProperty('allMicros');
});

test('all accept processes answer together', () => {
  const [first] = RUNS as [Run];
  const cpuSeconds = { accept: 1, 'accept-1': 0.5, deliver: 7, generator: 9 };
  const two = { ...first, result: { ...first.result, cpu: { ...first.result.cpu, cpuSeconds } } };
  expect(frontMicros(two)).toBeCloseTo(37.5, 9);
});

test('a ratio is made within a round, and the median and the range taken of the ratios', () => {
  const [ratio, ...others] = ratios(RUNS);
  expect(others).toEqual([]);
  expect(ratio).toMatchObject({ load: 'single', server: 'weir' });
  expect(ratio?.rate.median).toBeCloseTo(0.8, 9);
  // 25 / 12.5, 20 / 10, 25 / 15
  expect(ratio?.acceptCpu.median).toBeCloseTo(2, 9);
  expect(ratio?.acceptCpu.min).toBeCloseTo(5 / 3, 9);
  // 35 / 12.5, 35 / 10, 35 / 15
  expect(ratio?.allCpu.median).toBeCloseTo(2.8, 9);
  expect(ratio?.ownCpu.median).toBeCloseTo(2.4, 9);
});

test('a process that was replaced while it was measured does not spoil the other rounds', () => {
  const [first, ...others] = RUNS as [Run, ...Run[]];
  const { accept: _gone, ...left } = first.result.cpu.cpuSeconds;
  const replaced = { ...first, result: { ...first.result, cpu: { ...first.result.cpu, cpuSeconds: left } } };
  const weir = summarise([...others, replaced]).find(({ server }) => server === 'weir');
  expect(weir?.microsPerEvent['accept']).toBeCloseTo(22.5, 9);
});

test('a round in which a process was replaced is an error, and no sum is made of the others', () => {
  const [first, bare] = RUNS as [Run, Run];
  const { accept: _gone, ...left } = first.result.cpu.cpuSeconds;
  const { accept: _too, ...stored } = STORED.microsPerEvent;
  const run = {
    ...first,
    replaced: ['accept'],
    result: { ...first.result, cpu: { ...first.result.cpu, cpuSeconds: left } },
    drain: { ...(first.drain as NonNullable<Run['drain']>), microsPerEvent: stored },
  };
  expect(frontMicros(run)).toBeNaN();
  expect(ratios([run, bare])[0]?.allCpu.median).toBeNaN();
  expect(errorsOf([run])).toEqual({ 'accept was replaced while it was measured': 1 });
  const { replaced } = { replaced: ['deliver'] };
  expect(frontMicros({ ...first, replaced })).toBeCloseTo(25, 9);
  expect(ratios([{ ...first, replaced }, bare])[0]?.allCpu.median).toBeNaN();
});

test('wrong answers and unanswered requests add up over the rounds', () => {
  const wrong = RUNS.map((one) => ({
    ...one,
    result: { ...one.result, unanswered: 1, problems: { 'status 503': 2 } },
  }));
  expect(errorsOf(wrong)).toEqual({ 'status 503': 12, unanswered: 6 });
  expect(errorsOf(RUNS)).toEqual({});
  const [first] = RUNS as [Run];
  const silent = [{ ...first, result: { ...first.result, events: 0 } }];
  expect(errorsOf(silent)).toEqual({ 'round in which nothing was answered': 1 });
});
