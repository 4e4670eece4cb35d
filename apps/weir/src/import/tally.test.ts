import { expect, test } from 'bun:test';
import type { RejectedRow } from './sender.ts';
import { createTally, formatSummary } from './tally.ts';

const rejected = (number: number, field = 'a'): RejectedRow => ({
  number,
  raw: '',
  rejection: { code: 'bad', field, message: 'it is\u001b[2J bad' },
});

function tallyAt(ms: readonly number[]) {
  const times = [...ms];
  return createTally(
    () => times.shift() ?? 0,
    () => undefined,
  );
}

test('every row that was read is in exactly one place', () => {
  const tally = tallyAt([0, 2000]);
  tally.read(10);
  tally.accepted(4);
  tally.duplicates(2);
  tally.rejected([rejected(1)]);
  expect(tally.settled()).toBe(7);
  expect(tally.summary()).toMatchObject({
    read: 10,
    accepted: 4,
    duplicates: 2,
    rejected: 1,
    unconfirmed: 3,
    seconds: 2,
    rowsPerSecond: 4,
  });
});

test('the first rows of a reason are named, in whatever order their batches were answered', () => {
  const tally = tallyAt([0, 0]);
  for (const number of [50, 40, 30, 20, 10, 5, 60, 4]) tally.rejected([rejected(number)]);
  expect(tally.summary().reasons).toMatchObject([{ count: 8, rows: [4, 5, 10, 20, 30] }]);
});

test('reasons are bounded, and none is hidden', () => {
  const tally = tallyAt([0, 0]);
  tally.read(150);
  for (let index = 0; index < 150; index++) tally.rejected([rejected(index, `data.key${index}`)]);
  const summary = tally.summary();
  expect(summary.reasons).toHaveLength(100);
  expect(summary.otherReasons).toBe(50);
  expect(formatSummary(summary, 'line')).toContain('50 for other reasons');
});

test('messages that quote the input cannot steer the terminal', () => {
  const tally = tallyAt([0, 1000]);
  tally.read(1);
  tally.rejected([rejected(7)]);
  const text = formatSummary(tally.summary(), 'element');
  expect(text).toContain('(element 7)');
  expect(text).not.toContain('\u001b');
});
