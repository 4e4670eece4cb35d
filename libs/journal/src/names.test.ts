import { expect, test } from 'bun:test';
import {
  activeFolderName,
  columnName,
  columnOf,
  isTemporary,
  journalFolders,
  removedFolderName,
  retiredFolderName,
  segmentName,
  segmentOf,
  spareName,
  spareOf,
  temporaryName,
} from './names.ts';

const A = '0192d5a0-1111-7222-8333-944444444444';
const B = '0192d5a0-1111-7222-8333-955555555555';

test('numbers come back from the names of files, and only from their own kind', () => {
  for (const number of [1, 42, 999_999_999_999]) {
    expect(segmentOf(segmentName(number))).toBe(number);
    expect(columnOf(columnName(number))).toBe(number);
    expect(spareOf(spareName(number))).toBe(number);
    expect(segmentOf(columnName(number))).toBeUndefined();
    expect(columnOf(segmentName(number))).toBeUndefined();
    expect(segmentOf(spareName(number))).toBeUndefined();
    expect(segmentOf(temporaryName(segmentName(number)))).toBeUndefined();
    expect(isTemporary(temporaryName(spareName(number)))).toBe(true);
  }
  for (const name of ['1.segment', '000000000001.segment~', '000000000001.segment.part', 'x000000000001.segment'])
    expect(segmentOf(name)).toBeUndefined();
  // In the order of their numbers also as text.
  expect([segmentName(10), segmentName(9)].sort()).toEqual([segmentName(9), segmentName(10)]);
});

test('journals are the folders of workers and the retired ones, and nothing else', () => {
  const names = [
    retiredFolderName(B),
    activeFolderName(11, A),
    activeFolderName(0, B),
    removedFolderName(A),
    'w0.lock',
    'w0.lock.holder',
    `w0-${A.toUpperCase()}`,
    `w0-${A}x`,
    `w-${A}`,
    'lost+found',
  ];
  expect(journalFolders('/data/journals', names)).toEqual([
    { journal: B, folder: `/data/journals/retired-${B}`, worker: undefined },
    { journal: B, folder: `/data/journals/w0-${B}`, worker: 0 },
    { journal: A, folder: `/data/journals/w11-${A}`, worker: 11 },
  ]);
});
