/**
 * The Kafka broker goes away under load, in every way a process or a network can: accept and the store notice nothing, and
 * afterwards every event is on its topic, in order. Read back by kcat. INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks, type ProxyFault } from '@libs/services';
import { away, back, cleanUpKafka, expectRouted, startUnderLoad } from './kafka-run.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpKafka);

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('a Kafka that goes away', () => {
  test(
    'stopped in order, then killed: connections are refused meanwhile',
    async () => {
      const run = await startUnderLoad({ seed: SEED });
      for (const take of [run.kafka.stop, run.kafka.kill]) {
        await take();
        await away(run);
        const { total, balanced } = await run.reconcile();
        expect({ balanced, waits: (total.sinks['kafka']?.pending ?? 0) > 0 }).toEqual({ balanced: true, waits: true });
        await run.kafka.restart();
        await back(run);
      }
      await expectRouted(run);
    },
    TIMEOUT_MS,
  );

  test(
    'a network that refuses, resets, is slow, is silent',
    async () => {
      const run = await startUnderLoad({ seed: SEED, proxied: true });
      const faults: readonly ProxyFault[] = [{ kind: 'refusing' }, { kind: 'resetting' }];
      for (const fault of faults) {
        await run.proxy.fault(fault);
        await away(run);
        await run.proxy.fault({ kind: 'none' });
        await back(run);
      }
      for (const fault of [{ kind: 'slow', delayMs: 150 }, { kind: 'silent' }] as const) {
        await run.proxy.fault(fault);
        await run.acknowledged(600);
        run.proxy.resetConnections();
        await run.acknowledged(300);
        await run.proxy.fault({ kind: 'none' });
        await run.acknowledged(100);
      }
      await expectRouted(run);
    },
    TIMEOUT_MS,
  );
});
