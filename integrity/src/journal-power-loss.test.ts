/** Power cuts and dying processes: acknowledged events and their ids survive, and no cursor runs ahead of the journal. */
import { expect, test } from 'bun:test';
import { liveOn } from './journal-life.ts';
import { createSeeded } from './seeded.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = 40;

test('what was acknowledged survives power cuts and crashes, byte for byte, its id is known, and no cursor runs ahead', async () => {
  let acknowledged = 0;
  let recycled = false;
  for (let round = 0; round < ROUNDS; round++) {
    const report = await liveOn(createSeeded(SEED + round), { lives: 8, steps: 120, mutation: 'none' });
    expect({ seed: SEED + round, broken: report.broken }).toEqual({ seed: SEED + round, broken: [] });
    acknowledged += report.acknowledged;
    recycled ||= report.recycled;
  }
  // The rounds prove nothing unless much was promised and segments had more than one life.
  expect(acknowledged).toBeGreaterThan(1_000);
  expect(recycled).toBe(true);
}, 120_000);

const NOTICED = {
  sync: /is gone|runs ahead|never delivered|other bytes|cannot be opened|delivery stops/,
  salt: /cannot be opened|other bytes|is gone/,
  durable_position: /runs ahead|other bytes|delivery stops/,
} as const;

for (const mutation of ['sync', 'salt', 'durable_position'] as const) {
  test(`the check notices when the rule "${mutation}" is switched off`, async () => {
    const noticed: string[] = [];
    for (let round = 0; round < 40 && noticed.length === 0; round++)
      noticed.push(...(await liveOn(createSeeded(SEED + round), { lives: 8, steps: 120, mutation })).broken);
    expect(noticed.join('\n')).toMatch(NOTICED[mutation]);
  }, 120_000);
}
