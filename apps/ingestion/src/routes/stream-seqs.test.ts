import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { SEQ_RUNS_MAX, SettledSeqs } from './stream-seqs.ts';

const FIRST = 100;
const settling = fc.record({
  from: fc.integer({ min: FIRST - 20, max: FIRST + 60 }),
  count: fc.integer({ min: 1, max: 12 }),
});

test('in any order, with gaps and repeats: the same as a set of settled numbers', () => {
  fc.assert(
    fc.property(fc.array(settling, { maxLength: 40 }), (steps) => {
      const seqs = new SettledSeqs(FIRST);
      const settled = new Set<number>();
      for (const { from, count } of steps) {
        const to = from + count - 1;
        expect(seqs.settle(from, to)).toBe(true);
        for (let seq = Math.max(from, FIRST); seq <= to; seq++) settled.add(seq);

        let through = FIRST - 1;
        while (settled.has(through + 1)) through += 1;
        expect(seqs.throughSeq).toBe(through);
        expect(seqs.highestSeq).toBe(Math.max(FIRST - 1, ...settled));
        for (let seq = FIRST - 30; seq < FIRST + 90; seq++)
          expect(seqs.isOpen(seq)).toBe(seq >= FIRST && !settled.has(seq));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('what is sent again after a retry closes the hole, and everything behind it counts at once', () => {
  const seqs = new SettledSeqs(0);
  seqs.settle(0, 6);
  seqs.settle(8, 20);
  expect(seqs.throughSeq).toBe(6);
  seqs.settle(7, 7);
  expect(seqs.throughSeq).toBe(20);
});

test('only so many runs are kept; the one too many is told of', () => {
  const seqs = new SettledSeqs(0);
  for (let run = 1; run <= SEQ_RUNS_MAX; run++) expect(seqs.settle(2 * run, 2 * run)).toBe(true);
  expect(seqs.settle(1_000, 1_000)).toBe(false);
  expect(seqs.throughSeq).toBe(-1);
});

test('counts as far as numbers are exact', () => {
  const seqs = new SettledSeqs(Number.MAX_SAFE_INTEGER - 2);
  seqs.settle(Number.MAX_SAFE_INTEGER - 2, Number.MAX_SAFE_INTEGER);
  expect(seqs.throughSeq).toBe(Number.MAX_SAFE_INTEGER);
});
