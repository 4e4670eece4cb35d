import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Overloaded, Retryable } from '@libs/pipeline';
import { lacks, readTopic, type UsedKafka, useKafka } from '@libs/services';
import { KAFKA_COMPRESSIONS } from '../src/kafka-index.ts';
import {
  CREATE,
  deliver,
  disorderly,
  FIRST,
  JOURNAL,
  never,
  range,
  readSeqs,
  rowsOf,
  sorted,
  TEST_MS,
  testSink,
  topicName,
  upTo,
} from './kafka-harness.ts';

describe.skipIf(lacks({ use: ['kafka'], start: ['kcat'] }))('the Kafka sink on a broker', () => {
  let kafka: UsedKafka;
  beforeAll(async () => {
    kafka = await useKafka();
  }, TEST_MS);
  afterAll(() => kafka?.close(), TEST_MS);

  test.each([...KAFKA_COMPRESSIONS])(
    'key, value and header arrive as they are, compression %s',
    async (compression) => {
      const topic = topicName('round-trip');
      await using one = testSink({ brokers: kafka.brokers, topic, compression, ...CREATE });
      const block = range(1, 1_200);
      await one.sink.connect(never);
      expect(await one.sink.write(block, FIRST)).toEqual([]);

      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(sorted(rowsOf(messages).map(({ seq }) => seq))).toEqual(upTo(1, 1_200));
      const lines = Buffer.from(block.chunks[0] ?? [])
        .toString()
        .split('\n');
      for (const { key, value, headers } of messages) {
        const { seq } = JSON.parse(value ?? '');
        expect(value).toBe(lines[seq - 1] ?? '');
        expect(key).toBe(`session-${seq % 17}`);
        expect(headers).toEqual([['eventId', `event-${seq}`]]);
      }
      expect(disorderly(messages)).toEqual([]);
      expect(one.sink.health().state).toBe('healthy');
    },
    TEST_MS,
  );

  test(
    'however long the name is under which we go',
    async () => {
      const topic = topicName('long-name');
      for (const [clientId, first] of [
        ['w'.repeat(200), 1],
        ['w'.repeat(300), 601],
      ] as const) {
        await using one = testSink({ brokers: kafka.brokers, topic, clientId, ...CREATE });
        await one.sink.connect(never);
        expect(await one.sink.write(range(first, first + 599), FIRST)).toEqual([]);
      }
      expect(sorted(await readSeqs(kafka.brokers, topic))).toEqual(upTo(1, 1_200));
    },
    TEST_MS,
  );

  test(
    'says which offsets the broker gave, and they are where the messages stand',
    async () => {
      const topic = topicName('offsets');
      await using one = testSink({ brokers: kafka.brokers, topic, ...CREATE, batchRowsMax: 40 });
      await deliver(one.sink, range(1, 300));
      await deliver(one.sink, range(301, 450));
      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(one.stored.reduce((sum, { count }) => sum + count, 0)).toBe(450);
      const told = one.stored.flatMap(({ journal, partition, firstOffset = -1, lastOffset = -2 }) => {
        expect(journal).toBe(JOURNAL);
        return upTo(firstOffset, lastOffset).map((offset) => `${partition}:${offset}`);
      });
      expect(told.toSorted()).toEqual(messages.map(({ partition, offset }) => `${partition}:${offset}`).toSorted());
      expect(Math.max(...one.stored.map(({ count }) => count))).toBe(40);
    },
    TEST_MS,
  );

  test(
    'each type goes to its topic, others nowhere, and only the rows that are asked for',
    async () => {
      const [added, removed] = [topicName('added'), topicName('removed')];
      const routes = new Map([
        ['item_added', { topic: added }],
        ['item_removed', { topic: removed }],
      ]);
      await using one = testSink({ brokers: kafka.brokers, routes, ...CREATE });
      const types = ['item_added', 'item_removed', 'cart_created'];
      const block = range(1, 30, (seq) => ({ eventType: types[seq % 3] }));
      await one.sink.connect(never);
      expect(await one.sink.write(block, { ...FIRST, only: new Set([3, 4, 5, 9]) })).toEqual([]);
      expect(sorted(await readSeqs(kafka.brokers, added))).toEqual([3, 9]);
      expect(sorted(await readSeqs(kafka.brokers, removed))).toEqual([4]);
      expect(
        await one.sink.write(
          range(31, 40, () => ({ eventType: 'cart_created' })),
          FIRST,
        ),
      ).toEqual([]);
    },
    TEST_MS,
  );

  test(
    'a message that is too large is found in a batch of 1,000 and refused alone, in whatever place',
    async () => {
      const topic = topicName('too-large');
      const large = new Set([1, 500, 777, 1_000]);
      const createTopics = { partitions: 1, replicationFactor: 1, config: { 'max.message.bytes': '100000' } };
      const options = { createTopics, batchRowsMax: 1_000, batchBytesMax: 10_000_000 };
      await using one = testSink({ brokers: kafka.brokers, topic, ...options });
      const text = 'x'.repeat(120_000);
      await one.sink.connect(never);
      const failures = await one.sink.write(
        range(1, 1_000, (seq) => (large.has(seq) ? { data: { text } } : {})),
        FIRST,
      );
      expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual(
        [...large].map((seq) => [seq, 'kafka_message_too_large', true]),
      );
      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(rowsOf(messages).map(({ seq }) => seq)).toEqual(upTo(1, 1_000).filter((seq) => !large.has(seq)));
      await deliver(one.sink, range(1_001, 1_100));
      expect((await readSeqs(kafka.brokers, topic)).slice(-100)).toEqual(upTo(1_001, 1_100));
    },
    TEST_MS,
  );

  test(
    'a missing topic that may not be created: an operator is told at once, rows wait a while, then only they are refused',
    async () => {
      const [there, missing] = [topicName('there'), topicName('missing')];
      const routes = new Map([
        ['item_added', { topic: there }],
        ['item_removed', { topic: missing }],
      ]);
      const clock = { ms: 0 };
      await using first = testSink({ brokers: kafka.brokers, topic: there, ...CREATE });
      await first.sink.connect(never);
      await using one = testSink({ brokers: kafka.brokers, routes, nowMs: () => clock.ms, topicMissingMaxMs: 30_000 });
      await one.sink.connect(never);
      expect(one.sink.topicProblems()).toEqual([expect.stringContaining(missing)]);
      expect(one.log.filter(({ level }) => level === 'error')).toHaveLength(1);
      expect(one.sink.health()).toMatchObject({ state: 'degraded', lastError: expect.stringContaining(missing) });

      const block = range(1, 20, (seq) => ({ eventType: seq % 2 === 0 ? 'item_added' : 'item_removed' }));
      const odd = upTo(1, 20).filter((seq) => seq % 2 === 1);
      const early = await one.sink.write(block, FIRST);
      expect(early.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual(
        odd.map((seq) => [seq, 'kafka_unknown_topic', false]),
      );
      clock.ms = 29_999;
      const waiting = await one.sink.write(block, { ...FIRST, only: new Set(odd) }).catch((error: unknown) => error);
      expect(waiting).toBeInstanceOf(Retryable);
      expect(waiting).toMatchObject({ code: 'kafka_unknown_topic', ambiguous: false });
      clock.ms = 40_000;
      const late = await one.sink.write(block, { ...FIRST, only: new Set(odd) });
      expect(late.map(({ seq, permanent }) => [seq, permanent])).toEqual(odd.map((seq) => [seq, true]));
      expect(sorted(await readSeqs(kafka.brokers, there))).toEqual(upTo(1, 20).filter((seq) => seq % 2 === 0));
    },
    TEST_MS,
  );

  test(
    'a topic that appears while rows wait for it gets them all, in order',
    async () => {
      const topic = topicName('late');
      const clock = { ms: 0 };
      await using one = testSink({ brokers: kafka.brokers, topic, nowMs: () => clock.ms });
      await one.sink.connect(never);
      const block = range(1, 200);
      expect(await one.sink.write(block, FIRST).catch((error: unknown) => error)).toBeInstanceOf(Retryable);
      await using other = testSink({ brokers: kafka.brokers, topic, ...CREATE });
      await other.sink.connect(never);
      clock.ms = 6_000;
      expect(await deliver(one.sink, block)).toEqual([]);
      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(sorted(rowsOf(messages).map(({ seq }) => seq))).toEqual(upTo(1, 200));
      expect(disorderly(messages)).toEqual([]);
      expect(one.sink.health().state).toBe('healthy');
    },
    TEST_MS,
  );

  test(
    'topics are created as told, and what a cluster refuses to create is said, not hidden',
    async () => {
      const topic = topicName('created');
      const createTopics = { partitions: 7, replicationFactor: 1, config: { 'retention.ms': '123456789' } };
      await using one = testSink({ brokers: kafka.brokers, topic, createTopics });
      await one.sink.connect(never);
      await deliver(
        one.sink,
        range(1, 500, (seq) => ({ sessionId: `s-${seq}` })),
      );
      expect(new Set(one.stored.map(({ partition }) => partition)).size).toBe(7);
      await using two = testSink({
        brokers: kafka.brokers,
        topic: topicName('impossible'),
        createTopics: { partitions: 1, replicationFactor: 9 },
      });
      await two.sink.connect(never);
      expect(two.sink.topicProblems()).toEqual([expect.stringContaining('INVALID_REPLICATION_FACTOR')]);
    },
    TEST_MS,
  );

  test(
    'two journals write at once, each in order',
    async () => {
      const topic = topicName('journals');
      await using one = testSink({ brokers: kafka.brokers, topic, ...CREATE, batchRowsMax: 20 });
      await one.sink.connect(never);
      const journals = ['a', 'b'].map((name) =>
        Array.from({ length: 5 }, (_, at) => ({
          ...range(at * 100 + 1, at * 100 + 100, (seq) => ({ sessionId: `${name}-${seq % 9}` })),
          journal: name,
        })),
      );
      await Promise.all(
        journals.map(async (blocks) => {
          for (const block of blocks) await deliver(one.sink, block);
        }),
      );
      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(messages).toHaveLength(1_000);
      expect(disorderly(messages)).toEqual([]);
    },
    TEST_MS,
  );
});

test('a cluster that refuses connections: retryable, nothing was stored, and it says so', async () => {
  await using one = testSink({ brokers: '127.0.0.1:1', topic: 'unreachable' });
  for (const call of [() => one.sink.connect(never), () => one.sink.write(range(1, 10), FIRST)]) {
    const error = await call().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Retryable);
    expect(error).not.toBeInstanceOf(Overloaded);
    expect(error).toMatchObject({ code: 'kafka_unreachable' });
  }
  expect(one.sink.health()).toMatchObject({ state: 'unhealthy', lastError: expect.stringContaining('Kafka') });
  expect(one.log.filter(({ level }) => level !== 'debug')).toEqual([]);
}, 60_000);

test.each(['', 'localhost', ':9092', 'a:b', 'kafka://a:9092', '[::1]:9092'])('%p is no broker', (broker) => {
  expect(() => testSink({ brokers: broker })).toThrow(TypeError);
});
