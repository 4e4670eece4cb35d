/** Reading topics back from a real broker: what is there, what is there twice, what is gone, and what cannot be known. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Overloaded, Retryable } from '@libs/pipeline';
import { freePort, lacks, startKafka, type UsedKafka, useKafka } from '@libs/services';
import kafkajs, { type Kafka } from 'kafkajs';
import {
  createKafkaAudit,
  type KafkaAuditOptions,
  type KafkaAuditQuery,
  type KafkaCounts,
  type KafkaReader,
  openKafkaJsReader,
} from '../src/kafka-index.ts';
import {
  blockOf,
  CREATE,
  deliver,
  JOURNAL,
  never,
  range,
  TEST_MS,
  testRow,
  testSink,
  topicName,
} from './kafka-harness.ts';

const HOUR_MS = 3_600_000;
const logger = { debug() {}, info() {}, warn() {}, error() {} };
const nowMs = () => performance.now();
const TYPES = ['item_added', 'item_removed', 'cart_created'] as const;
/** A third of the rows each, by sequence number. */
const mixed = (seq: number) => ({ eventType: TYPES[seq % 3] as string });
const span = (firstSeq: number, lastSeq: number, journal = JOURNAL) => ({ journal, firstSeq, lastSeq });

function figures({ byEventType }: KafkaCounts): Record<string, readonly [number, number]> {
  return Object.fromEntries([...byEventType].map(([type, { stored, duplicates }]) => [type, [stored, duplicates]]));
}

