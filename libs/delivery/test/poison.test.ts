/** Rows that make the table refuse their whole block: each ends as a dead letter, alone, and everything else is stored once. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { openState, type State } from '../src/state.ts';
import { createFakeJournal, type FakeJournal } from './fake-journal.ts';
import { createFakeStore, type FakeStore } from './fake-store.ts';
import { type Process, startProcess, until, withFolder } from './harness.ts';
import { unclear, withSetup } from './setup.ts';

const row = (index: number) => ({
  storeId: `s${index % 3}`,
  eventType: index % 2 === 0 ? 'item_added' : 'cart_created',
});

/** Frames of 1, 7, 3 and 5 rows. */
function newJournal(): FakeJournal {
  const journal = createFakeJournal('j1');
  let made = 0;
  for (const rows of [1, 7, 3, 5])
    journal.append(
      Array.from({ length: rows }, () => row(made++)),
      60_000 * rows,
    );
  return journal;
}

function start(
  file: string,
  store: FakeStore,
  journal: FakeJournal,
  more: Partial<Parameters<typeof startProcess>[0]>,
) {
  return startProcess({
    file,
    sinks: [store.sink()],
    readers: [journal.reader()],
    durable: [{ journal: journal.id, seq: journal.lastSeq() }],
    ...more,
  });
}

function expectConserved(file: string, store: FakeStore, journal: FakeJournal): void {
  const state = openState(file);
  const letters = state.deadLetters.list({ limit: 1_000 });
  const all = Array.from({ length: journal.lastSeq() }, (_, index) => index + 1);
  expect(letters.map(({ firstSeq }) => firstSeq).toSorted((a, b) => a - b)).toEqual(
    [...store.poison].toSorted((a, b) => a - b),
  );
  expect(store.rows).toEqual(new Map(all.filter((seq) => !store.poison.has(seq)).map((seq) => [`j1:${seq}`, 1])));
  expect(state.cursors()).toEqual([{ journal: 'j1', sink: 'store', seq: journal.lastSeq() }]);
  expect(state.countedTotal()).toBe(journal.lastSeq());
  expect(state.findBlock('j1', 'store')).toBeUndefined();
  for (const { id, firstSeq } of letters) {
    const bytes = state.deadLetters.get(id)?.bytes as Uint8Array;
    expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({
      seq: firstSeq,
      eventId: `e${firstSeq}`,
      ...row(firstSeq - 1),
    });
  }
  state.close();
}

const isDone = (running: Process, journal: FakeJournal) => () =>
  running.delivery.progress()[0]?.seq === journal.lastSeq();

const PLACES: readonly (readonly [string, readonly number[]])[] = [
  ...Array.from({ length: 16 }, (_, index) => [`row ${index + 1}`, [index + 1]] as const),
  ['two neighbours within a frame', [4, 5]],
  ['two neighbours in two frames', [8, 9]],
  ['the first and the last', [1, 16]],
  ['every other', [2, 4, 6, 8, 10, 12, 14, 16]],
  ['all', Array.from({ length: 16 }, (_, index) => index + 1)],
];

test.each(PLACES)('poison at %s', (_name, poison) =>
  withFolder(async (folder) => {
    const file = join(folder, 'state.sqlite');
    const journal = newJournal();
    const store = createFakeStore();
    for (const seq of poison) store.poison.add(seq);
    const running = start(file, store, journal, {});
    await until(isDone(running, journal), 'everything is done');
    expect(running.delivery.sinkStates()).toMatchObject([{ state: 'healthy', deadLetters: poison.length, rows: 16 }]);
    if (poison.length === 1) expect(store.writes.length).toBeLessThanOrEqual(2 * 4 + 2);
    await running.stop();
    expectConserved(file, store, journal);
  }),
);

test('a large block with one bad row costs about two sends for each halving', () =>
  withSetup(async ({ journal, store, start: begin }) => {
    for (let frame = 0; frame < 8; frame++) journal.append(Array.from({ length: 1_000 }, (_, index) => row(index)));
    store.poison.add(7_777);
    const running = begin({ limits: { blockRowsMax: 8_000 }, durable: [{ journal: 'j1', seq: 8_000 }] });
    await until(() => running.progress.at(-1)?.seq === 8_000, 'everything is done');
    expect(store.writes.length).toBeLessThanOrEqual(2 * 13 + 2);
    expect(store.rows.size).toBe(7_999);
    await running.stop();
  }));

test('what an earlier attempt may have stored stays in doubt in every part, also in those that are cut later', () =>
  withSetup(async ({ journal, store, start: begin }) => {
    for (let frame = 0; frame < 4; frame++) journal.append(Array.from({ length: 4 }, (_, index) => row(index)));
    // The lost attempt got half of the rows in, the bad one not among them.
    store.script.push({ do: 'throw', error: unclear, stored: 'half' });
    store.poison.add(11);
    const first = begin({ durable: [{ journal: 'j1', seq: 16 }] });
    await until(() => first.progress.some(({ seq }) => seq >= 8), 'the first half is done');
    await first.kill();
    const second = begin({ durable: [{ journal: 'j1', seq: 16 }] });
    await until(() => second.delivery.progress()[0]?.seq === 16, 'everything is done');
    expect(store.writes.slice(1).every(({ ambiguous }) => ambiguous)).toBe(true);
    second.delivery.nudge('j1', journal.append([row(0)]));
    await until(() => second.delivery.progress()[0]?.seq === 17, 'the next block is done');
    expect(store.writes.at(-1)?.ambiguous).toBe(false);
    await second.stop();
    const expected = Array.from({ length: 17 }, (_, index) => index + 1).filter((seq) => seq !== 11);
    expect(store.rows).toEqual(new Map(expected.map((seq) => [`j1:${seq}`, 1])));
  }));

/** Dies at the given step: it and every later one throws. Every change of the state is a step before and one after. */
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
  return {
    ...state,
    cutBlock: around('cutBlock', state.cutBlock),
    countAttempt: around('countAttempt', state.countAttempt),
    shortenBlock: around('shortenBlock', state.shortenBlock),
    finishBlock: around('finishBlock', state.finishBlock),
    deadLetters: { ...state.deadLetters, add: around('add', state.deadLetters.add) },
  };
}

test('a process that dies at any step of a bisection leaves every row stored once or in one letter', () =>
  withFolder(async (folder) => {
    const seen = new Set<string>();
    for (let deadAt = 0; ; deadAt++) {
      const file = join(folder, `state-${deadAt}.sqlite`);
      const journal = newJournal();
      const store = createFakeStore();
      store.script.push({ do: 'throw', error: unclear, stored: 'half' });
      store.poison.add(7);
      store.poison.add(9);
      const steps: string[] = [];
      const running = start(file, store, journal, { wrapState: (state) => mortal(state, deadAt, steps) });
      await until(() => isDone(running, journal)() || running.fatal.length > 0, 'it is done, or dead');
      await running.kill();
      const died = steps.length > deadAt;
      if (died) seen.add(steps.at(-1) as string);
      store.script.length = 0;
      const again = start(file, store, journal, {});
      await until(isDone(again, journal), 'the next process does the rest');
      expect(again.fatal).toEqual([]);
      await again.stop();
      expectConserved(file, store, journal);
      if (!died) break;
    }
    const names = ['add', 'countAttempt', 'cutBlock', 'finishBlock', 'shortenBlock'];
    expect([...seen].sort()).toEqual(['after', 'before'].flatMap((at) => names.map((name) => `${at} ${name}`)));
  }));
