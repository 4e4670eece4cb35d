import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { cutBatches } from './kafka-batches.ts';
import { recordsOf } from './kafka-record-batch.ts';

const text = fc.oneof(
  fc.string({ maxLength: 60, size: 'max' }),
  fc.string({ unit: fc.constantFrom('é', '会', '🛒'), maxLength: 60, size: 'max' }),
);
const message = fc.record({ key: text, value: fc.uint8Array({ maxLength: 200 }), eventId: text });

test('no batch of several messages takes more bytes than it may, whatever the script of keys and ids', () => {
  const messages = fc.array(message, { minLength: 1, maxLength: 30, size: 'max' });
  fc.assert(
    fc.property(messages, fc.integer({ min: 1, max: 10_000 }), (given, batchBytesMax) => {
      const rows = given.map((one, seq) => ({ ...one, seq, partition: 0 }));
      const batches = cutBatches(rows, { batchRowsMax: 1_000, batchBytesMax });
      expect(batches.flat()).toEqual(rows);
      for (const batch of batches) {
        const records = recordsOf(batch);
        const bytes = records.write(Buffer.alloc(records.bytesMax), 0);
        expect(batch.length === 1 || bytes <= batchBytesMax).toBe(true);
      }
    }),
    { numRuns: 300, endOnFailure: true },
  );
});
