/** The checker of topics, against orders that may and may not be. */
import { expect, test } from 'bun:test';
import type { KafkaMessage } from '@libs/services';
import { digestOf } from './events.ts';
import { checkRuns, compareTopics, type HeldRow, TOPICS } from './kafka-audit.ts';

const RULES = { blockRowsMax: 10 };
const WANTED = [2, 4, 6, 8, 10, 12];

test('each once in order, and a block that begins again', () => {
  expect(checkRuns(WANTED, WANTED, RULES)).toEqual([]);
  expect(checkRuns(WANTED, [2, 4, 6, 8, 6, 8, 10, 12], RULES)).toEqual([]);
  expect(checkRuns(WANTED, [2, 2, 4, 6, 2, 4, 6, 2, 4, 6, 8, 10, 12], RULES)).toEqual([]);
  expect(checkRuns(WANTED, [2, 4, 6, 8, 10, 12, 8, 10], RULES)).toEqual([]);
});

test('what must not be', () => {
  const kinds = (seqs: readonly number[], rules = RULES) =>
    checkRuns(WANTED, seqs, rules).map((one) => one.split(':')[0]);
  expect(kinds([2, 6, 4, 8, 10, 12])).toContain('out of order');
  expect(kinds([2, 4, 8, 10, 12])).toEqual(['out of order']);
  expect(kinds([2, 4, 6, 8, 2, 10, 12])).toEqual(['a repeat that ends in the middle']);
  expect(checkRuns(WANTED, [2, 4, 6, 8, 2, 10, 12], { ...RULES, cutShort: true })).toEqual([]);
  expect(kinds([2, 4, 6, 8, 10, 12, 2])).toEqual(['a repeat of more than a block']);
  expect(kinds([2, 4, 6, 4, 6, 2], { blockRowsMax: 3 })).toEqual(['a repeat of more than a block']);
});

const JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';

function pair(seq: number, over: Partial<KafkaMessage> = {}): readonly [HeldRow, KafkaMessage] {
  const fields = {
    storeId: 'berlin',
    eventId: `event-${seq}`,
    eventType: 'item_added',
    sessionId: 'session',
    userId: null,
    timestamp: '2026-01-01T00:00:00.000Z',
    data: '{"a":1}',
  };
  const value = JSON.stringify({ ...fields, userId: undefined, journal: JOURNAL, seq });
  const headers = [['eventId', fields.eventId]] as const;
  return [
    { ...fields, journal: JOURNAL, seq, digest: digestOf(fields) },
    { partition: 0, offset: seq, timestampMs: 0, key: 'session', value, headers, ...over },
  ];
}

function compared(pairs: readonly (readonly [HeldRow, KafkaMessage])[], held = pairs.map(([row]) => row)) {
  const messages = pairs.map(([, message]) => message);
  const topics = new Map(Object.values(TOPICS).map((topic) => [topic, topic === 'cart.item_added' ? messages : []]));
  return compareTopics(held, topics, RULES).broken.map((sentence) => sentence.split(':')[0]);
}

test('every message is held against its row', () => {
  const [one, two, three] = [pair(1), pair(2), pair(3)];
  expect(compared([one, two, three])).toEqual([]);
  expect(compared([one, three], [one[0], two[0], three[0]])).toEqual(['out of order', 'promised and not on its topic']);
  expect(compared([one, two], [one[0]])).toContain('on a topic and not in the store');
  expect(compared([one, pair(2, { key: 'other' })])).toContain('another key than the session');
  expect(compared([one, pair(2, { headers: [['eventId', 'x']] })])).toContain("another header than the event's id");
  expect(compared([one, pair(2, { headers: [] })])).toContain("another header than the event's id");
  expect(compared([one, pair(2, { partition: 1 })])).toContain('a session on two partitions');
  const changed = (two[1].value ?? '').replace('"data":"{\\"a\\":1}"', '"data":"{\\"a\\":2}"');
  expect(compared([one, pair(2, { value: changed })])).toContain('other content than in the store');
  expect(compared([one, pair(2, { value: null })])).toContain('a tombstone');
});
