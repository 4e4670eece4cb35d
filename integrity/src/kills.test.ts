/** Processes are killed at random moments, and every promise holds. INTEGRITY_KILLS and INTEGRITY_SEED choose how many and which. */
import { afterEach, expect, test } from 'bun:test';
import { runKills, sum } from './kill-run.ts';
import { cleanUp } from './service.ts';

const KILLS = Number(process.env['INTEGRITY_KILLS'] ?? 48);
const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000 + KILLS * 15_000;

afterEach(cleanUp);

test(
  'every acknowledged event is stored once, and nothing else, whoever is killed and when',
  async () => {
    const report = await run(KILLS, false);
    // The run proves nothing unless much was promised, duplicates were told apart and segments had several lives.
    expect(report.promised).toBeGreaterThan(100 * KILLS);
    expect(report.answers.duplicate).toBeGreaterThan(10 * KILLS);
    expect(report.answers.rejected).toBeGreaterThan(KILLS);
    expect(report.segments).toBeGreaterThan(KILLS / 4);
    expect(report.resentBlocks).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

test(
  'so it is on a slow disk, where frames wait for one another and segments begin in the thread pool',
  async () => {
    const report = await run(Math.ceil(KILLS / 4), true);
    expect(report.segments).toBeGreaterThan(1);
  },
  TIMEOUT_MS,
);

async function run(kills: number, slowDisk: boolean) {
  print(`INTEGRITY_SEED=${SEED}: ${kills} kills${slowDisk ? ' on a slow disk' : ''}`);
  const say = process.env['INTEGRITY_VERBOSE'] === undefined ? () => undefined : print;
  const report = await runKills({ seed: SEED, kills, slowDisk, say });
  print(JSON.stringify({ ...report, broken: undefined }));
  expect({ seed: SEED, broken: report.broken }).toEqual({ seed: SEED, broken: [] });
  expect(sum(report.kills)).toBeGreaterThanOrEqual(kills);
  return report;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
