import { describe, expect, test } from 'bun:test';
import type { AcceptOptions, Outcome } from '@libs/pipeline';
import { createTurn, TURN_EVENTS_MAX, type TurnItem } from './turn.ts';

const accepted = (record: unknown): Outcome => ({
  kind: 'accepted',
  level: 'journal',
  journal: 'j',
  seq: Number(record),
});

interface Call {
  readonly records: readonly unknown[];
  readonly options: AcceptOptions;
}

function build(answer: (records: readonly unknown[]) => Outcome[] = (records) => records.map(accepted)) {
  const calls: Call[] = [];
  const counted: number[] = [];
  const steps: string[] = [];
  const turn = createTurn({
    async accept(records, options) {
      steps.push('accept');
      calls.push({ records, options });
      return answer(records);
    },
    count: (outcomes) => counted.push(outcomes.length),
    commit: () => steps.push('commit'),
  });
  return { turn, calls, counted, steps };
}

/** An item with these records, and what became of them. */
function item(records: readonly unknown[], requestId = 'r') {
  const done = Promise.withResolvers<readonly Outcome[]>();
  let reads = 0;
  const self: TurnItem = {
    origin: { requestId },
    records() {
      reads += 1;
      return records;
    },
    settled: (outcomes, first) => done.resolve(outcomes.slice(first, first + records.length)),
    failed: done.reject,
  };
  return { self, outcomes: done.promise, reads: () => reads };
}

describe('what arrives in one turn', () => {
  test('is one accept call, and everyone gets its own outcomes', async () => {
    const { turn, calls, counted, steps } = build();
    const items = [item([1], 'a'), item([2, 3], 'b'), item([4], 'c')];
    for (const { self } of items) turn.take(self);
    expect(calls).toEqual([]);
    const outcomes = await Promise.all(items.map((one) => one.outcomes));
    expect(outcomes).toEqual([[accepted(1)], [accepted(2), accepted(3)], [accepted(4)]]);
    expect(calls.map(({ records }) => records)).toEqual([[1, 2, 3, 4]]);
    expect(calls[0]?.options.ack).toBe('journal');
    expect(calls[0]?.options.origins?.map(({ requestId }) => requestId)).toEqual(['a', 'b', 'b', 'c']);
    expect(counted).toEqual([4]);
    // The journal need not wait for another turn.
    expect(steps).toEqual(['accept', 'commit']);
  });

  test('is cut into calls of a bounded size, in order; a large item goes alone', async () => {
    const { turn, calls } = build();
    const large = Array.from({ length: TURN_EVENTS_MAX + 1 }, (_, at) => at);
    const most = Array.from({ length: TURN_EVENTS_MAX - 1 }, (_, at) => at);
    const items = [item([1]), item(large), item(most), item([7]), item([8])];
    for (const { self } of items) turn.take(self);
    await Promise.all(items.map((one) => one.outcomes));
    expect(calls.map(({ records }) => records.length)).toEqual([1, TURN_EVENTS_MAX + 1, TURN_EVENTS_MAX, 1]);
    expect(calls[3]?.records).toEqual([8]);
  });

  test('an item that has nothing to accept costs the others nothing', async () => {
    const { turn, calls } = build();
    const [empty, other] = [item([]), item([5])];
    turn.take(empty.self);
    turn.take(other.self);
    expect(await other.outcomes).toEqual([accepted(5)]);
    expect(empty.reads()).toBe(1);
    expect(calls.map(({ records }) => records)).toEqual([[5]]);
  });

  test('what is taken while a call is under way goes with the next one', async () => {
    const { turn, calls } = build();
    const [first, second] = [item([1]), item([2])];
    turn.take(first.self);
    await first.outcomes;
    turn.take(second.self);
    expect(await second.outcomes).toEqual([accepted(2)]);
    expect(calls).toHaveLength(2);
  });
});

describe('when accept fails', () => {
  test.each([
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
    ['gives too few outcomes', () => []],
  ])('it %s: everyone is told, and nothing is counted', async (_, answer) => {
    const { turn, counted } = build(answer);
    const items = [item([1]), item([2])];
    for (const { self } of items) turn.take(self);
    const results = await Promise.allSettled(items.map((one) => one.outcomes));
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(counted).toEqual([]);
  });
});
