/**
 * The Kafka broker comes back without its disk under load. What it had confirmed is gone with its
 * disk, for Weir has delivered it (replicas are the cluster's affair). What it had not is there, on topics made anew.
 * INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import { compareTopics, readHeld, readTopics } from './kafka-audit.ts';
import { BLOCK_ROWS_MAX, cleanUpKafka, expectRouted, startKafkaRun } from './kafka-run.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpKafka);

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('a Kafka that forgets', () => {
  test(
    'back without its disk, with producers of before and, once deliver was killed, with new ones',
    async () => {
      const run = await startKafkaRun({ seed: SEED });
      const lost = new Map<string, number>();
      for (const isKilled of [false, true]) {
        run.load();
        await run.acknowledged(500);
        await run.quiet();
        await run.drained();
        const held = await readHeld(run.service.url);
        const due = held.filter(({ journal, seq }) => seq > (lost.get(journal) ?? 0));
        const rules = { blockRowsMax: BLOCK_ROWS_MAX, cutShort: run.hasKilled() };
        expect(compareTopics(due, await readTopics(run.kafka.brokers), rules).broken).toEqual([]);
        for (const { journal, seq } of held) lost.set(journal, Math.max(seq, lost.get(journal) ?? 0));
        await run.kafka.kill();
        run.load();
        await run.acknowledged(300);
        if (isKilled) await run.kill('deliver');
        await run.kafka.restartEmpty();
        await run.acknowledged(300);
        await run.quiet();
      }
      await expectRouted(run, { due: ({ journal, seq }) => seq > (lost.get(journal) ?? 0) });
    },
    TIMEOUT_MS,
  );
});
