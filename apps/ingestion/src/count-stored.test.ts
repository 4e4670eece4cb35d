import { expect, test } from 'bun:test';
import type { KafkaAudit, KafkaAuditQuery } from '@libs/messaging/kafka';
import { createCountStored } from './count-stored.ts';
import type { CountInterval } from './deliver-operator-backend.ts';

const NEVER = new AbortController().signal;
const RANGES = [
  { journal: 'a', firstSeq: 1, lastSeq: 10 },
  { journal: 'b', firstSeq: 5, lastSeq: 5 },
];

function interval(deep: boolean): CountInterval {
  return { ranges: RANGES, fromMs: 60_000, done: new Map([['cart_updated', 7]]), deep };
}

/** A table with one copy in each range. */
const store = {
  countByJournalRange: async ({ firstSeq, lastSeq }: { readonly firstSeq: number; readonly lastSeq: number }) => [
    { eventType: 'cart_updated', rows: lastSeq - firstSeq + 2, distinct: lastSeq - firstSeq + 1 },
  ],
};

test('the store is counted by position over all ranges, deep or not', async () => {
  const count = createCountStored({ store });
  for (const deep of [false, true]) {
    const { byEventType, source } = (await count('store', interval(deep), NEVER)) ?? {};
    expect(byEventType).toEqual(new Map([['cart_updated', { stored: 11, duplicates: 2 }]]));
    expect(source).toContain('raw_events');
  }
});

test('Kafka is read back when that is asked for; else its figure is what was acknowledged', async () => {
  const asked: KafkaAuditQuery[] = [];
  const kafka: KafkaAudit = {
    async count(query, signal) {
      expect(signal).toBe(NEVER);
      asked.push(query);
      return { byEventType: new Map([['cart_updated', { stored: 6, duplicates: 1 }]]), caveats: ['One is gone.'] };
    },
  };
  const count = createCountStored({ store, kafka });
  const shallow = await count('kafka', interval(false), NEVER);
  expect([shallow?.byEventType, shallow?.caveats, asked]).toEqual([undefined, undefined, []]);
  expect(shallow?.source).toContain('the topics were not read and copies not counted');
  const deep = await count('kafka', interval(true), NEVER);
  expect(deep?.byEventType).toEqual(new Map([['cart_updated', { stored: 6, duplicates: 1 }]]));
  expect(deep?.caveats).toEqual(['One is gone.']);
  expect(deep?.source).toContain('read back from the topics');
  expect(asked).toEqual([expect.objectContaining({ ranges: RANGES, fromMs: 60_000 }) as never]);
  expect(asked[0]?.expected).toEqual(new Map([['cart_updated', 7]]));
});

test('downstream services keep what their cursor has passed', async () => {
  expect(await createCountStored({ store })('http:analytics', interval(true), NEVER)).toBeUndefined();
});

test('what went to another store is not counted in the one of today', async () => {
  const before = await createCountStored({ store, storedElsewhere: { b: 5 } })('store', interval(false), NEVER);
  expect([before?.byEventType, before?.caveats?.length]).toEqual([undefined, 1]);
  const since = await createCountStored({ store, storedElsewhere: { b: 4 } })('store', interval(false), NEVER);
  expect(since?.byEventType?.get('cart_updated')).toEqual({ stored: 11, duplicates: 2 });
});
