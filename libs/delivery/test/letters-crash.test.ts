/** Deaths while ranges are parked and letters replayed: nothing is in two places, and nothing in none. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import type { ReadRow } from '../src/replay.ts';
import type { State } from '../src/state.ts';
import { createFakeJournal, type FakeJournal } from './fake-journal.ts';
import { createFakeRouter, type FakeRouter } from './fake-router.ts';
import { createFakeStore, type FakeStore } from './fake-store.ts';
import { type Process, startProcess, until, withFolder } from './harness.ts';
import { ROWS } from './setup.ts';

const NEVER = new AbortController().signal;
const ROW_COUNT = 24;

function mortal(state: State, deadAt: number, steps: string[]): State {
  function around<A extends unknown[]>(name: string, call: (...args: A) => void): (...args: A) => void {
    const step = (at: string): void => {
      steps.push(`${at} ${name}`);
      if (steps.length > deadAt) throw new Error(`dead ${at} ${name}`);
    };
    return (...args) => {
      step('before');
      call(...args);
      step('after');
    };
  }
  const { deadLetters } = state;
  return {
    ...state,
    parkRange: around('parkRange', state.parkRange),
    deadLetters: {
      ...deadLetters,
      add: around('add', deadLetters.add),
      settle: around('settle', deadLetters.settle),
      shrinkRange: around('shrinkRange', deadLetters.shrinkRange),
    },
  };
}

interface World {
  readonly file: string;
  readonly journal: FakeJournal;
  readonly store: FakeStore;
  readonly router: FakeRouter;
}

function start(
  { file, journal, store, router }: World,
  wrapState: (state: State) => State = (state) => state,
): Process {
  const readRows = async (_journal: string, firstSeq: number, lastSeq: number): Promise<ReadRow[]> =>
    journal
      .frames()
      .flatMap(({ payload }) => new TextDecoder().decode(payload).trimEnd().split('\n'))
      .map((line) => ({ seq: (JSON.parse(line) as { seq: number }).seq, bytes: new TextEncoder().encode(line) }))
      .filter(({ seq }) => seq >= firstSeq && seq <= lastSeq);
  return startProcess({
    file,
    sinks: [store.sink(), { sink: router.sink, required: false, backlogEventsMax: 12 }],
    readers: [journal.reader()],
    limits: { blockRowsMax: 6 },
    more: { readRows },
    wrapState,
  });
}

const isDone = ({ delivery }: Process): boolean => delivery.progress().every(({ seq }) => seq === ROW_COUNT);

/** Delivers everything, parks what hangs, and replays until no letter is left. */
async function runThrough(running: Process): Promise<void> {
  await until(() => isDone(running) || running.fatal.length > 0, 'everything is done, or the process is dead');
  while (running.fatal.length === 0 && running.delivery.deadLetters.stats().sinks.length > 0) {
    await running.delivery.deadLetters.replay({ filter: {} }, NEVER);
  }
}

test(
  'a process that dies at any step of parking or replaying leaves every row delivered or in a letter',
  () =>
    withFolder(async (folder) => {
      const seen = new Set<string>();
      for (let deadAt = 0; ; deadAt++) {
        const journal = createFakeJournal('j1');
        while (journal.lastSeq() < ROW_COUNT) journal.append(ROWS, 60_000 * (1 + Math.floor(journal.lastSeq() / 9)));
        const world = {
          file: join(folder, `${deadAt}.sqlite`),
          journal,
          store: createFakeStore(),
          router: createFakeRouter(),
        };
        // Of the second block one row is refused for good and another for now, until the range is parked.
        world.router.refused.add(8);
        world.router.flaky.set(9, Number.POSITIVE_INFINITY);
        const steps: string[] = [];
        const first = start(world, (state) => mortal(state, deadAt, steps));
        const isDead = (): boolean => first.fatal.length > 0;
        first.delivery.nudge('j1', 12);
        await until(
          () => isDead() || first.delivery.deadLetters.list({ limit: 1 }).length === 1,
          'row 8 has its letter',
        );
        if (!isDead()) first.delivery.nudge('j1', ROW_COUNT);
        await until(() => isDead() || isDone(first), 'the range is parked and the rest delivered');
        if (first.fatal.length === 0) {
          const { rows, addsUp } = await first.delivery.reconcile({ fromMs: 0, toMs: 3_600_000 }, NEVER);
          expect(addsUp).toBe(true);
          const lettered = rows.reduce((sum, { perSink }) => sum + (perSink['kafka']?.deadLettered ?? 0), 0);
          expect(lettered).toBe(first.delivery.deadLetters.stats().sinks.reduce((sum, one) => sum + one.rows, 0));
        }
        world.router.refused.clear();
        world.router.flaky.clear();
        await runThrough(first);
        await first.kill();
        const died = steps.length > deadAt;
        if (died) seen.add(steps.at(-1) as string);
        const second = start(world);
        second.delivery.nudge('j1', ROW_COUNT);
        await runThrough(second);
        expect(second.fatal).toEqual([]);
        const { rows, addsUp } = await second.delivery.reconcile({ fromMs: 0, toMs: 3_600_000 }, NEVER);
        expect([addsUp, rows.reduce((sum, { perSink }) => sum + (perSink['kafka']?.done ?? 0), 0)]).toEqual([
          true,
          ROW_COUNT,
        ]);
        await second.stop();
        for (let seq = 1; seq <= ROW_COUNT; seq++) {
          expect([seq, (world.router.rows.get(`j1:${seq}`) ?? 0) > 0]).toEqual([seq, true]);
          expect([seq, world.store.rows.get(`j1:${seq}`)]).toEqual([seq, 1]);
        }
        if (!died) break;
      }
      const names = ['add', 'parkRange', 'settle', 'shrinkRange'];
      expect([...seen].sort()).toEqual(['after', 'before'].flatMap((at) => names.map((name) => `${at} ${name}`)));
    }),
  60_000,
);
