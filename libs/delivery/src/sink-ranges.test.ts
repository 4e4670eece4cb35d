import { expect, test } from 'bun:test';
import { createSinkRanges } from './sink-ranges.ts';

const span = (journal: string, firstSeq: number, lastSeq: number) => ({ journal, firstSeq, lastSeq });

test('no further than the cursor, and all of a journal that is done with', () => {
  const cursors = new Map([
    ['half', 15],
    ['none', 10],
    ['ahead', 90],
  ]);
  const counted = [span('half', 11, 20), span('none', 11, 20), span('ahead', 11, 20), span('gone', 11, 20)];
  expect(createSinkRanges(counted, (journal) => cursors.get(journal)).all()).toEqual([
    span('half', 11, 15),
    span('ahead', 11, 20),
    span('gone', 11, 20),
  ]);
});

test('what the sink has before the store follows on, or stands alone', () => {
  const ranges = createSinkRanges([span('a', 11, 20)], () => 99);
  for (const part of [span('a', 21, 22), span('a', 23, 23), span('a', 31, 40), span('new', 1, 3), span('new', 4, 4)]) {
    ranges.addAhead(part);
  }
  expect(ranges.all()).toEqual([span('a', 11, 23), span('a', 31, 40), span('new', 1, 4)]);
});
