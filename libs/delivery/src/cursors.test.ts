import { expect, test } from 'bun:test';
import { checkCursors } from './cursors.ts';

const SINKS = [{ name: 'store' }, { name: 'kafka' }];
const journal = (id: string, oldest: number) => ({ journal: id, oldestSeq: () => oldest });
const state = (...cursors: [string, string, number][]) => ({
  cursors: () => cursors.map(([id, sink, seq]) => ({ journal: id, sink, seq })),
});

test('a new journal, a journal in use and a cursor right before the oldest frame are fine', () => {
  const cursors = state(['used', 'store', 10], ['used', 'kafka', 25], ['gone', 'store', 3]);
  expect(checkCursors(cursors, [journal('new', 1), journal('used', 11)], SINKS)).toEqual([]);
});

test('cursors that are missing beside a used journal refuse the start, one sentence for each sink', () => {
  const refusals = checkCursors(state(['j', 'kafka', 60]), [journal('j', 42)], SINKS);
  expect(refusals).toHaveLength(1);
  expect(refusals[0]).toContain('Journal j starts at event 42');
  expect(refusals[0]).toContain('sink store has no cursor');
});

test('a cursor before the oldest frame refuses the start and says which events are gone', () => {
  const refusals = checkCursors(state(['j', 'store', 10], ['j', 'kafka', 41]), [journal('j', 42)], SINKS);
  expect(refusals).toHaveLength(1);
  expect(refusals[0]).toContain('events 11 to 41 are gone');
});
