import { expect, test } from 'bun:test';
import type { DeliveredLevel } from '@libs/pipeline';
import fc from 'fast-check';
import { addToLane, createLane, isDue, sendDue, waitingIn } from './stream-lane.ts';

const event = fc.record({ seq: fc.integer({ min: 1, max: 30 }), isRouted: fc.boolean() });
const step = fc.oneof(
  fc.record({ add: event }),
  fc.record({
    reached: fc.record({ stored: fc.integer({ min: 0, max: 30 }), routed: fc.integer({ min: 0, max: 30 }) }),
    /** How many messages the client takes before it is full. */
    room: fc.integer({ min: 0, max: 6 }),
  }),
);

test('whatever comes in whatever order: each level once, in order, never too early, and all of it in the end', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const lane = createLane(0);
      const events: { seq: number; isRouted: boolean }[] = [];
      const sent: { level: DeliveredLevel; at: number }[] = [];
      let reached = { stored: 0, routed: 0 };
      let waiting = 0;

      function flush(room: number): void {
        let left = room;
        waiting -= sendDue(lane, reached, (level, names) => {
          if (left-- <= 0) return false;
          const at = Number(names);
          expect(events[at]?.seq).toBeLessThanOrEqual(reached[level]);
          sent.push({ level, at });
          return true;
        });
        expect(waitingIn(lane)).toBe(waiting);
      }

      for (const one of steps) {
        if ('add' in one) {
          addToLane(lane, one.add.seq, String(events.length), one.add.isRouted);
          events.push(one.add);
          waiting += 1;
        } else {
          const stored = Math.max(reached.stored, one.reached.stored);
          reached = { stored, routed: Math.min(stored, Math.max(reached.routed, one.reached.routed)) };
          flush(one.room);
        }
      }
      reached = { stored: 30, routed: 30 };
      expect(isDue(lane, reached)).toBe(waiting > 0);
      flush(Number.POSITIVE_INFINITY);
      expect(waiting).toBe(0);
      expect(isDue(lane, reached)).toBe(false);

      const of = (level: DeliveredLevel) => sent.filter((one) => one.level === level).map(({ at }) => at);
      expect(of('stored')).toEqual(events.map((_, at) => at));
      expect(of('routed')).toEqual(events.flatMap(({ isRouted }, at) => (isRouted ? at : [])));
      for (const at of of('routed')) {
        const place = (level: DeliveredLevel) => sent.findIndex((one) => one.level === level && one.at === at);
        expect(place('stored')).toBeLessThan(place('routed'));
      }
    }),
  );
});

test('what is done with is let go of, however long another sink stands still', () => {
  const lane = createLane(0);
  for (let seq = 1; seq <= 10_000; seq++) addToLane(lane, seq, '', true);
  sendDue(lane, { stored: 10_000, routed: 0 }, () => true);
  expect([waitingIn(lane), lane.seqs.length]).toEqual([10_000, 10_000]);
  sendDue(lane, { stored: 10_000, routed: 5_000 }, () => true);
  expect([waitingIn(lane), lane.seqs.length]).toEqual([5_000, 5_000]);
  expect(isDue(lane, { stored: 10_000, routed: 5_000 })).toBe(false);
  sendDue(lane, { stored: 10_000, routed: 10_000 }, () => true);
  expect(lane.seqs).toEqual([]);
});

test('a connection that is gone in the middle is left as it is: it was counted as over', () => {
  const lane = createLane(0);
  for (let seq = 1; seq <= 4; seq++) addToLane(lane, seq, String(seq), false);
  expect(sendDue(lane, { stored: 4, routed: 4 }, (_, names) => names !== '3')).toBe(0);
  expect(waitingIn(lane)).toBe(4);
});
