/** The docs are what the generator makes of results: of made-up ones here, and of those that stand beside docs/benchmarks.md. */
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Results } from './bench.ts';
import { docFiles, mergeResults, RESULTS_FILE } from './docs.ts';
import type { Part } from './part.ts';
import { PARTS } from './parts.ts';

const DOCS = join(import.meta.dir, '../../docs');

const spread = (median: number) => ({ median, min: 0.9 * median, max: 1.1 * median });

const SUMMARY = {
  load: 'batch',
  p50Ms: 4,
  p99Ms: 9.5,
  p999Ms: 12,
  generatorCores: 0.95,
  stealFraction: 0.01,
  busyFraction: 0.9,
  otherCores: 0.1,
  eventBytes: 330,
  errors: {},
};

const BATCH_DATA = {
  loads: [
    {
      name: 'batch',
      what: 'batches of 1,000',
      kind: 'batch',
      connections: 4,
      eventsPerRequest: 1_000,
      pace: { inFlight: 1 },
    },
  ],
  ceilings: [{ load: 'batch', eventsPerSecond: 4_000_000, generatorCores: 0.5 }],
  summary: [
    {
      ...SUMMARY,
      server: 'weir',
      eventsPerSecond: spread(100_000),
      microsPerEvent: { accept: 6 },
      frontMicros: spread(6),
      storedMicros: { accept: 6.5, deliver: 7, supervisor: 0.1 },
      deliverMicrosPerEvent: 7,
      engineMicrosPerEvent: 5,
      allMicros: spread(13.6),
      ownMicros: spread(8.6),
    },
    {
      ...SUMMARY,
      server: 'bare',
      eventsPerSecond: spread(500_000),
      microsPerEvent: { bare: 1.5 },
      frontMicros: spread(1.5),
    },
  ],
  ratios: [
    { load: 'batch', server: 'weir', rate: spread(0.2), acceptCpu: spread(4), allCpu: spread(9), ownCpu: spread(5.7) },
  ],
  memory: {},
  stack: [],
};

const PART = {
  options: '--rounds 5',
  startedAt: '2026-03-14T15:09:26.535Z',
  seconds: 61,
  stealFraction: 0.01,
  busyFraction: 0.9,
};

const FIXTURE = {
  conditions: {
    startedAt: '2026-03-14T15:00:00.000Z',
    processor: 'Example 9000',
    cores: 2,
    memoryBytes: 8 * 1024 ** 3,
    kernel: '6.1',
    bun: '1.4.5',
    load1: 0.1,
    pinned: false,
    disk: { fileSystem: 'ext4', fdatasyncP50Ms: 0.5, fdatasyncP99Ms: 2 },
  },
  options: {},
  parts: {
    batch: { ...PART, data: BATCH_DATA, problems: [] },
    other: { ...PART, data: { answer: 42 }, problems: ['3 × status 503'] },
    failed: { ...PART, problems: ['It failed: no such server'] },
  },
} as unknown as Results;

const other = (name: string): Part => ({
  name,
  what: `the part ${name}`,
  set: 'full',
  seconds: () => 1,
  measure: () => Promise.reject(new Error('is not measured here')),
  text: (data) => `answer  ${(data as { answer: number }).answer}`,
});

const SHOWN = [...PARTS.filter(({ name }) => name === 'batch'), other('other'), other('failed'), other('not-measured')];

test('the document is made of the results: conditions, tables, pictures, and what went wrong', () => {
  const files = docFiles(FIXTURE, SHOWN);
  expect([...files.keys()]).toEqual([
    'benchmarks/batch-cpu.svg',
    'benchmarks/batch-latency.svg',
    'benchmarks/comparison.svg',
    RESULTS_FILE,
    'benchmarks.md',
  ]);
  expect(files.get('benchmarks.md')).toMatchSnapshot();
  expect(files.get('benchmarks/batch-cpu.svg')).toContain('>6</text>');
});

test('every picture that the document shows is there', () => {
  const files = docFiles(FIXTURE, SHOWN);
  const shown = [...(files.get('benchmarks.md') ?? '').matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(
    ([, path]) => path ?? '',
  );
  expect(shown).toHaveLength(3);
  for (const path of shown) expect(files.get(path)).toStartWith('<svg');
});

test('the results that are written beside the document give the same document again', () => {
  const files = docFiles(FIXTURE, SHOWN);
  const again = JSON.parse(files.get(RESULTS_FILE) ?? '') as Results;
  expect([...docFiles(again, SHOWN)]).toEqual([...files]);
});

test('single rounds are left out of the results beside the document', () => {
  const runs = [{ load: 'batch', round: 1 }];
  const parts = { batch: { ...PART, data: { ...BATCH_DATA, runs }, problems: [] } };
  expect(docFiles({ ...FIXTURE, parts }, SHOWN).get(RESULTS_FILE)).not.toContain('"runs"');
});

test('of several results a later part stands instead of an earlier one, on the same machine only', () => {
  const later = { ...FIXTURE, parts: { other: { ...PART, data: { answer: 43 }, problems: [] } } } as unknown as Results;
  const merged = mergeResults([FIXTURE, later]);
  expect(merged.parts['other']?.data).toEqual({ answer: 43 });
  expect(merged.parts['batch']).toEqual(FIXTURE.parts['batch'] as never);
  const elsewhere = { ...later, conditions: { ...later.conditions, processor: 'Another' } };
  expect(() => mergeResults([FIXTURE, elsewhere])).toThrow('processor Example 9000 and Another');
  const pinned = { ...later, conditions: { ...later.conditions, pinned: true } };
  expect(() => mergeResults([FIXTURE, pinned])).toThrow('pinned false and true');
});

test('nothing in docs/benchmarks.md is written by hand: `npm run bench -- --from docs/benchmarks/results.json` makes it', () => {
  const file = join(DOCS, RESULTS_FILE);
  const hasResults = existsSync(file);
  expect(existsSync(join(DOCS, 'benchmarks.md'))).toBe(hasResults);
  if (!hasResults) return;
  const files = docFiles(JSON.parse(readFileSync(file, 'utf8')) as Results, PARTS);
  for (const [path, content] of files) expect(readFileSync(join(DOCS, path), 'utf8')).toBe(content);
});
