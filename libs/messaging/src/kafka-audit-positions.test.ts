import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createSeenPositions, type Seen } from './kafka-audit-positions.ts';

const span = (journal: string, firstSeq: number, lastSeq: number) => ({ journal, firstSeq, lastSeq });

test('as a set would, over page edges, several ranges and journals', () => {
  const seqs = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 32_760, max: 32_776 }));
  const notes = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), seqs), { maxLength: 300 });
  const ranges = [span('a', 5, 32_770), span('b', 1, 3), span('b', 30, 32_767)];
  fc.assert(
    fc.property(notes, (all) => {
      const seen = createSeenPositions(ranges, 1_000_000);
      const known = new Set<string>();
      for (const [journal, seq] of all) {
        const isIn = ranges.some((one) => one.journal === journal && seq >= one.firstSeq && seq <= one.lastSeq);
        const key = `${journal}:${seq}`;
        const expected: Seen = !isIn ? 'outside' : known.has(key) ? 'again' : 'first';
        expect(seen.note(journal, seq)).toBe(expected);
        if (isIn) known.add(key);
      }
    }),
  );
});

test('sequence numbers beyond 32 bits are told apart', () => {
  const seen = createSeenPositions([span('a', 1, Number.MAX_SAFE_INTEGER)], 1_000_000);
  for (const seq of [5, 5 + 2 ** 32, 5 + 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    expect([seq, seen.note('a', seq), seen.note('a', seq)]).toEqual([seq, 'first', 'again']);
  }
});

test('memory has an end, and what has been seen stays known', () => {
  const seen = createSeenPositions([span('a', 1, 1_000_000)], 8_192);
  expect([1, 40_000, 80_000, 1, 2, 40_000].map((seq) => seen.note('a', seq))).toEqual([
    'first',
    'first',
    'full',
    'again',
    'first',
    'again',
  ]);
});
