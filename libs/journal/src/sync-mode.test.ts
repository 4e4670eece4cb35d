import { expect, test } from 'bun:test';
import { createSyncModes, type SyncModes } from './sync-mode.ts';

/** So many syncs of these durations in turn; returns how many of them ran inline. */
function run(modes: SyncModes, count: number, durationMs: (at: number) => number): number {
  let inline = 0;
  for (let at = 0; at < count; at++) {
    if (modes.current === 'inline') inline += 1;
    modes.measure(durationMs(at));
  }
  return inline;
}

test('a disk on which all syncs are slow is left to the thread pool within a few syncs, and for good', () => {
  for (const slowMs of [1.2, 3, 8, 40]) {
    const modes = createSyncModes();
    expect(run(modes, 10_000, () => slowMs)).toBeLessThan(40);
    expect(modes.current).toBe('pool');
  }
});

test('a disk that is slow by turns holds the loop no longer than one that is slow on average', () => {
  const modes = createSyncModes();
  expect(run(modes, 10_000, (at) => (at % 2 === 0 ? 0.1 : 9))).toBeLessThan(40);
});

test('a fast disk with outliers stays inline', () => {
  const modes = createSyncModes();
  // As measured beside an engine that writes to the same disk: half under 0.15 ms, one in a hundred 2 ms, one in a thousand 5.
  const asMeasured = (at: number) => (at % 1_000 === 999 ? 5 : at % 100 === 99 ? 2 : 0.15);
  expect(run(modes, 100_000, asMeasured)).toBe(100_000);
  expect(run(modes, 100_000, (at) => (at % 20 === 19 ? 9 : 0.15))).toBe(100_000);
});

test('a stall moves the syncs at once, and they come back once the disk is fast again', () => {
  const modes = createSyncModes();
  run(modes, 100, () => 0.15);
  modes.measure(100);
  expect(modes.current).toBe('pool');
  expect(run(modes, 127, () => 0.15)).toBe(0);
  expect(run(modes, 100, () => 0.15)).toBe(99);
});

test('a stall now and then costs its share of syncs in the pool, and no more', () => {
  const modes = createSyncModes();
  expect(run(modes, 100_000, (at) => (at % 5_000 === 4_999 ? 20 : 0.15))).toBeGreaterThan(97_000);
});

test('outliers in the pool do not keep the syncs there', () => {
  const modes = createSyncModes();
  modes.measure(100);
  expect(run(modes, 10_000, (at) => (at % 50 === 49 ? 3 : 0.2))).toBeGreaterThan(9_700);
});
