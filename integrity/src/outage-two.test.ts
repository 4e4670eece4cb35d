/**
 * Kafka and ClickHouse away at once, with small segments, so that a backlog of many builds up; and reconciling in each of
 * these states, also when rows have vanished behind Weir's back. INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { type ClickHouseProcess, startClickHouseProcess } from '@libs/database/testing';
import { lacks } from '@libs/services';
import { createEventMaker } from './events.ts';
import { createHttpClient } from './http-client.ts';
import { compareTopics, readHeld, readTopics } from './kafka-audit.ts';
import { BLOCK_ROWS_MAX, cleanUpKafka, type KafkaRun, print, startKafkaRun } from './kafka-run.ts';
import { weir } from './outage-command.ts';
import { unbalanced } from './outage-run.ts';
import { pendingEvents } from './scenario.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const SEGMENT_BYTES = 1 << 20;
const BATCHES = 60;
const BATCH_EVENTS = 500;

const stores = new Set<ClickHouseProcess>();

afterEach(async () => {
  await cleanUpKafka();
  for (const store of stores) await store.close();
  stores.clear();
});

/** As a client does: what is refused for the moment is sent again. */
async function sendBacklog(run: KafkaRun): Promise<void> {
  const client = createHttpClient(run.service.url, run.ledger);
  const maker = createEventMaker(run.random, 'backlog', 'backlog');
  for (let n = 0; n < BATCHES; n++) {
    let open = Array.from({ length: BATCH_EVENTS }, maker.good);
    while (open.length > 0) {
      const answers = await client.batch(open, 'lines');
      open = open.filter((_, at) => answers[at] === undefined || answers[at].kind === 'retry');
    }
  }
}

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('Kafka and ClickHouse at once', () => {
  test(
    'a backlog of many segments, drained to both; sums that come out, and one that does not',
    async () => {
      const store = await startClickHouseProcess({});
      stores.add(store);
      const run = await startKafkaRun({
        seed: SEED,
        settings: { CLICKHOUSE_URL: store.url, JOURNAL_SEGMENT_BYTES: String(SEGMENT_BYTES) },
      });
      const { url } = run.service;
      run.load();
      await run.acknowledged(300);
      await run.kafka.freeze();
      await store.kill();
      await run.acknowledged(300);
      await sendBacklog(run);
      const behind = await pendingEvents(url);
      expect(behind).toBeGreaterThan(BATCHES * BATCH_EVENTS);
      const sinks = await run.sinks();
      for (const name of ['store', 'kafka'])
        expect(sinks.find((sink) => sink.name === name)?.pendingEvents).toBeGreaterThan(BATCHES * BATCH_EVENTS);
      await run.kill('deliver');
      await run.acknowledged(200);

      // The store first: it comes and goes once more while Kafka has its backlog before it.
      await store.restart();
      await run.sinkIs('store', ({ pendingEvents: left = behind }) => left < behind, 'on its way');
      await run.kafka.thaw();
      await run.kafka.kill();
      await store.stop();
      await run.kafka.restart();
      await store.restart();
      await run.sinkIs('store', ({ state }) => state === 'healthy', 'healthy');
      const meanwhile = await run.reconcile();
      expect(meanwhile.discrepancies).toEqual([]);
      await run.quiet();
      await run.drained();

      const stored = await run.stored();
      // A segment of 1 MiB is full sooner than a busy machine makes the next one: not what is asked here.
      const broken = run.broken(stored).filter((one) => !one.includes(' were refused: overloaded ('));
      broken.push(...unbalanced(await run.reconcile(), stored));
      const rules = { blockRowsMax: BLOCK_ROWS_MAX, cutShort: true };
      const topics = compareTopics(await readHeld(url), await readTopics(run.kafka.brokers), rules);
      expect({ seed: SEED, broken: [...broken, ...topics.broken] }).toEqual({ seed: SEED, broken: [] });
      print(`${stored.count} stored, ${behind} waited, ${topics.repeats} repeats on topics`);
      expect(await weir(url, 'reconcile')).toMatchObject({
        code: 0,
        out: expect.stringContaining('Everything adds up.'),
      });

      const sql =
        "ALTER TABLE weir.raw_events DELETE WHERE eventType = 'item_added' AND seq % 97 = 5 SETTINGS mutations_sync = 2";
      const answer = await fetch(`${store.url}/`, { method: 'POST', body: sql });
      expect({ status: answer.status, text: await answer.text() }).toEqual({ status: 200, text: '' });
      const { balanced, discrepancies } = await run.reconcile();
      expect(balanced).toBe(false);
      expect(discrepancies.map(({ sink, eventType }) => `${sink} ${eventType}`)).toEqual(['store item_added']);
      const said = await weir(url, 'reconcile');
      expect(said).toMatchObject({
        code: 1,
        out: expect.stringMatching(/acknowledged item_added are neither in store/),
      });
      expect(await run.service.stop()).toBe(0);
    },
    TIMEOUT_MS,
  );
});
