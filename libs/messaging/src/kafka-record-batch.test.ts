/** What is written here is, byte for byte, what kafkajs writes message by message. */
import { expect, test } from 'bun:test';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import type { KafkaMessage } from './kafka-client.ts';
import { encodeProduce, type ProduceRequest, produceBytesMax, recordsOf, sequenceAfter } from './kafka-record-batch.ts';

interface LibraryRequest {
  encode(): Promise<{ readonly buffer: Buffer }>;
}

const requestV3 = createRequire(import.meta.url)('kafkajs/src/protocol/requests/produce/v3/request') as (
  of: object,
) => LibraryRequest;

type Head = Omit<ProduceRequest, 'records'>;

async function byLibrary(messages: readonly KafkaMessage[], head: Head): Promise<Buffer> {
  const { topic, partition, timeoutMs: timeout, timeMs: timestamp, firstSequence, ...identity } = head;
  const given = messages.map(({ key, value, eventId }) => {
    return { key: Buffer.from(key), value: Buffer.from(value), headers: { eventId }, timestamp };
  });
  const topicData = [{ topic, partitions: [{ partition, firstSequence, messages: given }] }];
  const { buffer } = await requestV3({ acks: -1, timeout, compression: 0, ...identity, topicData }).encode();
  return buffer;
}

function byUs(messages: readonly KafkaMessage[], head: Head): Buffer {
  const records = recordsOf(messages);
  // Whatever stood in the buffer before.
  const room = Buffer.alloc(produceBytesMax(head.topic, records), 0xa5);
  return encodeProduce({ ...head, records }, room);
}

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ maxLength: 300 }), fc.constant('🛒'));
const message = fc.record({ key: text, value: fc.uint8Array({ maxLength: 200 }), eventId: text });
const head = fc.record({
  topic: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
  partition: fc.nat({ max: 2 ** 31 - 1 }),
  timeoutMs: fc.nat({ max: 2 ** 31 - 1 }),
  timeMs: fc.integer({ min: 1, max: 2 ** 50 }),
  producerId: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String),
  producerEpoch: fc.nat({ max: 2 ** 15 - 1 }),
  firstSequence: fc.nat({ max: 2 ** 31 - 1 }),
});

test('any messages', async () => {
  const messages = fc.array(message, { minLength: 1, maxLength: 150, size: 'max' });
  await fc.assert(
    fc.asyncProperty(messages, head, async (given, of) => {
      expect(byUs(given, of).equals(await byLibrary(given, of))).toBe(true);
    }),
    { numRuns: 150 },
  );
});

test('lengths around every size that a number can take, and more messages than two bytes count', async () => {
  const of = { topic: 't', partition: 0, timeoutMs: 1, timeMs: 1, producerId: '7', producerEpoch: 0, firstSequence: 0 };
  const around = (size: number) => [size - 2, size - 1, size, size + 1];
  const lengths = [0, 1, ...around(0x40), ...around(0x2000), ...around(0x10_0000)];
  const value = new Uint8Array(1);
  const large = lengths.map((length) => ({ key: 'k', value: new Uint8Array(length).fill(length), eventId: 'e' }));
  const long = lengths.map((length) => ({ key: 'k'.repeat(length), value, eventId: 'é'.repeat(length) }));
  const many = Array.from({ length: 8_200 }, (_, at) => ({ key: `${at}`, value, eventId: `${at}` }));
  for (const messages of [large, long, many]) {
    expect(byUs(messages, of).equals(await byLibrary(messages, of))).toBe(true);
  }
});

test('sequence numbers begin again behind the last of 31 bits, as brokers expect', () => {
  expect(sequenceAfter(0, 500)).toBe(500);
  expect(sequenceAfter(2 ** 31 - 500, 500)).toBe(0);
  expect(sequenceAfter(2 ** 31 - 1, 500)).toBe(499);
});
