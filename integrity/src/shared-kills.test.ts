/**
 * Two instances, or two accept processes of one, share a Redis; one is killed at random moments while clients send to both, a
 * fifth of it copies of what went to the other. INTEGRITY_KILLS and INTEGRITY_SEED choose how many kills and which.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import type { Rewrite } from './fault-source.preload.ts';
import { cleanUpInstances } from './instances.ts';
import { runShared, type SharedRunReport } from './shared-run.ts';

const KILLS = Number(process.env['INTEGRITY_KILLS'] ?? 4);
const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000 + KILLS * 15_000;

afterEach(cleanUpInstances);

/** Nobody asks Redis any more. */
const NO_CLAIMS: Rewrite = {
  file: 'apps/ingestion/src/accept.ts',
  find: '    if (asked.length === 0) return [];\n',
  replace: '    if (asked.length >= 0) return [];\n',
};

describe.skipIf(lacks({ start: ['redis'] }))('with a shared Redis', () => {
  for (const [instances, workers] of [
    [2, 1],
    [1, 2],
  ] as const)
    test(
      `${instances} × ${workers} accept processes: every promised event is stored, once, whoever is killed and when`,
      async () => {
        const report = await run({ instances, workers, kills: KILLS });
        expect({ seed: SEED, broken: report.broken, twice: report.twice }).toEqual({
          seed: SEED,
          broken: [],
          twice: [],
        });
        // The run proves nothing unless much was promised, and copies met their first ones.
        expect(report.promised).toBeGreaterThan(100 * KILLS);
        expect(report.answers['duplicate']).toBeGreaterThan(20 * KILLS);
        expect(report.answers['local']).toBe(0);
      },
      TIMEOUT_MS,
    );

  test(
    'the checks notice when Redis is not asked',
    async () => {
      const report = await run({ instances: 2, workers: 1, kills: 0, rewrites: [NO_CLAIMS] });
      expect(report.broken.join('\n')).toMatch(/stored more than once/);
      expect(report.twice.length).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

async function run(options: Omit<Parameters<typeof runShared>[0], 'seed' | 'say'>): Promise<SharedRunReport> {
  const say = process.env['INTEGRITY_VERBOSE'] === undefined ? () => undefined : print;
  const report = await runShared({ ...options, seed: SEED, say });
  print(`INTEGRITY_SEED=${SEED}: ${JSON.stringify({ ...report, broken: undefined, twice: report.twice.length })}`);
  return report;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
