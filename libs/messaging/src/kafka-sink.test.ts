import { expect, test } from 'bun:test';
import type { KafkaClient } from './kafka-client.ts';
import { createKafkaSink } from './kafka-sink.ts';

const JOURNAL = '018f0000-0000-7000-8000-000000000001';
const logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A cluster with every topic, whose producers answer once they are told to. */
function createHeldClient() {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const client: KafkaClient = {
    findTopics: async (names) => new Map(names.map((name) => [name, { partitions: 1 }])),
    createProducer: () => ({
      connect: async () => {},
      send: () => released.then(() => 0),
      reconnect() {},
      close: async () => {},
    }),
  };
  return { client, release };
}

function rowOf(eventType: string, seq: number): string {
  return `{"storeId":"s","eventType":"${eventType}","eventId":"e${seq}","timestamp":"2025-06-15T12:00:00.000Z","sessionId":"x","data":{},"receivedAt":"2025-06-15T12:00:00.000Z","journal":"${JOURNAL}","seq":${seq}}\n`;
}

test('more topics at a time than there should be producers: none of those at work is closed', async () => {
  const types = Array.from({ length: 300 }, (_, index) => `type_${index}`);
  const { client, release } = createHeldClient();
  const routes = new Map(types.map((type) => [type, { topic: `topic.${type}` }]));
  const sink = createKafkaSink({ routes }, { client, logger, nowMs: () => performance.now() });
  const signal = new AbortController().signal;
  await sink.connect(signal);
  const bytes = Buffer.from(types.map((type, index) => rowOf(type, index + 1)).join(''));
  const block = { journal: JOURNAL, firstSeq: 1, lastSeq: types.length, chunks: [bytes], byteLength: bytes.length };
  const writing = sink.write({ ...block, token: `${JOURNAL}:1-300:0` }, { signal, ambiguous: false });
  await Bun.sleep(0);
  release();
  expect(await writing).toEqual([]);
  await sink.close(signal);
});
