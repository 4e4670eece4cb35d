/**
 * The Kafka broker comes back without its disk; and the proof that the checks can fail. What it had confirmed is gone with its
 * disk, for Weir has delivered it (replicas are the cluster's affair). What it had not is there, on topics made anew.
 * INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import type { Rewrite } from './fault-source.preload.ts';
import { compareTopics, readHeld, readTopics } from './kafka-audit.ts';
import { BLOCK_ROWS_MAX, cleanUpKafka, expectRouted, HASTY, startKafkaRun } from './kafka-run.ts';

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

  const SINK = 'libs/messaging/src/kafka-sink.ts';
  const LANE = 'libs/messaging/src/kafka-lane.ts';
  const BREAKS: Readonly<Record<string, { readonly rewrites: readonly Rewrite[]; readonly noticed: RegExp }>> = {
    'a write that failed counts as done': {
      rewrites: [
        { file: SINK, find: 'throw asPipelineError(\n', replace: 'return [];\n      asPipelineError(\n' },
        { file: SINK, find: 'toSorted((a, b) => a.seq - b.seq);', replace: 'filter(() => false);' },
      ],
      noticed: /promised and not on its topic/,
    },
    'the rows of a partition change places': {
      rewrites: [
        {
          file: LANE,
          find: 'await sendPartition(run, partitionRows);',
          replace: 'await sendPartition(run, partitionRows.toReversed());',
        },
      ],
      noticed: /out of order/,
    },
    'a message carries the id of another event': {
      rewrites: [
        {
          file: SINK,
          find: 'return { seq, key, value, eventId,',
          replace: "return { seq, key, value, eventId: eventId + '0',",
        },
      ],
      noticed: /another header/,
    },
  };

  for (const [name, { rewrites, noticed }] of Object.entries(BREAKS))
    test(
      `the checks notice when ${name}`,
      async () => {
        const run = await startKafkaRun({ seed: SEED, rewrites: [HASTY, ...rewrites] });
        run.load();
        await run.acknowledged(300);
        await run.sinkIs('kafka', ({ state }) => state === 'healthy', 'healthy');
        await run.kafka.kill();
        // The first write has failed by then.
        await run.sinkIs('kafka', ({ state }) => state !== 'healthy', 'away');
        await run.kafka.restart();
        await run.acknowledged(100);
        expect((await run.finish()).broken.join('\n')).toMatch(noticed);
      },
      TIMEOUT_MS,
    );
});
