import { expect, test } from 'bun:test';
import type { FrameView } from '@libs/journal';
import { blockOf, blockToken, joinFrames, pickRows, sliceRun } from './block.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const frame = (firstSeq: number, lastSeq: number, text: string) => ({
  firstSeq,
  lastSeq,
  timeMs: 0,
  payload: bytes(text),
});

const assembleBlock = (journal: string, afterSeq: number, frames: readonly FrameView[]) =>
  blockOf(journal, joinFrames(afterSeq, frames));

test('a block is its frames in order, and its token names journal, range and bytes', () => {
  const block = assembleBlock('j', 4, [frame(5, 6, 'a\nb\n'), frame(7, 7, 'c\n')]);
  expect(block).toMatchObject({ journal: 'j', firstSeq: 5, lastSeq: 7, byteLength: 6 });
  expect(Buffer.concat(block.chunks).toString()).toBe('a\nb\nc\n');
  expect(block.token).toBe(blockToken({ journal: 'j', firstSeq: 5, lastSeq: 7 }, bytes('a\nb\nc\n')));
  expect(block.token).toMatch(/^j:5-7:[0-9a-f]{16}$/);
});

test('the token does not depend on how the journal grouped the rows, but on everything else', () => {
  const one = assembleBlock('j', 0, [frame(1, 3, 'a\nb\nc\n')]).token;
  expect(assembleBlock('j', 0, [frame(1, 1, 'a\n'), frame(2, 3, 'b\nc\n')]).token).toBe(one);
  expect(assembleBlock('k', 0, [frame(1, 3, 'a\nb\nc\n')]).token).not.toBe(one);
  expect(assembleBlock('j', 0, [frame(1, 3, 'a\nb\nd\n')]).token).not.toBe(one);
  expect(assembleBlock('j', 1, [frame(2, 4, 'a\nb\nc\n')]).token).not.toBe(one);
});

test('payloads that lie one behind the other are not copied, and others are: the block is the same', () => {
  const memory = bytes('xa\nb\nyc\nb\na\n');
  const view = (firstSeq: number, lastSeq: number, from: number, to: number) => {
    return { firstSeq, lastSeq, timeMs: 0, payload: memory.subarray(from, to) };
  };
  const blocks = {
    'one behind the other': [view(1, 1, 1, 3), view(2, 2, 3, 5)],
    'bytes between them': [view(1, 1, 1, 3), view(2, 2, 8, 10)],
    'in the other order': [view(1, 1, 10, 12), view(2, 2, 8, 10)],
    'over each other': [view(1, 2, 1, 5), view(3, 3, 3, 5)],
    'of two buffers': [view(1, 1, 1, 3), frame(2, 2, 'b\n')],
  };
  for (const [name, frames] of Object.entries(blocks)) {
    const joined = joinFrames(0, frames).bytes;
    const text = frames.map(({ payload }) => new TextDecoder().decode(payload)).join('');
    expect([name, new TextDecoder().decode(joined)]).toEqual([name, text]);
    expect([name, joined.buffer === memory.buffer]).toEqual([name, name === 'one behind the other']);
  }
});

test.each([
  ['a gap before the first frame', [frame(6, 6, 'a\n')]],
  ['a frame that comes twice', [frame(5, 6, 'a\nb\n'), frame(6, 7, 'b\nc\n')]],
  ['a gap between frames', [frame(5, 5, 'a\n'), frame(7, 7, 'b\n')]],
  ['a frame without rows', [frame(5, 4, '')]],
])('%s is refused', (_name, frames) => {
  expect(() => assembleBlock('j', 4, frames)).toThrow(expect.objectContaining({ code: 'journal_gap' }));
});

test('any slice of a run holds its rows, and says which part of which frame they are', () => {
  const frames = [frame(5, 6, 'a\nb\n'), frame(7, 7, 'c\n'), frame(8, 11, 'd\ne\nf\ng\n')];
  const run = joinFrames(4, frames);
  for (let first = 5; first <= 11; first++) {
    for (let last = first; last <= 11; last++) {
      const slice = sliceRun(run, first, last);
      const rows = 'abcdefg'.slice(first - 5, last - 4);
      expect(Buffer.from(slice.bytes).toString()).toBe([...rows].map((row) => `${row}\n`).join(''));
      expect(slice.extents.reduce((sum, extent) => sum + extent.byteLength, 0)).toBe(slice.bytes.byteLength);
      expect(slice.extents.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq])).toEqual(
        [
          [5, 6],
          [7, 7],
          [8, 11],
        ]
          .map(([from, to]) => [Math.max(from as number, first), Math.min(to as number, last)])
          .filter(([from, to]) => (from as number) <= (to as number)),
      );
    }
  }
});

test('a frame with too few rows is not cut into', () => {
  expect(() => sliceRun(joinFrames(0, [frame(1, 3, 'a\n')]), 3, 3)).toThrow(
    expect.objectContaining({ code: 'row_count_mismatch' }),
  );
});

test('rows are picked by number across frames, without their line feeds; a frame with too few rows is refused', () => {
  const run = joinFrames(4, [frame(5, 6, 'a\nbb\n'), frame(7, 7, 'c\n'), frame(8, 10, 'd\n\nf\n')]);
  const pick = (...seqs: number[]) =>
    [...pickRows(run, seqs)].map(({ seq, bytes: row }) => [seq, new TextDecoder().decode(row)]);
  expect(pick(5, 6, 7, 8, 9, 10)).toEqual([
    [5, 'a'],
    [6, 'bb'],
    [7, 'c'],
    [8, 'd'],
    [9, ''],
    [10, 'f'],
  ]);
  expect(pick(6, 10)).toEqual([
    [6, 'bb'],
    [10, 'f'],
  ]);
  expect(pick()).toEqual([]);
  const short = joinFrames(0, [frame(1, 3, 'a\nb\n'), frame(4, 4, 'c\n')]);
  expect(() => [...pickRows(short, [3])]).toThrow(expect.objectContaining({ code: 'row_count_mismatch' }));
});
