import { expect, test } from 'bun:test';
import { formatProgress } from './progress.ts';

test('a file: bar, share, rate and time left', () => {
  const position = { bytes: 500, bytesTotal: 2000, rows: 3000, elapsedMs: 2000 };
  expect(formatProgress(position, true)).toBe(`${'█'.repeat(6)}${'░'.repeat(18)} 25 %  3,000 rows  1,500/s  6 s left`);
  expect(formatProgress(position, false)).toBe('25 %  3,000 rows  1,500/s  6 s left');
  expect(formatProgress({ ...position, elapsedMs: 100_000 }, false)).toEndWith('5 min 0 s left');
  expect(formatProgress({ ...position, elapsedMs: 3_600_000 }, false)).toEndWith('3 h 0 min left');
});

test('the very beginning, the very end, and a file that grew', () => {
  expect(formatProgress({ bytes: 0, bytesTotal: 100, rows: 0, elapsedMs: 0 }, false)).toBe('0 %  0 rows  0/s');
  expect(formatProgress({ bytes: 120, bytesTotal: 100, rows: 5, elapsedMs: 1000 }, false)).toBe(
    '100 %  5 rows  5/s  0 s left',
  );
});

test('standard input has no end that is known', () => {
  expect(formatProgress({ bytes: 3_000_000, bytesTotal: undefined, rows: 10, elapsedMs: 1000 }, true)).toBe(
    '2.9 MiB  10 rows  10/s',
  );
});
