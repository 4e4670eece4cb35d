import { expect, test } from 'bun:test';
import type { LoadResult } from '../job.ts';
import type { PeerRun } from './measure.ts';
import { aimsOf, peerRatios, summarisePeers } from './summary.ts';

function run(
  load: string,
  server: string,
  round: number,
  figures: { own: number; kafka: number; rate: number },
): PeerRun {
  const latency = { count: 1, p50Ms: figures.own, p99Ms: 2, p999Ms: 3, maxMs: 4 };
  const result = { eventsPerSecond: figures.rate, latency, cpu: { otherCores: 0.5 } } as unknown as LoadResult;
  return {
    ...{ load, server, round, result, arrived: {}, mismatches: [] },
    ownMicrosPerEvent: figures.own,
    companionMicrosPerEvent: { kafka: figures.kafka },
  };
}

/** In every round the peer needs six times the CPU, whatever the machine does; the warm-up is far off. */
const RUNS = [
  run('single', 'weir', 0, { own: 999, kafka: 999, rate: 1 }),
  run('single', 'fastify', 0, { own: 1, kafka: 1, rate: 999 }),
  ...[10, 20, 30].flatMap((own, index) => [
    run('single', 'weir', index + 1, { own, kafka: own, rate: 1_000 }),
    run('single', 'fastify', index + 1, { own: 6 * own, kafka: 2 * own, rate: 100 }),
  ]),
];

test('medians are over the rounds that count', () => {
  expect(summarisePeers(RUNS)).toMatchObject([
    { server: 'weir', ownMicrosPerEvent: 20, companionMicrosPerEvent: { kafka: 20 }, p50Ms: 20 },
    {
      server: 'fastify',
      ownMicrosPerEvent: 120,
      companionMicrosPerEvent: { kafka: 40 },
      eventsPerSecond: { median: 100 },
    },
  ]);
});

test('ratios are made within a round, and above 1 where Weir is ahead', () => {
  expect(peerRatios(RUNS)).toEqual([
    { load: 'single', peer: 'fastify', eventsPerCpuSecond: 6, eventsPerCpuSecondOfAll: 4, rate: 10 },
  ]);
});

test('an aim is held against its own ratio; what was not measured is no number', () => {
  const [single, ...others] = aimsOf(peerRatios(RUNS));
  expect(single).toMatchObject({ found: 6, min: 6 });
  expect(others.map(({ found }) => found)).toEqual([Number.NaN, Number.NaN, Number.NaN]);
});
