/**
 * The Kafka broker is frozen or gone while our own processes are killed: what may stand on a topic twice then is the block that
 * was in flight, and nothing else. INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, test } from 'bun:test';
import { lacks } from '@libs/services';
import { away, cleanUpKafka, expectRouted, startUnderLoad } from './kafka-run.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpKafka);

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('a Kafka that is away while we are killed', () => {
  test(
    'frozen and gone while deliver, accept and everything is killed',
    async () => {
      const run = await startUnderLoad({ seed: SEED });
      for (const victim of ['deliver', 'accept', 'all'] as const) {
        await run.kafka.freeze();
        await run.acknowledged(200);
        await run.kill(victim);
        await run.acknowledged(200);
        await run.kafka.thaw();
        await run.acknowledged(100);
      }
      await run.kafka.kill();
      await run.kill('deliver');
      await away(run);
      await run.kafka.restart();
      await run.kill('deliver');
      await expectRouted(run);
    },
    TIMEOUT_MS,
  );
});
