/**
 * The ClickHouse server fails and our processes die at random moments, and every promise holds. INTEGRITY_TROUBLES and
 * INTEGRITY_SEED choose how many troubles and which.
 */
import { afterEach, expect, test } from 'bun:test';
import { cleanUpOutage } from './store-outage.ts';
import { runStoreTroubles } from './store-run.ts';

const TROUBLES = Number(process.env['INTEGRITY_TROUBLES'] ?? 20);
const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000 + TROUBLES * 15_000;

afterEach(cleanUpOutage);

test(
  'every acknowledged event is stored once, and nothing else, whatever happens to the server and to us, and when',
  async () => {
    const say = process.env['INTEGRITY_VERBOSE'] === undefined ? () => undefined : print;
    const report = await runStoreTroubles({ seed: SEED, troubles: TROUBLES, say });
    print(`INTEGRITY_SEED=${SEED}: ${JSON.stringify({ ...report, broken: undefined })}`);
    expect({ seed: SEED, broken: report.broken }).toEqual({ seed: SEED, broken: [] });
    // The run proves nothing unless much was promised and duplicates were told apart.
    expect(report.answers['accepted']).toBeGreaterThan(100 * TROUBLES);
    expect(report.answers['duplicate']).toBeGreaterThan(10 * TROUBLES);
  },
  TIMEOUT_MS,
);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
