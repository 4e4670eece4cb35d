import { expect, test } from 'bun:test';
import { countsProblem, expectedOfBatch, PLAIN_MIX, readCounts } from './mix.ts';

const counts = (totalEvents: number, successful: number, failed: number, duplicates: number) => ({
  totalEvents,
  successful,
  failed,
  duplicates,
});

test('what Weir has to answer follows from the mix, and from whether its ids were sent before', () => {
  const batch = (mix: object, isFirst: boolean) => expectedOfBatch({ ...PLAIN_MIX, ...mix }, 1_000, isFirst);
  expect(batch({}, false)).toEqual({ status: 202, counts: counts(1_000, 1_000, 0, 0) });
  expect(batch({ duplicates: 0.5 }, true)).toEqual({ status: 202, counts: counts(1_000, 1_000, 0, 0) });
  expect(batch({ duplicates: 0.5 }, false)).toEqual({ status: 202, counts: counts(1_000, 1_000, 0, 500) });
  expect(batch({ duplicates: 1 }, true).status).toBe(202);
  expect(batch({ duplicates: 1 }, false)).toEqual({ status: 200, counts: counts(1_000, 1_000, 0, 1_000) });
  expect(batch({ invalid: 0.1 }, false)).toEqual({ status: 207, counts: counts(1_000, 900, 100, 0) });
});

test('counts are read from a reply, and one that differs is named', () => {
  const body = '{"batchId":"0","totalEvents":1000,"successful":999,"failed":1,"duplicates":12,"errors":["a';
  expect(readCounts(body)).toEqual(counts(1_000, 999, 1, 12));
  expect(countsProblem(counts(1_000, 999, 1, 12), readCounts(body))).toBeUndefined();
  expect(countsProblem(counts(1_000, 1_000, 0, 12), readCounts(body))).toContain('999 successful, 1 failed');
  expect(countsProblem(counts(0, 0, 0, 0), readCounts('{}'))).toBeDefined();
});
