import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBacklog } from './redis-backlog.ts';

const ids = (from: number, count: number) => Array.from({ length: count }, (_, at) => `id-${from + at}`);

test('oldest first, as many as asked for', () => {
  const backlog = createBacklog({ idsMax: 1_000, ageMaxMs: 100 });
  backlog.add(ids(0, 100), 0);
  backlog.add(ids(100, 1), 0);
  backlog.add(ids(101, 3), 0);
  expect(backlog.take(50, 0)).toEqual(ids(0, 50));
  expect(backlog.take(52, 0)).toEqual(ids(50, 52));
  expect(backlog.take(1_000, 0)).toEqual(ids(102, 2));
  expect(backlog.take(1_000, 0)).toEqual([]);
  expect(backlog.dropped()).toBe(0);
});

test('what is too old is dropped and counted', () => {
  const backlog = createBacklog({ idsMax: 1_000, ageMaxMs: 100 });
  backlog.add(ids(0, 100), 0);
  backlog.add(ids(100, 100), 60);
  backlog.take(30, 60);
  expect(backlog.take(10, 120)).toEqual(ids(100, 10));
  expect(backlog.dropped()).toBe(70);
  expect(backlog.count()).toBe(90);
});

type Step =
  | { readonly kind: 'add'; readonly count: number }
  | { readonly kind: 'take'; readonly max: number; readonly fails: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), count: fc.oneof(fc.constant(1), fc.nat(200)) }),
  fc.record({ kind: fc.constant('take' as const), max: fc.integer({ min: 1, max: 150 }), fails: fc.boolean() }),
);

test('is a queue that forgets its oldest beyond the limit, whatever is added, taken and put back', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 300 }), (steps, idsMax) => {
      const backlog = createBacklog({ idsMax, ageMaxMs: 1_000 });
      let model: string[] = [];
      let next = 0;
      let dropped = 0;
      const trim = () => {
        dropped += Math.max(0, model.length - idsMax);
        model = model.slice(-idsMax);
      };
      for (const one of steps) {
        if (one.kind === 'add') {
          const added = ids(next, one.count);
          next += one.count;
          backlog.add(added, 0);
          model.push(...added);
        } else {
          const taken = backlog.take(one.max, 0);
          expect(taken).toEqual(model.splice(0, one.max));
          if (one.fails) {
            backlog.putBack(taken, 0);
            model.unshift(...taken);
          }
        }
        trim();
        expect(backlog.count()).toBe(model.length);
      }
      expect(backlog.dropped()).toBe(dropped);
      expect(backlog.take(Number.MAX_SAFE_INTEGER, 0)).toEqual(model);
    }),
  );
});
