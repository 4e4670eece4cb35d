/** The checker itself: each promise that it looks after, broken by hand. */
import { expect, test } from 'bun:test';
import { compare, type Stored } from './audit.ts';
import type { SentEvent } from './events.ts';
import { createLedger } from './ledger.ts';

type Row = { readonly key: string; readonly seq: number; readonly digest?: bigint };

function event(key: string): SentEvent {
  return { key, eventId: key, text: '{}', digest: key === 'bad' ? undefined : 7n };
}

function storedRows(rows: readonly Row[], more: Partial<Stored> = {}): Stored {
  const byKey = new Map<string, { position: string; digest: bigint }[]>();
  for (const { key, seq, digest = 7n } of rows) {
    const list = byKey.get(key) ?? [];
    byKey.set(key, list);
    list.push({ position: `j:${seq}`, digest });
  }
  const last = Math.max(0, ...rows.map(({ seq }) => seq));
  return {
    rows: byKey,
    count: rows.length,
    journals: new Map([['j', { rows: rows.length, first: 1, last }]]),
    view: { rows: byKey.size, keys: byKey.size },
    countByType: new Map(),
    ...more,
  };
}

/** Three events: a accepted at 1, b told to be a duplicate, c never answered; and a bad one. */
function ledgerOf() {
  const ledger = createLedger();
  for (const key of ['a', 'b', 'c']) ledger.sent(event(key));
  ledger.sent(event('bad'));
  ledger.answered(event('a'), { kind: 'accepted', position: 'j:1' });
  ledger.answered(event('b'), { kind: 'duplicate' });
  return ledger;
}

const KEPT: readonly Row[] = [
  { key: 'a', seq: 1 },
  { key: 'b', seq: 2 },
];

test('nothing is said when every promise was kept, whatever became of what was never answered', () => {
  expect(compare(ledgerOf(), storedRows(KEPT))).toEqual([]);
  expect(compare(ledgerOf(), storedRows([...KEPT, { key: 'c', seq: 3 }]))).toEqual([]);
});

const cases: readonly (readonly [string, Stored])[] = [
  ['promised and not stored: b', storedRows([{ key: 'a', seq: 1 }])],
  ['stored more than once: a', storedRows([...KEPT, { key: 'a', seq: 3 }])],
  ['stored more than once: c', storedRows([...KEPT, { key: 'c', seq: 3 }, { key: 'c', seq: 4 }])],
  [
    'stored with other content than was sent: b',
    storedRows([
      { key: 'a', seq: 1 },
      { key: 'b', seq: 2, digest: 8n },
    ]),
  ],
  [
    'stored elsewhere than was said: a',
    storedRows([
      { key: 'a', seq: 2 },
      { key: 'b', seq: 1 },
    ]),
  ],
  ['bad and stored all the same: bad', storedRows([...KEPT, { key: 'bad', seq: 3 }])],
  ['stored and never sent: x', storedRows([...KEPT, { key: 'x', seq: 3 }])],
  ['sequence numbers with gaps or repeats: j', storedRows([...KEPT, { key: 'c', seq: 4 }])],
  ['the view differs', storedRows(KEPT, { view: { rows: 3, keys: 2 } })],
];

for (const [sentence, stored] of cases)
  test(`it says "${sentence}"`, () => {
    const broken = compare(ledgerOf(), stored);
    expect(broken).toHaveLength(1);
    expect(broken[0]).toStartWith(sentence);
  });

test('it says when events of one connection stand in another order than they were sent in', () => {
  const ledger = ledgerOf();
  const order = ledger.newOrder('session');
  order.accepted(2, 'j:1');
  order.accepted(1, 'j:2');
  expect(compare(ledger, storedRows(KEPT))).toEqual(['out of order: session: 1 after 2']);
});

test('it says when a batch that is all or nothing is stored in part, or one that is nothing at all', () => {
  const ledger = ledgerOf();
  ledger.sentTogether({ keys: ['a', 'c'], may: 'all or none' });
  ledger.sentTogether({ keys: ['c', 'd'], may: 'none' });
  expect(compare(ledger, storedRows(KEPT))).toEqual([
    'stored in part: 1 of 2 events, a and so on, of which all or none may be',
  ]);
  expect(compare(ledger, storedRows([...KEPT, { key: 'c', seq: 3 }]))).toEqual([
    'stored in part: 1 of 2 events, c and so on, of which none may be',
  ]);
});

test('it says when an answer contradicts what was sent, or another answer', () => {
  const ledger = ledgerOf();
  ledger.answered(event('bad'), { kind: 'accepted' });
  ledger.answered(event('c'), { kind: 'rejected' });
  ledger.answered(event('a'), { kind: 'duplicate', position: 'j:9' });
  ledger.answered(event('z'), { kind: 'accepted' });
  expect(ledger.broken()).toEqual([
    'bad, a bad event, was accepted',
    'c, a good event, was rejected',
    'a was said to stand at j:1 and at j:9',
    'z was answered and never sent',
  ]);
});

/** `a` stands in two journals: where it was said to stand, and where a copy of it got in. */
function storedInTwoJournals(): Stored {
  const stored = storedRows(KEPT);
  const rows = new Map(stored.rows);
  rows.set('a', [...(rows.get('a') ?? []), { position: 'k:1', digest: 7n }]);
  return { ...stored, rows, journals: new Map([...stored.journals, ['k', { rows: 1, first: 1, last: 1 }]]) };
}

test('an event in two journals is excused only by what may explain it, and one that is twice in a journal by nothing', () => {
  const ledger = ledgerOf();
  ledger.answered(event('a'), { kind: 'accepted', position: 'k:1' });
  expect(ledger.broken()).toEqual([]);
  const twice = ['stored more than once: a (j:1,k:1)'];
  expect(compare(ledger, storedInTwoJournals())).toEqual(twice);
  expect(compare(ledger, storedInTwoJournals(), 'local')).toEqual(twice);
  expect(compare(ledger, storedInTwoJournals(), 'lost window')).toEqual([]);
  ledger.answered(event('a'), { kind: 'accepted', position: 'k:1', isLocal: true });
  expect(compare(ledger, storedInTwoJournals(), 'local')).toEqual([]);
  expect(compare(ledger, storedInTwoJournals())).toEqual(twice);
  expect(compare(ledger, storedRows([...KEPT, { key: 'a', seq: 3 }]), 'lost window')).toEqual([
    'stored more than once: a (j:1,j:3)',
    'stored elsewhere than was said: a: j:1,j:3 instead of k:1',
  ]);
});

test('the order of a connection is held against each journal by itself', () => {
  const order = ledgerOf();
  const log = order.newOrder('session');
  for (const [at, position] of ['j:1', 'k:7', 'j:2', 'k:9'].entries()) log.accepted(at, position);
  expect(compare(order, storedRows(KEPT))).toEqual([]);
  log.accepted(4, 'k:8');
  expect(compare(order, storedRows(KEPT))).toEqual(['out of order: session: 8 after 9']);
});
