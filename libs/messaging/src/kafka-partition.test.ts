import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Partitioners } from 'kafkajs';
import { partitionOf } from './kafka-partition.ts';

const reference = Partitioners.DefaultPartitioner();

function referencePartition(key: string, partitions: number): number {
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
    ...{ partitionErrorCode: 0, partitionId, leader: 1 },
    ...{ replicas: [1], isr: [1], offlineReplicas: [] },
  }));
  return reference({ topic: 't', partitionMetadata, message: { key: Buffer.from(key), value: null } });
}

test('every key goes where the default partitioner puts it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.integer({ min: 1, max: 1_000 }), (key, partitions) => {
      expect(partitionOf(key, partitions)).toBe(referencePartition(key, partitions));
    }),
    { numRuns: 2_000 },
  );
});

test('text outside of ASCII is hashed as UTF-8', () => {
  for (const text of ['', 'a', 'ab', 'abc', 'session-1', 'ключ', '会话', '🛒'.repeat(32)]) {
    expect(partitionOf(text, 12)).toBe(referencePartition(text, 12));
  }
});

test('keys spread over the partitions', () => {
  const counts = new Array(8).fill(0);
  for (let at = 0; at < 8_000; at++) counts[partitionOf(`session-${at}`, 8)]++;
  for (const count of counts) expect(count).toBeWithin(800, 1_200);
});
