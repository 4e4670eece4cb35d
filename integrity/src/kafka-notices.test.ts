/** The proof that the checks can fail: Kafka goes away and comes back with one rule of its sink switched off. */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import type { Rewrite } from './fault-source.preload.ts';
import { cleanUpKafka, HASTY, startKafkaRun } from './kafka-run.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpKafka);

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('the checks notice', () => {
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
      `that ${name}`,
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
