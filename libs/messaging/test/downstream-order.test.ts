import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  type Action,
  blockOf,
  deliverAll,
  type RowOptions,
  sinkOf,
  startService,
  writeOnce,
} from './downstream-fixture.ts';

const inSessions = (...names: string[]): RowOptions[] => names.map((sessionId) => ({ sessionId }));

describe('order: session', () => {
  test('after a failure the later events of its session wait, others go on', async () => {
    await using service = await startService(({ event }) => ({ status: event.seq === 2 ? 500 : 200 }));
    const { sink } = sinkOf(service.url, { order: 'session' });
    const block = blockOf(inSessions('a', 'a', 'b', 'a', 'b', 'a'));
    const failures = await writeOnce(sink, block);
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual([
      [2, 'http_500', false],
      [4, 'waits_for_earlier', false],
      [6, 'waits_for_earlier', false],
    ]);
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, block, new Set([2, 4, 6]))).toEqual([]);
    const ofA = service.taken.filter(({ sessionId }) => sessionId === 'a').map(({ seq }) => seq);
    expect(ofA).toEqual([1, 2, 4, 6]);
  });

  test('an event that is given up for good lets the next ones go', async () => {
    await using service = await startService(({ event }) => ({ status: event.seq === 1 ? 422 : 200 }));
    const { sink } = sinkOf(service.url, { order: 'session' });
    const failures = await writeOnce(sink, blockOf(inSessions('a', 'a', 'a')));
    expect(failures.map(({ seq, permanent }) => [seq, permanent])).toEqual([[1, true]]);
    expect(service.taken.map(({ seq }) => seq)).toEqual([2, 3]);
  });

  test('rows of other types are no part of the order', async () => {
    await using service = await startService();
    const { sink } = sinkOf(service.url, { order: 'session' });
    const rows = [{ sessionId: 'a', eventType: 'cart_created' }, { sessionId: 'a' }];
    expect(await writeOnce(sink, blockOf(rows))).toEqual([]);
    expect(service.taken.map(({ seq }) => seq)).toEqual([2]);
  });
});

/** What the service does to the successive attempts at an event; after them it takes the event. */
const FAULTS: Readonly<Record<string, Action>> = {
  error: { status: 500 },
  unavailable: { status: 503 },
  early: { status: 425 },
  throttled: { status: 429, headers: { 'retry-after': '0' } },
  reset: 'reset',
  half: { raw: 'HTTP/1.1 200 O' },
  hang: 'hang',
  refused: { status: 422, body: 'no' },
};
const fault = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom('error', 'unavailable', 'early', 'throttled', 'reset', 'half') },
  { weight: 1, arbitrary: fc.constant('hang') },
  { weight: 3, arbitrary: fc.constant('refused') },
);
const plan = fc.record({
  rows: fc.array(
    fc.record({
      session: fc.constantFrom('a', 'b', 'c'),
      isOurs: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
      faults: fc.oneof(
        { weight: 2, arbitrary: fc.constant<string[]>([]) },
        { weight: 1, arbitrary: fc.array(fault, { maxLength: 4 }) },
      ),
    }),
    { minLength: 1, maxLength: 24 },
  ),
  concurrency: fc.integer({ min: 1, max: 6 }),
  breakerFailures: fc.constantFrom(2, 5, 1_000),
});

test('whatever fails in whatever order: each event is taken once or given up, and sessions keep their order', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async ({ rows, concurrency, breakerFailures }) => {
      const finished = new Set<number>();
      const violations: string[] = [];
      const ours = rows.map((row, at) => ({ ...row, seq: at + 1 })).filter(({ isOurs }) => isOurs);
      await using service = await startService(({ event }, attempt) => {
        const waiting = ours.find(
          ({ session, seq }) => session === event.sessionId && seq < event.seq && !finished.has(seq),
        );
        if (waiting !== undefined) violations.push(`${event.seq} came before ${waiting.seq} was done with`);
        if (finished.has(event.seq)) violations.push(`${event.seq} came again`);
        const name = rows[event.seq - 1]?.faults[attempt - 1];
        if (name === undefined || name === 'refused') finished.add(event.seq);
        return name === undefined ? { status: 200 } : (FAULTS[name] as Action);
      });
      const settings = {
        order: 'session',
        concurrency,
        timeoutMs: 500,
        breaker: { failures: breakerFailures, openMs: 10, openMsMax: 10 },
      };
      const { sink } = sinkOf(service.url, settings);
      const block = blockOf(
        rows.map(({ session, isOurs }) => ({ sessionId: session, eventType: isOurs ? 'cart_updated' : 'item_added' })),
      );
      const deadLetters = await deliverAll(sink, block);
      expect(violations).toEqual([]);
      expect(service.inFlightMax()).toBeLessThanOrEqual(concurrency);
      const refused = ours.filter(({ faults }) => faults.includes('refused')).map(({ seq }) => seq);
      expect(deadLetters.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(refused);
      const taken = service.taken.map(({ seq }) => seq).toSorted((a, b) => a - b);
      expect(taken).toEqual(ours.map(({ seq }) => seq).filter((seq) => !refused.includes(seq)));
    }),
    { numRuns: 60 },
  );
}, 120_000);
