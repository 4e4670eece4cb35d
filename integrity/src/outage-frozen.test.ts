/** Kafka frozen for a few seconds under a steady load, as `outage-frozen.ts` does it for a minute. */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import { cleanUpKafka } from './kafka-run.ts';
import { runFreeze } from './outage-frozen.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpKafka);

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('a Kafka that is frozen', () => {
  test(
    'no event is refused, and every one is on its topic, in order',
    async () => {
      const { broken, backlog } = await runFreeze({ seed: SEED, freezeSeconds: 8, eventsPerSecond: 1_000 });
      expect({ seed: SEED, broken }).toEqual({ seed: SEED, broken: [] });
      // Something did wait.
      expect(backlog).toBeGreaterThan(1_000);
    },
    TIMEOUT_MS,
  );
});
