import { expect, test } from 'bun:test';
import { createFrameClock } from './frame-clock.ts';

const at = (wallMs: number, monotonicMs: number) => ({ wall: wallMs, monotonic: monotonicMs });

test('starts at the later of last frame and wall clock, and goes on with the monotonic clock alone', () => {
  for (const [lastFrameMs, wallMs, expected] of [
    [1_000, 5_000, 5_000],
    [9_000, 5_000, 9_000],
    [0, 5_000, 5_000],
  ] as const) {
    const time = at(wallMs, 77.9);
    const clock = createFrameClock(lastFrameMs, { wallMs: () => time.wall, monotonicMs: () => time.monotonic });
    expect(clock.nowMs()).toBe(expected);
    time.wall -= 86_400_000;
    time.monotonic += 1.2;
    expect(clock.nowMs()).toBe(expected + 1);
    time.wall += 2 * 86_400_000;
    time.monotonic += 999;
    expect(clock.nowMs()).toBe(expected + 1_000);
  }
});

test('gives whole milliseconds that never go back', () => {
  let monotonic = 0.1;
  const clock = createFrameClock(100, { wallMs: () => 50, monotonicMs: () => monotonic });
  let before = clock.nowMs();
  for (let step = 0; step < 1_000; step++) {
    monotonic += (step % 7) / 5;
    const now = clock.nowMs();
    expect(Number.isInteger(now)).toBe(true);
    expect(now).toBeGreaterThanOrEqual(before);
    before = now;
  }
});
