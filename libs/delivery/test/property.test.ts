/**
 * Any order of frames, announcements, flushes, failures, bad rows and deaths: every row is stored once and counted once,
 * or is one dead letter; a second sink gets every row at least once, or has a letter for it; and the figures add up.
 */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { Overloaded, Retryable } from '@libs/pipeline';
import fc from 'fast-check';
import { openState } from '../src/state.ts';
import { createFakeJournal } from './fake-journal.ts';
import { createFakeRouter } from './fake-router.ts';
import { createFakeStore, type WriteStep } from './fake-store.ts';
import { type Process, startProcess, until, withFolder } from './harness.ts';

const TYPES = ['item_added', 'cart_created'];

const frame = fc.record({
  kind: fc.constant('frame' as const),
  journal: fc.nat(1),
  rows: fc.array(fc.record({ storeId: fc.string({ minLength: 1 }), eventType: fc.constantFrom(...TYPES) }), {
    minLength: 1,
    maxLength: 12,
  }),
  minutes: fc.nat(2),
});

const stored = fc.constantFrom('all' as const, 'half' as const, 'none' as const, 'token' as const);
const failure = fc.oneof(
  stored.map((part): WriteStep => {
    return { do: 'throw', error: new Retryable('lost', 'lost', { ambiguous: true }), stored: part };
  }),
  stored.map((part): WriteStep => ({ do: 'throw', error: new Error('unknown'), stored: part })),
  fc.constant<WriteStep>({ do: 'throw', error: new Retryable('refused', 'refused'), stored: 'none' }),
  fc.constant<WriteStep>({ do: 'throw', error: new Overloaded('busy', 'busy', 2), stored: 'none' }),
  stored.map((part): WriteStep => ({ do: 'hang', stored: part })),
);

const step = fc.oneof(
  { weight: 4, arbitrary: frame },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('nudge' as const), journal: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const), journal: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fail' as const), write: failure }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('poison' as const), seq: fc.integer({ min: 1, max: 60 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('refuse' as const),
      seq: fc.integer({ min: 1, max: 60 }),
      times: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reconcile' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'kill' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'stop' as const }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Every figure of every sink adds up, whatever is going on. */
async function expectSums({ delivery }: Process): Promise<Record<string, number>> {
  const range = { fromMs: 0, toMs: 2_000_000_000_000 };
  const { rows, uncountedEvents, addsUp } = await delivery.reconcile(range, new AbortController().signal);
  expect([uncountedEvents, addsUp]).toEqual([0, true]);
  const lettered: Record<string, number> = { store: 0, router: 0 };
  for (const { acknowledged, perSink } of rows) {
    for (const [name, figures] of Object.entries(perSink)) {
      expect(figures.acknowledged).toBe(acknowledged);
      expect(figures.pending).toBeGreaterThanOrEqual(0);
      lettered[name] = (lettered[name] ?? 0) + figures.deadLettered;
    }
  }
  return lettered;
}

async function scenario(file: string, steps: readonly Step[], blockRowsMax: number): Promise<void> {
  const journals = [createFakeJournal('j0'), createFakeJournal('j1')] as const;
  const store = createFakeStore();
  const router = createFakeRouter('router');
  const at = (index: number) => journals[index] as (typeof journals)[0];
  const start = (): Process =>
    startProcess({
      file,
      sinks: [store.sink(), router.sink],
      readers: journals.map((journal) => journal.reader()),
      limits: { blockRowsMax, flushIntervalMs: 3, retryMaxMs: 2, writeTimeoutMs: 5 },
    });
  let timeMs = 1_700_000_000_000;
  let running = start();
  for (const next of steps) {
    if (next.kind === 'frame') {
      timeMs += next.minutes * 60_000;
      at(next.journal).append(next.rows, timeMs);
    }
    if (next.kind === 'nudge') running.delivery.nudge(at(next.journal).id, at(next.journal).lastSeq());
    if (next.kind === 'flush') running.delivery.flush(at(next.journal).id);
    if (next.kind === 'fail') store.script.push(next.write);
    if (next.kind === 'poison') store.poison.add(next.seq);
    if (next.kind === 'refuse' && next.times === Number.POSITIVE_INFINITY) router.refused.add(next.seq);
    else if (next.kind === 'refuse') router.flaky.set(next.seq, next.times);
    if (next.kind === 'reconcile') await expectSums(running);
    if (next.kind === 'pause') await new Promise((resolve) => setTimeout(resolve, next.ms));
    if (next.kind === 'kill' || next.kind === 'stop') {
      await running[next.kind]();
      expect(running.fatal).toEqual([]);
      running = start();
    }
  }
  for (const journal of journals) running.delivery.nudge(journal.id, journal.lastSeq());
  const isDone = (): boolean =>
    journals.every(({ id, lastSeq }) => {
      return running.delivery.progress().every(({ journal, seq }) => journal !== id || seq === lastSeq());
    });
  await until(isDone, 'everything is delivered');
  const [state] = running.delivery.sinkStates();
  expect(state?.stopped).toBeUndefined();
  const sums = await expectSums(running);
  const letters = (sink: string) => running.delivery.deadLetters.list({ sink, limit: 1_000 });
  const lettered = new Set(letters('store').map(({ journal, firstSeq }) => `${journal}:${firstSeq}`));
  const refused = new Set(letters('router').map(({ journal, firstSeq }) => `${journal}:${firstSeq}`));
  expect([sums['store'], sums['router']]).toEqual([lettered.size, refused.size]);
  await running.stop();

  const everyRow = journals.flatMap(({ id, lastSeq }) => Array.from({ length: lastSeq() }, (_, i) => `${id}:${i + 1}`));
  for (const key of everyRow) {
    expect([key, (store.rows.get(key) ?? 0) + (lettered.has(key) ? 1 : 0)]).toEqual([key, 1]);
    expect([key, router.rows.has(key) || refused.has(key)]).toEqual([key, true]);
  }
  const texts = new Map<string, string>();
  for (const { token, text } of store.writes) {
    expect(texts.get(token) ?? text).toBe(text);
    texts.set(token, text);
  }
  const reopened = openState(file);
  expect(reopened.countedTotal()).toBe(everyRow.length);
  expect(reopened.sinkTotals('store').rows).toBe(everyRow.length);
  reopened.close();
}

test(
  'any sequence of events ends with every row stored once',
  () =>
    withFolder(async (folder) => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 5, maxLength: 40 }),
          fc.integer({ min: 1, max: 30 }),
          (steps, rows) => scenario(join(folder, `${run++}.sqlite`), steps, rows),
        ),
        { numRuns: 40, endOnFailure: true },
      );
    }),
  60_000,
);
