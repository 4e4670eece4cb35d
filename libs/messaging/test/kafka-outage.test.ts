import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Retryable } from '@libs/pipeline';
import { type Kafka, lacks, readTopic, startKafka } from '@libs/services';
import { createRequestBuffers, type RequestBuffers } from '../src/kafka-buffers.ts';
import { type AckLossProxy, startAckLossProxy } from './kafka-ack-loss.ts';
import {
  CREATE,
  deliver,
  disorderly,
  FIRST,
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

const POLL_MS = 10;
async function until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < deadlineMs) await Bun.sleep(POLL_MS);
  return condition();
}

describe.skipIf(lacks({ start: ['kafka', 'kcat'] }))('the Kafka sink while its broker fails', () => {
  let proxy: AckLossProxy;
  let kafka: Kafka;
  beforeAll(async () => {
    proxy = await startAckLossProxy();
    kafka = await startKafka({ proxyPort: proxy.port });
    proxy.target = kafka.proxyTarget;
  }, TEST_MS);
  afterAll(async () => {
    await kafka?.close();
    await proxy?.[Symbol.asyncDispose]();
  }, TEST_MS);

  /** Everything is there, without gaps, in order per session; returns how many messages there are. */
  async function expectAll(topic: string, lastSeq: number): Promise<number> {
    const messages = await readTopic({ brokers: kafka.brokers, topic });
    expect(sorted([...new Set(rowsOf(messages).map(({ seq }) => seq))])).toEqual(upTo(1, lastSeq));
    expect(disorderly(messages)).toEqual([]);
    return messages.length;
  }

  test.each([1, 2, 5])(
    '%d answers are lost after the broker had stored the batch: nothing is there twice',
    async (answers) => {
      const topic = topicName('lost-acks');
      const brokers = `127.0.0.1:${proxy.port}`;
      await using one = testSink({ brokers, topic, ...CREATE, batchRowsMax: 50 });
      await deliver(one.sink, range(1, 300));
      const before = proxy.lost();
      proxy.lose(answers);
      await deliver(one.sink, range(301, 900));
      expect(proxy.lost() - before).toBe(answers);
      await deliver(one.sink, range(901, 1_000));
      expect(await expectAll(topic, 1_000)).toBe(1_000);
      expect(one.stored.reduce((sum, { count }) => sum + count, 0)).toBe(1_000);
    },
    TEST_MS,
  );

  test(
    'the memory of a request is used again only after the broker has answered it',
    async () => {
      const topic = topicName('buffers');
      const own = createRequestBuffers();
      let taken = 0;
      let given = 0;
      const buffers: RequestBuffers = {
        take(bytes) {
          taken += 1;
          return own.take(bytes);
        },
        give(buffer) {
          given += 1;
          // Whoever still had to send it would send this.
          own.give(buffer.fill(0xff));
        },
      };
      await using one = testSink({ brokers: `127.0.0.1:${proxy.port}`, topic, ...CREATE, batchRowsMax: 50, buffers });
      await deliver(one.sink, range(1, 300));
      expect(given).toBe(taken);
      const before = proxy.lost();
      proxy.lose(3);
      await deliver(one.sink, range(301, 600));
      expect(proxy.lost() - before).toBe(3);
      expect(taken - given).toBe(3);
      await deliver(one.sink, range(601, 900));
      expect(await expectAll(topic, 900)).toBe(900);
    },
    TEST_MS,
  );

  test.each(['stop', 'kill'] as const)(
    'the broker restarts in mid-load (%s): all rows arrive, in order',
    async (how) => {
      const topic = topicName('restart');
      await using one = testSink({
        brokers: kafka.brokers,
        topic,
        ...CREATE,
        batchRowsMax: 25,
        connectionTimeoutMs: 500,
      });
      await deliver(one.sink, range(1, 200));
      let restarting: Promise<void> | undefined;
      for (let block = 1; block <= 20; block++) {
        if (block === 5) restarting = kafka[how]().then(() => kafka.restart());
        await deliver(one.sink, range(block * 200 + 1, block * 200 + 200));
      }
      await restarting;
      // The one batch that was on its way may be there twice if the broker forgot who had sent it.
      expect(await expectAll(topic, 4_200)).toBeLessThanOrEqual(4_225);
      expect(one.sink.health().state).toBe('healthy');
    },
    TEST_MS,
  );

  test(
    'a frozen broker: writes end as ambiguous, and once it goes on nothing is there twice',
    async () => {
      const topic = topicName('frozen');
      await using one = testSink({
        brokers: kafka.brokers,
        topic,
        ...CREATE,
        requestTimeoutMs: 400,
        batchRowsMax: 100,
      });
      await deliver(one.sink, range(1, 200));
      await kafka.freeze();
      try {
        for (let attempt = 0; attempt < 2; attempt++) {
          const error = await one.sink.write(range(201, 800), FIRST).catch((caught: unknown) => caught);
          expect(error).toBeInstanceOf(Retryable);
          expect((error as Retryable).ambiguous).toBeTrue();
        }
        expect(one.sink.health().state).toBe('unhealthy');
      } finally {
        await kafka.thaw();
      }
      await deliver(one.sink, range(201, 800));
      await deliver(one.sink, range(801, 1_000));
      expect(await expectAll(topic, 1_000)).toBe(1_000);
    },
    TEST_MS,
  );

  test(
    'a write that is given up ends at once, and what it had sent is not sent again',
    async () => {
      const topic = topicName('given-up');
      await using one = testSink({ brokers: `127.0.0.1:${proxy.port}`, topic, ...CREATE, batchRowsMax: 100 });
      await deliver(one.sink, range(1, 200));
      await kafka.freeze();
      const before = proxy.produced();
      const givingUp = new AbortController();
      const write = one.sink
        .write(range(201, 800), { ...FIRST, signal: givingUp.signal })
        .catch((caught: unknown) => caught);
      expect(await until(() => proxy.produced() > before, 10_000)).toBeTrue();
      givingUp.abort(new Error('enough'));
      const error = await write;
      expect(error).toMatchObject({ code: 'aborted', ambiguous: true });
      await kafka.thaw();
      await deliver(one.sink, range(201, 800));
      expect(await expectAll(topic, 800)).toBe(800);
    },
    TEST_MS,
  );

  test(
    'closing while the broker is frozen ends at its deadline',
    async () => {
      const topic = topicName('close');
      const one = testSink({ brokers: `127.0.0.1:${proxy.port}`, topic, ...CREATE });
      await deliver(one.sink, range(1, 100));
      await kafka.freeze();
      try {
        const before = proxy.produced();
        const write = one.sink.write(range(101, 200), FIRST).catch((caught: unknown) => caught);
        expect(await until(() => proxy.produced() > before, 10_000)).toBeTrue();
        const deadline = new AbortController();
        let isClosed = false;
        const closed = one.sink.close(deadline.signal).then(() => {
          isClosed = true;
        });
        expect(isClosed).toBeFalse();
        deadline.abort();
        await closed;
        expect(await write).toBeInstanceOf(Retryable);
        for (const call of [() => one.sink.write(range(101, 200), FIRST), () => one.sink.connect(never)]) {
          expect(await call().catch((caught: unknown) => caught)).toMatchObject({ code: 'sink_closed' });
        }
      } finally {
        await kafka.thaw();
      }
    },
    TEST_MS,
  );

  test(
    'the broker comes back empty: topics are made anew and everything after the last answer arrives, in order',
    async () => {
      const topic = topicName('empty');
      await using one = testSink({ brokers: kafka.brokers, topic, ...CREATE, connectionTimeoutMs: 500 });
      for (let block = 0; block < 3; block++) await deliver(one.sink, range(block * 100 + 1, block * 100 + 100));
      await kafka.restartEmpty();
      for (let block = 3; block < 8; block++) await deliver(one.sink, range(block * 100 + 1, block * 100 + 100));
      const messages = await readTopic({ brokers: kafka.brokers, topic });
      expect(sorted(rowsOf(messages).map(({ seq }) => seq))).toEqual(upTo(301, 800));
      expect(disorderly(messages)).toEqual([]);
    },
    TEST_MS,
  );

  test(
    'a topic is deleted and made anew while we write, by us or by somebody else: the others never notice',
    async () => {
      const [stays, goes] = [topicName('stays'), topicName('goes')];
      const routes = new Map([
        ['item_added', { topic: stays }],
        ['item_removed', { topic: goes }],
      ]);
      await using one = testSink({ brokers: kafka.brokers, routes, ...CREATE });
      const block = (at: number) =>
        range(at * 50 + 1, at * 50 + 50, (seq) => ({ eventType: seq % 2 === 0 ? 'item_added' : 'item_removed' }));
      await deliver(one.sink, block(0));
      await deleteTopic(kafka.brokers, goes);
      for (let at = 1; at < 5; at++) await deliver(one.sink, block(at));
      expect(sorted(await readSeqs(kafka.brokers, stays))).toEqual(upTo(1, 250).filter((seq) => seq % 2 === 0));
      expect(sorted(await readSeqs(kafka.brokers, goes))).toEqual(upTo(51, 250).filter((seq) => seq % 2 === 1));
    },
    TEST_MS,
  );

  test(
    'nothing of all this reaches stdout or stderr by itself',
    async () => {
      const topic = topicName('quiet');
      const child = Bun.spawn([process.execPath, `${import.meta.dir}/kafka-quiet.child.ts`, kafka.brokers, topic], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, NODE_ENV: 'production' },
      });
      const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
      expect({ out, err, code }).toEqual({ out: 'done\n', err: '', code: 0 });
      expect(sorted(await readSeqs(kafka.brokers, topic))).toEqual(upTo(1, 400));
    },
    TEST_MS,
  );

  async function deleteTopic(brokers: string, topic: string): Promise<void> {
    const { Kafka: KafkaJs, logLevel } = await import('kafkajs');
    const admin = new KafkaJs({ brokers: [brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    await admin.deleteTopics({ topics: [topic] });
    // The broker learns of it a moment later: what is written until then goes with the topic.
    while ((await admin.listTopics()).includes(topic)) await Bun.sleep(5);
    await admin.disconnect();
  }

  test('a sink that never wrote closes', async () => {
    const { sink } = testSink({ brokers: kafka.brokers, topic: 'unused' });
    await sink.close(never);
  });
});
