/**
 * A process that dies at every single step between cutting a block and committing its cursor. Whatever the step, and
 * even when the table remembers a token whose rows it lost, the next process leaves every row in the table once.
 */
import { expect, test } from 'bun:test';
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Retryable } from '@libs/pipeline';
import { openState, type State } from '../src/state.ts';
import { createFakeJournal, type FakeJournal } from './fake-journal.ts';
import { createFakeStore, type FakeStore, type WriteStep } from './fake-store.ts';
import { type Process, startProcess, until, withFolder } from './harness.ts';

/** Counts steps, and at the chosen one the process is dead: it throws there and at every later step. */
interface Reaper {
  step(name: string): void;
  readonly steps: string[];
  isDead(): boolean;
}

function createReaper(deadAt: number): Reaper {
  const steps: string[] = [];
  return {
    steps,
    isDead: () => steps.length > deadAt,
    step(name) {
      steps.push(name);
      if (steps.length > deadAt) throw new Error(`dead at ${name}`);
    },
  };
}

/** Every change of the state is two steps: the process may die before it, or after it is on disk. */
function mortalState(state: State, reaper: Reaper): State {
  function around<A extends unknown[]>(name: string, call: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      reaper.step(`before ${name}`);
      call(...args);
      reaper.step(`after ${name}`);
    };
  }
  return {
    ...state,
    createCursors: around('createCursors', state.createCursors),
    cutBlock: around('cutBlock', state.cutBlock),
    countAttempt: around('countAttempt', state.countAttempt),
    markUnsent: around('markUnsent', state.markUnsent),
    finishBlock: around('finishBlock', state.finishBlock),
  };
}

const ROWS = Array.from({ length: 5 }, (_, index) => ({ storeId: `s${index % 2}`, eventType: 'item_added' }));

function expectDelivered(store: FakeStore, journal: FakeJournal, file: string): void {
  expect(store.rows).toEqual(
    new Map(Array.from({ length: journal.lastSeq() }, (_, i) => [`${journal.id}:${i + 1}`, 1])),
  );
  const byToken = new Map(store.writes.map(({ token, text }) => [token, text]));
  for (const { token, text } of store.writes) expect(text).toBe(byToken.get(token) as string);
  const state = openState(file);
  expect(state.cursors()).toEqual([{ journal: journal.id, sink: 'store', seq: journal.lastSeq() }]);
  expect(state.countedTotal()).toBe(journal.lastSeq());
  expect(state.sinkTotals('store').rows).toBe(journal.lastSeq());
  expect(state.findBlock(journal.id, 'store')).toBeUndefined();
  state.close();
}

function newJournal(): FakeJournal {
  const journal = createFakeJournal('j1');
  for (let frame = 0; frame < 3; frame++) journal.append(ROWS);
  return journal;
}

function start(file: string, store: FakeStore, journal: FakeJournal, wrapState?: (state: State) => State): Process {
  return startProcess({
    file,
    sinks: [store.sink()],
    readers: [journal.reader()],
    limits: { blockRowsMax: 5 },
    durable: [{ journal: journal.id, seq: journal.lastSeq() }],
    ...(wrapState === undefined ? {} : { wrapState }),
  });
}

async function finish(file: string, store: FakeStore, journal: FakeJournal): Promise<void> {
  const running = start(file, store, journal);
  await until(() => running.delivery.progress()[0]?.seq === journal.lastSeq(), 'everything is delivered');
  expect(running.fatal).toEqual([]);
  await running.stop();
}

/** The second block meets trouble first, so that the steps of a retry are among those at which the process dies. */
const trouble = (): WriteStep[] => [
  { do: 'store' },
  { do: 'throw', error: new Retryable('lost', 'lost', { ambiguous: true }), stored: 'half' },
  { do: 'throw', error: new Retryable('refused', 'refused'), stored: 'none' },
];

/** Runs until the process is dead at the given step; returns the steps taken, all of them when it never died. */
async function runAndDie(file: string, store: FakeStore, journal: FakeJournal, deadAt: number): Promise<string[]> {
  const reaper = createReaper(deadAt);
  let running: Process;
  try {
    running = start(file, store, journal, (state) => mortalState(state, reaper));
  } catch {
    expect(reaper.isDead()).toBe(true);
    return reaper.steps;
  }
  const isDone = (): boolean => running.delivery.progress()[0]?.seq === journal.lastSeq();
  await until(() => isDone() || running.fatal.length > 0, 'everything is delivered, or the process is dead');
  await running.kill();
  return reaper.steps;
}

test('a process that dies at any step of the state leaves every row stored once', () =>
  withFolder(async (folder) => {
    const seen = new Set<string>();
    for (let deadAt = 0; ; deadAt++) {
      const file = join(folder, `state-${deadAt}.sqlite`);
      const journal = newJournal();
      const store = createFakeStore();
      store.script.push(...trouble());
      const steps = await runAndDie(file, store, journal, deadAt);
      const died = steps.length > deadAt;
      if (died) seen.add(steps.at(-1) as string);
      store.script.length = 0;
      await finish(file, store, journal);
      expectDelivered(store, journal, file);
      if (!died) break;
    }
    expect([...seen].sort()).toEqual([
      'after countAttempt',
      'after createCursors',
      'after cutBlock',
      'after finishBlock',
      'before countAttempt',
      'before createCursors',
      'before cutBlock',
      'before finishBlock',
    ]);
  }));

test('a process that dies during a send leaves every row stored once, whatever the table took', () =>
  withFolder(async (folder) => {
    for (const stored of ['none', 'half', 'all', 'token'] as const) {
      for (const deaths of [1, 3]) {
        const file = join(folder, `state-${stored}-${deaths}.sqlite`);
        const journal = newJournal();
        const store = createFakeStore();
        for (let death = 0; death < deaths; death++) {
          store.script.push({ do: 'hang', stored: death === 0 ? stored : 'none' });
          const running = start(file, store, journal);
          await until(() => store.writes.length === death + 1, 'the block is on its way');
          await running.kill();
        }
        await finish(file, store, journal);
        expect(store.writes.slice(0, deaths + 1).map(({ ambiguous }) => ambiguous)).toEqual([
          false,
          ...Array.from({ length: deaths }, () => true),
        ]);
        expectDelivered(store, journal, file);
      }
    }
  }));

test('files copied while a block is on its way are as good as the originals', () =>
  withFolder(async (folder) => {
    const file = join(folder, 'state.sqlite');
    const copy = join(folder, 'copy.sqlite');
    const journal = newJournal();
    const store = createFakeStore();
    store.script.push({ do: 'store' }, { do: 'hang', stored: 'token' });
    const running = start(file, store, journal);
    await until(() => store.writes.length === 2, 'the second block is on its way');
    copyFileSync(file, copy);
    expect(existsSync(`${file}-wal`)).toBe(true);
    copyFileSync(`${file}-wal`, `${copy}-wal`);
    await running.kill();
    await finish(copy, store, journal);
    expectDelivered(store, journal, copy);
  }));
