/**
 * The ClickHouse server goes away under load, in every way a process can, alone and while ours are killed: accept notices nothing,
 * and afterwards every promised event is stored once. INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, expect, test } from 'bun:test';
import { createEventMaker } from './events.ts';
import { createHttpClient } from './http-client.ts';
import { createSeeded } from './seeded.ts';
import { cleanUpOutage, expectKept, startUnderLoad } from './store-outage.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpOutage);

test(
  'stopped in order, and started again: connections are refused meanwhile',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    const client = createHttpClient(outage.service.url, outage.ledger);
    const events = createEventMaker(createSeeded(SEED), 'beside', 'beside');
    for (let round = 0; round < 2; round++) {
      await outage.store.stop();
      await outage.away(/did not answer/);
      await outage.acknowledged(1_000);
      // Who asks for more than the journal is told what was reached; who queries is told that it cannot be had.
      expect(await client.single(events.good(), 'stored')).toMatchObject({ kind: 'accepted', level: 'journal' });
      const query = await fetch(`${outage.service.url}/query?query=SELECT+1`);
      expect([query.status, await query.text()]).toEqual([503, expect.stringContaining('cannot be reached')]);
      await outage.store.restart();
      await outage.back();
      await until(async () => {
        const answer = await client.single(events.good(), 'stored');
        return answer?.kind === 'accepted' && answer.level === 'stored';
      }, 'an event is stored at once again');
    }
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'killed in the middle of its work, again and again',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    for (let round = 0; round < 4; round++) {
      await outage.store.kill();
      await outage.away();
      await outage.acknowledged();
      await outage.store.restart();
      await outage.acknowledged(500);
    }
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'frozen: /health says so long before a request times out, and nothing is stored twice when it thaws',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    await outage.store.freeze();
    await outage.away(/no answer for \d+ s/);
    await outage.acknowledged(500);
    await outage.store.thaw();
    await outage.back();
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'away, while deliver, accept and then everything is killed and comes up without it',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    await outage.store.kill();
    await outage.away();
    for (const victim of ['deliver', 'accept', 'all'] as const) {
      await outage.kill(victim);
      await outage.acknowledged(300);
      await outage.away();
    }
    await outage.store.restart();
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'frozen with an insert under way, and then its sender is killed: the insert lands when it thaws, beside its successor',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    for (const victim of ['deliver', 'all', 'deliver'] as const) {
      await outage.store.freeze();
      await outage.acknowledged(300);
      await outage.kill(victim);
      await outage.acknowledged(300);
      await outage.store.thaw();
      await outage.back();
    }
    await expectKept(outage);
    expect(outage.service.output(Number.MAX_SAFE_INTEGER)).toContain('a block was on its way');
  },
  TIMEOUT_MS,
);