describe.skipIf(lacks({ use: ['kafka'] }))('the Kafka audit on a broker', () => {
  let kafka: UsedKafka;
  let direct: Kafka;
  beforeAll(async () => {
    kafka = await useKafka();
    direct = new kafkajs.Kafka({ brokers: [kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
  }, TEST_MS);
  afterAll(() => kafka?.close(), TEST_MS);

  const open = (signal: AbortSignal) => openKafkaJsReader({ brokers: [kafka.brokers] }, { logger, nowMs }, signal);

  function audit(
    topics: Readonly<Record<string, string>>,
    { openReader = open, ...limits }: Partial<KafkaAuditOptions> & { openReader?: typeof open } = {},
  ) {
    const routes = new Map(Object.entries(topics).map(([type, topic]) => [type, { topic }]));
    const one = createKafkaAudit({ routes, ...limits }, { openReader, nowMs });
    return {
      routes,
      count: (query: Partial<KafkaAuditQuery>, signal = never) =>
        one.count({ ranges: [], fromMs: Date.now(), expected: new Map(), ...query }, signal),
    };
  }

  async function withAdmin<T>(work: (admin: kafkajs.Admin) => Promise<T>): Promise<T> {
    const admin = direct.admin();
    await admin.connect();
    try {
      return await work(admin);
    } finally {
      await admin.disconnect();
    }
  }

  /** Of partition 0. */
  const deleteBefore = (topic: string, offset: string) =>
    withAdmin(async (admin) => {
      // It does not look for the partition's leader by itself.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    });

  async function produce(topic: string, messages: kafkajs.Message[]): Promise<void> {
    const producer = direct.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    await producer.connect();
    await producer.send({ topic, messages });
    await producer.disconnect();
  }

  test(
    'each position of the ranges once by type, copies apart, and nothing is left behind on the cluster',
    async () => {
      const [shared, own] = [topicName('shared'), topicName('own')];
      const { routes, count } = audit({ item_added: shared, item_removed: shared, cart_created: own });
      await using none = testSink({ brokers: kafka.brokers, routes, ...CREATE, batchRowsMax: 70 });
      await using zstd = testSink({ brokers: kafka.brokers, routes, compression: 'zstd' });
      await deliver(none.sink, range(1, 900, mixed));
      // A block that is sent once more by somebody who does not know that it was stored.
      await deliver(zstd.sink, range(601, 1_200, mixed));
      await deliver(zstd.sink, blockOf([testRow(1, { journal: JOURNAL.replace('c0de', 'beef') })], 1));
      // Others write there, too.
      await produce(shared, [
        { value: null },
        { value: 'no JSON at all' },
        { value: '[1,2]' },
        { value: `{"journal":"${JOURNAL}","seq":"7"}` },
        // Our row, written by somebody who orders fields otherwise.
        { value: JSON.stringify({ seq: 3, journal: JOURNAL, eventType: 'item_added' }) },
      ]);
      const groupsBefore = await withAdmin((admin) => admin.listGroups());

      const all = await count({ ranges: [span(1, 1_200)] });
      expect(figures(all)).toEqual({ item_added: [400, 101], item_removed: [400, 100], cart_created: [400, 100] });
      expect(all.caveats).toEqual([]);
      const some = await count({ ranges: [span(4, 6), span(1_000, 5_000)] });
      expect(figures(some)).toEqual({ item_added: [68, 0], item_removed: [68, 0], cart_created: [68, 0] });
      expect(figures(await count({ ranges: [] }))).toEqual({});
      const groups = await withAdmin((admin) => admin.listGroups());
      expect(groups).toEqual(groupsBefore);
    },
    TEST_MS,
  );

  test(
    'messages that were deleted are missing, and the topic that lost them is named',
    async () => {
      const [cut, whole] = [topicName('cut'), topicName('whole')];
      const { routes, count } = audit({ item_added: cut, item_removed: whole });
      const createTopics = { partitions: 1, replicationFactor: 1 };
      await using one = testSink({ brokers: kafka.brokers, routes, createTopics });
      await deliver(one.sink, range(1, 300, mixed));
      await deleteBefore(cut, '5');
      const expected = new Map([
        ['item_added', 100],
        ['item_removed', 100],
      ]);
      const counts = await count({ ranges: [span(1, 300)], expected });
      expect(figures(counts)).toEqual({ item_added: [95, 0], item_removed: [100, 0] });
      expect(counts.caveats).toHaveLength(1);
      expect(counts.caveats[0]).toContain(`${cut} now begins at offset 5 in partition 0`);
      expect(counts.caveats[0]).toContain('the 5 of its events that are not there');
      // What was deleted is nobody's business when nothing that is asked for is missing.
      const later = await count({ ranges: [span(20, 300)], expected: new Map([['item_added', 93]]) });
      expect([later.byEventType.get('item_added')?.stored, later.caveats]).toEqual([94, []]);
    },
    TEST_MS,
  );

  test(
    'what is deleted while it is being read does not stop it',
    async () => {
      const topic = topicName('shrinking');
      await using one = testSink({
        brokers: kafka.brokers,
        topic,
        createTopics: { partitions: 1, replicationFactor: 1 },
      });
      await deliver(one.sink, range(1, 200));
      let hasShrunk = false;
      const openReader = async (signal: AbortSignal): Promise<KafkaReader> => {
        const reader = await open(signal);
        return {
          ...reader,
          async read(...asked) {
            if (!hasShrunk) {
              await deleteBefore(topic, '150');
            }
            hasShrunk = true;
            return reader.read(...asked);
          },
        };
      };
      const { count } = audit({ item_added: topic }, { openReader });
      expect(figures(await count({ ranges: [span(1, 200)] }))).toEqual({ item_added: [50, 0] });
    },
    TEST_MS,
  );

  test(
    'a topic that is not there is said to be missing, is not created, and the others are counted',
    async () => {
      const [here, gone] = [topicName('here'), topicName('gone')];
      await using one = testSink({ brokers: kafka.brokers, topic: here, ...CREATE });
      await deliver(one.sink, range(1, 30));
      const { count } = audit({ item_added: here, cart_created: gone });
      const counts = await count({ ranges: [span(1, 30)] });
      expect(figures(counts)).toEqual({ item_added: [30, 0] });
      expect(counts.caveats).toEqual([
        `The Kafka topic ${gone} is not there: of cart_created nothing is counted in it.`,
      ]);
      expect(await withAdmin((admin) => admin.listTopics())).not.toContain(gone);
    },
    TEST_MS,
  );

  test(
    'older messages are read only when too few are found behind the beginning',
    async () => {
      const topic = topicName('old');
      await withAdmin((admin) => admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true }));
      const at = (seq: number, ageMs: number) => ({
        value: JSON.stringify(testRow(seq)),
        timestamp: String(Date.now() - ageMs),
      });
      await produce(topic, [at(1, 5 * HOUR_MS), at(2, 4 * HOUR_MS)]);
      await produce(topic, [at(3, 0), at(4, 0)]);
      const { count } = audit({ item_added: topic });
      const ranges = [span(1, 10)];
      const enough = await count({ ranges, expected: new Map([['item_added', 2]]) });
      expect(figures(enough)).toEqual({ item_added: [2, 0] });
      const short = await count({ ranges, expected: new Map([['item_added', 3]]) });
      expect(figures(short)).toEqual({ item_added: [4, 0] });
      expect(figures(await count({ ranges, fromMs: Date.now() + 9 * HOUR_MS }))).toEqual({});
    },
    TEST_MS,
  );

  test(
    'a bound that is reached ends it with a sentence',
    async () => {
      const topic = topicName('bounds');
      await using one = testSink({
        brokers: kafka.brokers,
        topic,
        createTopics: { partitions: 2, replicationFactor: 1 },
      });
      await deliver(one.sink, range(1, 9_000));
      const reason = async (limits: Partial<KafkaAuditOptions>): Promise<[string, number]> => {
        const counts = await audit({ item_added: topic }, limits).count({ ranges: [span(1, 9_000)] });
        expect(counts.caveats).toHaveLength(1);
        return [counts.caveats[0] ?? '', counts.byEventType.get('item_added')?.stored ?? 0];
      };
      const [bytes, some] = await reason({ bytesMax: 100_000 });
      expect(bytes).toContain('not read to their ends, because 100000 bytes were read');
      expect(some).toBeGreaterThan(0);
      expect(some).toBeLessThan(9_000);
      expect((await reason({ memoryBytesMax: 4_095 }))[0]).toContain('no room to remember');
      expect(await reason({ timeMsMax: 0 })).toEqual([expect.stringContaining('0 ms were over') as never, 0]);
      const all = await audit({ item_added: topic }, { memoryBytesMax: 4_096 }).count({ ranges: [span(1, 9_000)] });
      expect([figures(all), all.caveats]).toEqual([{ item_added: [9_000, 0] }, []]);
    },
    TEST_MS,
  );

  test(
    'one at a time, and whoever asks can give up',
    async () => {
      const topic = topicName('twice');
      await using one = testSink({ brokers: kafka.brokers, topic, ...CREATE });
      await deliver(one.sink, range(1, 10));
      const reading = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const openReader = async (signal: AbortSignal): Promise<KafkaReader> => {
        const reader = await open(signal);
        return {
          ...reader,
          async read(...asked) {
            reading.resolve();
            await goOn.promise;
            return reader.read(...asked);
          },
        };
      };
      const { count } = audit({ item_added: topic }, { openReader });
      const client = new AbortController();
      const first = count({ ranges: [span(1, 10)] }, client.signal).catch((error: unknown) => error);
      await reading.promise;
      expect(await count({ ranges: [span(1, 10)] }).catch((error: unknown) => error)).toBeInstanceOf(Overloaded);
      const left = new Error('the client has left');
      client.abort(left);
      goOn.resolve();
      expect(await first).toBe(left);
      expect(figures(await count({ ranges: [span(1, 10)] }))).toEqual({ item_added: [10, 0] });
    },
    TEST_MS,
  );

  test(
    'a cluster that does not answer is Retryable',
    async () => {
      const brokers = [`127.0.0.1:${await freePort()}`];
      const openReader = (signal: AbortSignal) => openKafkaJsReader({ brokers }, { logger, nowMs }, signal);
      const counting = audit({ item_added: 'any' }, { openReader }).count({ ranges: [span(1, 10)] });
      const error = (await counting.catch((thrown: unknown) => thrown)) as Retryable;
      expect(error).toBeInstanceOf(Retryable);
      expect([error.code, error.message]).toEqual([
        'kafka_unreachable',
        expect.stringContaining('cannot be read back') as never,
      ]);
    },
    TEST_MS,
  );
});

describe.skipIf(lacks({ start: ['kafka'] }))('the Kafka audit on a broker that fails', () => {
  test(
    'frozen in the middle and killed: Retryable, and all of it once it is back; empty: the topic is missing',
    async () => {
      await using kafka = await startKafka();
      const topic = topicName('failing');
      await using one = testSink({
        brokers: kafka.brokers,
        topic,
        createTopics: { partitions: 1, replicationFactor: 1 },
      });
      await deliver(one.sink, range(1, 3_000));
      let fail: (() => Promise<void>) | undefined;
      const openReader = async (signal: AbortSignal): Promise<KafkaReader> => {
        const limitMs = fail === undefined ? 15_000 : 1_000;
        const connection = { brokers: [kafka.brokers], requestTimeoutMs: limitMs, connectionTimeoutMs: limitMs };
        const reader = await openKafkaJsReader(connection, { logger, nowMs }, signal);
        return {
          ...reader,
          async read(...asked) {
            const failing = fail?.();
            fail = undefined;
            await failing;
            return reader.read(...asked);
          },
        };
      };
      const routes = new Map([['item_added', { topic }]]);
      const audit = createKafkaAudit({ routes }, { openReader, nowMs });
      const query = { ranges: [span(1, 3_000)], fromMs: Date.now(), expected: new Map([['item_added', 3_000]]) };
      const count = () => audit.count(query, never).catch((thrown: unknown) => thrown);

      fail = () => kafka.freeze();
      expect(await count()).toBeInstanceOf(Retryable);
      await kafka.thaw();
      expect(figures((await count()) as KafkaCounts)).toEqual({ item_added: [3_000, 0] });
      fail = () => kafka.kill();
      expect(await count()).toBeInstanceOf(Retryable);
      expect(await count()).toBeInstanceOf(Retryable);
      await kafka.restart();
      const again = (await count()) as KafkaCounts;
      expect([figures(again), again.caveats]).toEqual([{ item_added: [3_000, 0] }, []]);
      await kafka.restartEmpty();
      const empty = (await count()) as KafkaCounts;
      expect([figures(empty), empty.caveats]).toEqual([
        {},
        [`The Kafka topic ${topic} is not there: of item_added nothing is counted in it.`],
      ]);
    },
    TEST_MS,
  );
});
