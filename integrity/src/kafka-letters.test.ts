/**
 * Messages that the broker refuses for good: each becomes a dead letter alone, and the rest goes on; replayed once the broker's
 * limit is raised; and what happens when there is no room for another one. INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import { createEventMaker, type SentEvent } from './events.ts';
import { createHttpClient } from './http-client.ts';
import { cleanUpKafka, expectRouted, type KafkaRun, startKafkaRun } from './kafka-run.ts';
import { weir } from './outage-command.ts';
import type { SinkView } from './outage-run.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
/** More than a batch of Weir (900,000), less than an event may have. */
const BROKER_BYTES_MAX = 920_000;
const HUGE_BYTES = 960_000;
const SETTINGS = { EVENT_BYTES_MAX: String(1 << 20) };

afterEach(cleanUpKafka);

/** Sends so many events that the broker refuses, among the load; resolves to their positions. */
async function sendHuge(run: KafkaRun, count: number, name: string): Promise<Set<string>> {
  const client = createHttpClient(run.service.url, run.ledger);
  const maker = createEventMaker(run.random, name, name);
  const positions = new Set<string>();
  for (let n = 0; n < count; n++) {
    const events: readonly SentEvent[] = [maker.good(), maker.large(HUGE_BYTES), maker.good()];
    for (const event of events) {
      const answer = await client.single(event);
      expect(answer?.kind).toBe('accepted');
      const position = answer?.kind === 'accepted' ? answer.position : undefined;
      if (event === events[1] && position !== undefined) positions.add(position);
    }
  }
  return positions;
}

async function lettersOf(run: KafkaRun) {
  const reply = await fetch(`${run.service.url}/dead-letters?sink=kafka&limit=100`);
  return ((await reply.json()) as { deadLetters: { id: number; code: string; position?: string }[] }).deadLetters;
}

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('messages that Kafka refuses', () => {
  test(
    'dead letters alone, replayed to Kafka alone once the limit is raised',
    async () => {
      const properties: Record<string, string> = { 'message.max.bytes': String(BROKER_BYTES_MAX) };
      const run = await startKafkaRun({ seed: SEED, properties, settings: SETTINGS });
      run.load();
      await run.acknowledged(300);
      const huge = await sendHuge(run, 3, 'huge');
      await run.sinkIs('kafka', ({ deadLetters }) => deadLetters === huge.size, `rid of ${huge.size} dead letters`);
      await run.acknowledged(300);
      expect((await lettersOf(run)).map(({ code }) => code)).toEqual(Array(3).fill('kafka_message_too_large'));
      await run.kill('deliver');
      await run.acknowledged(300);
      await run.sinkIs('kafka', ({ state }) => state === 'healthy', 'healthy');
      const vain = await weir(run.service.url, 'dlq', 'replay', '--sink', 'kafka');
      expect(vain).toMatchObject({ code: 1, out: expect.stringContaining('kafka_message_too_large') });
      const before = await run.reconcile();
      expect(before.balanced).toBe(true);
      expect(before.total.sinks['kafka']?.deadLettered).toBe(huge.size);

      properties['message.max.bytes'] = String(2 * BROKER_BYTES_MAX);
      await run.kafka.restart();
      const done = await weir(run.service.url, 'dlq', 'replay', '--sink', 'kafka');
      expect(done).toMatchObject({ code: 0, out: expect.stringContaining('3 replayed') });
      expect(await lettersOf(run)).toEqual([]);
      await expectRouted(run, { replayed: huge });
    },
    TIMEOUT_MS,
  );

  test(
    'no room for another dead letter: the sink stops and says so, accept and the store go on, and so does it after a deletion',
    async () => {
      const run = await startKafkaRun({
        seed: SEED,
        properties: { 'message.max.bytes': String(BROKER_BYTES_MAX) },
        settings: { ...SETTINGS, DEAD_LETTER_BYTES_MAX: String(2 << 20) },
      });
      run.load();
      const first = await sendHuge(run, 2, 'first');
      await run.sinkIs('kafka', ({ deadLetters }) => deadLetters === first.size, 'rid of two dead letters');
      const more = await sendHuge(run, 2, 'more');
      const isFull = ({ stopped = '', lastError = '' }: Partial<SinkView>) => /dead letter/.test(stopped + lastError);
      const full = await run.sinkIs('kafka', isFull, 'stopped');
      expect(full).toMatchObject({ state: 'unhealthy', deadLetters: 2 });
      await until(async () => {
        const health = await run.ask<{ services: { kafka?: SinkView } }>('/health');
        return isFull(health.services.kafka ?? {});
      }, '/health says so, too');
      await run.acknowledged(500);
      await run.sinkIs('store', ({ pendingEvents = 0 }) => pendingEvents < 500, 'going on');
      expect((await run.reconcile()).balanced).toBe(true);
      expect((await lettersOf(run)).length).toBe(2);

      const gone = await weir(run.service.url, 'dlq', 'delete', '--sink', 'kafka');
      expect(gone).toMatchObject({ code: 0, out: '2 deleted.\n' });
      await run.sinkIs('kafka', ({ state, deadLetters }) => state === 'healthy' && deadLetters === 2, 'going on');
      const { total } = await run.reconcile();
      expect(total.sinks['kafka']).toMatchObject({ deadLettered: 2, deleted: 2, difference: 0 });
      await expectRouted(run, { deadLetters: new Set([...first, ...more]) });
    },
    TIMEOUT_MS,
  );
});
