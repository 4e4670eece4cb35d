/** The parts that need servers, on real ones: short runs of the whole bench. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lacks } from '@libs/services';
import type { Results } from '../src/bench.ts';
import type { LoadsData } from '../src/loads-part.ts';
import type { OutageData } from '../src/outage.ts';

const MAIN = join(import.meta.dir, '../src/main.ts');
const TIMEOUT_MS = 240_000;
const SHORT = '--rounds 1 --seconds 0.5 --warmup 0.2 --rate 200 --connections 8'.split(' ');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-bench-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function bench(...args: string[]): Promise<{ readonly out: string; readonly results: Results }> {
  const file = join(folder, 'results.json');
  const child = Bun.spawn([process.execPath, MAIN, '--folder', folder, '--json', file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect(err).toBe('');
  return { out, results: JSON.parse(readFileSync(file, 'utf8')) as Results };
}

const dataOf = (results: Results, part: string): unknown => results.parts[part]?.data;
const failures = (results: Results, part: string) =>
  results.parts[part]?.problems.filter((problem) => /It failed|instead of/.test(problem));

describe.skipIf(lacks({ start: ['redis'] }))('with Redis', () => {
  test(
    'one and two accept processes are measured, each with all of its processes',
    async () => {
      const { results } = await bench(...SHORT, '--only', 'workers');
      expect(failures(results, 'workers')).toEqual([]);
      const { summary, runs } = dataOf(results, 'workers') as LoadsData;
      expect(summary.map(({ load, server }) => `${load} ${server}`)).toEqual(
        ['single', 'batch'].flatMap((load) => ['weir-1', 'weir-2', 'bare'].map((server) => `${load} ${server}`)),
      );
      const two = runs.find(({ server }) => server === 'weir-2')?.drain?.microsPerEvent ?? {};
      expect(Object.keys(two).toSorted()).toEqual(['accept', 'accept-1', 'deliver', 'redis', 'supervisor']);
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(lacks({ start: ['redis', 'kafka'] }))('with Redis, Kafka and ClickHouse', () => {
  test(
    'our processes and the servers are measured apart, and the stand-in is called one',
    async () => {
      const { out, results } = await bench(...SHORT, '--only', 'servers');
      expect(failures(results, 'servers')).toEqual([]);
      expect(out).toContain('ClickHouse is a stand-in');
      const { summary } = dataOf(results, 'servers') as LoadsData;
      const weir = summary.find(({ load, server }) => load === 'batch' && server === 'weir-servers');
      for (const name of ['redis', 'kafka', 'clickhouse']) expect(weir?.storedMicros?.[name]).toBeGreaterThan(0);
      const { accept = 0, deliver = 0, supervisor = 0 } = weir?.storedMicros ?? {};
      expect(weir?.allMicros?.median).toBeCloseTo(accept + deliver + supervisor, 6);
    },
    TIMEOUT_MS,
  );
});

test(
  'an outage: the store is killed and comes back, everything is acknowledged, and the backlog drains',
  async () => {
    const { out, results } = await bench(
      '--only',
      'outage',
      '--outage-rate',
      '1000',
      '--outage-seconds',
      '2',
      '--warmup',
      '0.2',
    );
    expect(failures(results, 'outage')).toEqual([]);
    const { samples, results: phases, drain } = dataOf(results, 'outage') as OutageData;
    expect(Math.max(...samples.map(({ pendingEvents }) => pendingEvents))).toBeGreaterThan(1_000);
    const sent = Object.values(phases).reduce((sum, { eventsSent }) => sum + eventsSent, 0);
    expect(samples.at(-1)).toMatchObject({ pendingEvents: 0, storedEvents: sent });
    expect(drain?.storedPerSecond).toBeGreaterThan(0);
    expect(out).toContain('times the live load');
  },
  TIMEOUT_MS,
);
