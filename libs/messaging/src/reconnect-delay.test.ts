import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { reconnectDelayMs } from './reconnect-delay.ts';

test('within its bounds, whatever the number and the chance', () => {
  fc.assert(
    fc.property(
      fc.nat(1_000_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (connections, chance) => {
        const delayMs = reconnectDelayMs(connections, () => chance);
        expect(Number.isInteger(delayMs)).toBe(true);
        expect(delayMs).toBeGreaterThanOrEqual(1_000);
        expect(delayMs).toBeLessThan(30_000);
      },
    ),
  );
});

test('a thousand a second: the more there are, the longer they are spread', () => {
  const latest = (connections: number) => reconnectDelayMs(connections, () => 0.999_999);
  expect([1, 10_000, 20_000, 1_000_000].map(latest)).toEqual([1_999, 10_999, 20_999, 29_999]);
});
