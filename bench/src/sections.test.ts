/** What parts show in the docs: from results as they stand in a file, where NaN has become null. */
import { expect, test } from 'bun:test';
import { drainSection } from './drain.ts';
import { backlogSection, windowSection } from './growth-report.ts';
import type { PeersData } from './peers/part.ts';
import { peersSection } from './peers/report.ts';
import { problemsOf, slopesOf } from './soak.ts';
import { slopeText, soakSection } from './soak-report.ts';

const saved = <T>(data: T): T => JSON.parse(JSON.stringify(data)) as T;
const points = (svg: string | undefined) =>
  [...(svg ?? '').matchAll(/<polyline[^>]* points="([^"]*)"/g)].map(([, all]) => (all ?? '').split(' ').length);

const SPREAD = { median: 0.97, min: 0.9, max: 1.1 };
const RATIOS = [{ load: 'batch', rate: SPREAD, acceptCpu: { median: Number.NaN, min: Number.NaN, max: Number.NaN } }];
const START = { acceptingMs: 1, storingMs: 2, cpuSeconds: Number.NaN, peakRssBytes: 1e8, rssBytes: 1e8, pssBytes: 1e8 };
const MEMORY = { grown: { accept: { rssBytes: 2e8, pssBytes: 2e8 } }, plain: {} };

test('growth shows rate and CPU beside the empty service, and what is not known as a dash', () => {
  const fill = { seconds: 1, eventsPerSecond: 50_000 };
  const common = { fill, runs: [], ratios: RATIOS, memory: MEMORY };
  const window = saved({
    ...common,
    ids: { grown: 10_000_000, plain: 0 },
    starts: { grown: [START], plain: [START] },
    idsAfterStart: 10_000_000,
    firstEventAgain: 200,
  });
  const backlog = saved({
    ...common,
    pendingEvents: { grown: 5_000_000, plain: 0 },
    journalBytes: 2e9,
    start: START,
    secondsUntilStored: 60,
    memoryAfterDrain: {},
    acknowledged: 6,
    stored: 6,
    storedDifferent: 6,
  });
  for (const { markdown, plots } of [windowSection(window), backlogSection(backlog)]) {
    expect(markdown).toContain('0.97 (0.90–1.10)');
    expect(markdown).toContain('– (–––)');
    expect(markdown).not.toContain('NaN');
    expect(plots).toHaveLength(1);
    expect(markdown).toContain(`(benchmarks/${plots[0]?.name}.svg)`);
    expect(plots[0]?.svg).toContain('>0.97</text>');
  }
});

test('peers: each load has its processor time and its rate, and what was not measured has no bar', () => {
  const summary = ['weir', 'fastify'].map((server, at) => ({
    load: 'batch',
    server,
    eventsPerSecond: { median: 80_000 - at * 50_000, min: 20_000, max: 90_000 },
    ownMicrosPerEvent: 16.25 + at,
    companionMicrosPerEvent: { kafka: 1.75, redis: at === 0 ? 6.5 : Number.NaN },
    p50Ms: 1,
    p99Ms: 2,
    otherCores: 0,
  }));
  const loads = [
    { name: 'batch', kind: 'batch', what: '', connections: 4, eventsPerRequest: 1_000, pace: { inFlight: 1 } },
  ];
  const { markdown, plots } = peersSection(
    saved({ loads, services: [], missing: [], summary, ratios: [], aims: [], runs: [] }) as unknown as PeersData,
  );
  expect(plots.map(({ name }) => name)).toEqual(['peers-batch-cpu', 'peers-batch-rate']);
  for (const { name } of plots) expect(markdown).toContain(`(benchmarks/${name}.svg)`);
  const values = plots.map(({ svg }) => [...svg.matchAll(/class="value"[^>]*>([^<]*)</g)].map(([, value]) => value));
  expect(values).toEqual([
    ['16.3', '1.75', '6.5', '17.3', '1.75'],
    ['80,000', '30,000'],
  ]);
});

const MINUTES = 10;
const soakOf = (looks: number) => {
  const samples = Array.from({ length: looks }, (_, at) => ({
    seconds: (at * 60 * MINUTES) / looks,
    processes: {
      accept: { pid: 1, rssBytes: 1e8, pssBytes: 1e8, descriptors: 20 },
      deliver: { pid: 2, rssBytes: 3e8 + 1e6 * at, pssBytes: 3e8, descriptors: 30 },
    },
    heapBytes: null,
    journalBytes: 1e6,
    dataBytes: 2e6,
    pendingEvents: null,
    dedupeIds: 60_000,
  }));
  return saved({
    minutes: MINUTES,
    settings: {},
    samples,
    ...slopesOf(samples),
    descriptors: { accept: { before: 20, after: Number.NaN }, deliver: { before: 30, after: 30 } },
    clients: {
      answered: { accepted: 1_000, duplicate: 100, rejected: 10 },
      unanswered: 0,
      webSockets: 20,
      brokenRequests: 1,
      queries: 1,
      problems: {},
      skipped: 0,
    },
    stored: 1_000,
    storedDifferent: 1_000,
    isBalanced: true,
  });
};

test('the soak shows the memory of each process over time, and an unknown slope is no slope of 0', () => {
  const soak = soakOf(100);
  const { markdown, plots } = soakSection(soak);
  expect(points(plots[0]?.svg)).toEqual([100, 100]);
  expect(markdown).toContain('20 / –');
  expect(markdown).toContain('Heap of accept: unclear');
  expect(markdown).not.toMatch(/NaN|null/);
  expect(soak.rss['accept']?.verdict).toBe('flat');
  expect(soak.rss['deliver']?.verdict).toBe('grows');
  const short = soakOf(4);
  expect(slopeText(short.rss['accept'] as never)).toBe('unclear');
  // It grows, and one that cannot be told to be flat is not called so either.
  expect(problemsOf(soak, soak.samples).join()).toContain('deliver grows by');
  expect(problemsOf(soak, soak.samples).join()).not.toContain('accept grows');
  expect(problemsOf(short, short.samples).join()).toContain('Whether accept grows is not clear');
});

test('the drain shows what is pending over time, with the end of the load, past looks in vain', () => {
  const latency = { count: 1, meanMs: 1, p50Ms: 1, p99Ms: 1, p999Ms: 1, maxMs: 1 };
  const cpu = { seconds: 2, cpuSeconds: { accept: 1 }, stealFraction: 0, busyFraction: 0, otherCores: 0 };
  const run = saved({
    eventsPerSecond: 50_000,
    result: {
      eventsSent: 9,
      events: 9,
      eventsPerSecond: 9,
      eventBytes: 330,
      latency,
      cpu,
      unanswered: 0,
      problems: {},
    },
    loadEndSeconds: 1.5,
    pending: [
      { seconds: 0, events: 0 },
      { seconds: 1, events: Number.NaN },
      { seconds: 2, events: 4_000 },
      { seconds: 3, events: 0 },
    ],
    pendingAtEnd: 3_000,
    secondsUntilStored: 1.5,
  });
  const { markdown, plots } = drainSection(run);
  expect(points(plots[0]?.svg)).toEqual([3]);
  expect(plots[0]?.svg).toContain('the load ends');
  expect(markdown).toContain('at most 4,000 events');
});
