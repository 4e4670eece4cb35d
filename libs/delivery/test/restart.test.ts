/** Ends and beginnings: what a process leaves, and what the next one makes of it. */
import { expect, test } from 'bun:test';
import { openState } from '../src/state.ts';
import { createFakeJournal } from './fake-journal.ts';
import { until } from './harness.ts';
import { clean, expectOnce, ROWS, unclear, withSetup } from './setup.ts';

test('a cursor beyond the end of its journal stops the sink', () =>
  withSetup(async ({ journal, store, start }) => {
    journal.append(ROWS);
    const first = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => first.progress.at(-1)?.seq === 6, 'everything is delivered');
    await first.stop();
    journal.cutAfter(3);
    const second = start({ readers: [journal.reader()] });
    await until(() => second.delivery.sinkStates()[0]?.stopped !== undefined, 'the sink has stopped');
    expect(second.log.find(({ level }) => level === 'error')?.fields['code']).toBe('cursor_beyond_end');
    await second.stop();
    expectOnce(store, { ...journal, lastSeq: () => 6 });
  }));

test('a cut block whose bytes have changed is never sent', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'hang', stored: 'none' });
    const first = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => store.writes.length === 1, 'the block is on its way');
    await first.kill();
    journal.cutAfter(0);
    journal.append(ROWS.slice(1).concat(ROWS.slice(0, 1)));
    journal.append(ROWS);
    const second = start();
    await until(() => second.delivery.sinkStates()[0]?.stopped !== undefined, 'the sink has stopped');
    expect(second.log.find(({ level }) => level === 'error')?.fields['code']).toBe('block_changed');
    await second.stop();
    journal.cutAfter(0);
    const third = start();
    await until(() => third.delivery.sinkStates()[0]?.stopped !== undefined, 'the sink has stopped');
    expect(third.log.find(({ level }) => level === 'error')?.fields['code']).toBe('cursor_beyond_end');
    await third.stop();
    expect(store.writes).toHaveLength(1);
  }));

test('a cut block waits until all of it is known to be durable again', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'hang', stored: 'token' });
    journal.append(ROWS);
    const first = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => store.writes.length === 1, 'the block is on its way');
    await first.kill();
    const reader = journal.reader();
    const second = start({ readers: [reader] });
    await until(() => reader.reads > 6, 'the worker has looked several times');
    expect(store.writes).toHaveLength(1);
    second.delivery.nudge('j1', 6);
    await until(() => second.progress.at(-1)?.seq === 6, 'the block is delivered');
    expect(store.writes[1]).toEqual({ ...(store.writes[0] as (typeof store.writes)[0]), ambiguous: true });
    await second.stop();
    expectOnce(store, journal);
  }));

test('stopping drains what is durable, and abandons a write that hangs at the deadline', () =>
  withSetup(async ({ journal, store, start }) => {
    const first = start({ limits: { flushIntervalMs: 3_600_000 } });
    first.delivery.nudge('j1', journal.append(ROWS));
    await first.stop();
    expectOnce(store, journal);
    store.script.push({ do: 'hang', stored: 'all' });
    const second = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => store.writes.length === 2, 'the second block is on its way');
    await second.kill();
    expect(second.progress).toEqual([]);
    const third = start({ durable: [{ journal: 'j1', seq: 6 }] });
    await until(() => third.progress.at(-1)?.seq === 6, 'the next process finishes it');
    expect(store.writes.map(({ ambiguous }) => ambiguous)).toEqual([false, false, true]);
    await third.stop();
    expectOnce(store, journal);
  }));

test('stopping while a sink is down does not wait, and a block that surely was not stored is not ambiguous later', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'throw', error: clean, stored: 'none' });
    const first = start({
      limits: { retryMinMs: 3_600_000, retryMaxMs: 3_600_000 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => first.delivery.sinkStates()[0]?.state === 'degraded', 'the first attempt has failed');
    await first.stop();
    const second = start({ durable: [{ journal: 'j1', seq: 3 }] });
    await until(() => second.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes.map(({ ambiguous }) => ambiguous)).toEqual([false, false]);
    expect(new Set(store.writes.map(({ token }) => token)).size).toBe(1);
    await second.stop();
    expectOnce(store, journal);
  }));

test('stopping while a block is in doubt leaves it in doubt', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'throw', error: unclear, stored: 'token' });
    const first = start({
      limits: { retryMinMs: 3_600_000, retryMaxMs: 3_600_000 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => first.delivery.sinkStates()[0]?.state === 'degraded', 'the first attempt has failed');
    await first.stop();
    const second = start({ durable: [{ journal: 'j1', seq: 3 }] });
    await until(() => second.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes.map(({ ambiguous }) => ambiguous)).toEqual([false, true]);
    await second.stop();
    expectOnce(store, journal);
  }));

test('a journal that is gone is forgotten, and the others go on', () =>
  withSetup(async ({ file, journal, store, start }) => {
    const old = createFakeJournal('old');
    const running = start({
      readers: [old.reader(), journal.reader()],
      durable: [{ journal: 'old', seq: old.append(ROWS) }],
    });
    await until(() => running.released.some(({ journal: id, seq }) => id === 'old' && seq === 3), 'it is released');
    await running.delivery.remove('old');
    await running.delivery.remove('old');
    running.delivery.nudge('old', old.append(ROWS));
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.journal === 'j1', 'the other journal goes on');
    expect(running.delivery.releases()).toEqual([{ journal: 'j1', seq: 3 }]);
    await running.stop();
    const state = openState(file);
    expect(state.cursors()).toEqual([{ journal: 'j1', sink: 'store', seq: 3 }]);
    expect(state.countedTotal()).toBe(6);
    state.close();
    expect(store.rows.size).toBe(6);
  }));

test('durable rows that the journal does not give end the process instead of stalling in silence', () =>
  withSetup(async ({ journal, start }) => {
    const reader = journal.reader();
    let laterMs = 0;
    const running = start({ readers: [reader], nowMs: () => performance.now() + laterMs });
    running.delivery.nudge('j1', 5);
    await until(() => reader.reads > 4, 'the worker has looked several times');
    expect(running.fatal).toEqual([]);
    laterMs = 60_000;
    await until(() => running.fatal.length === 1, 'it gives up');
    expect(String(running.fatal[0])).toContain('does not give event 1, which is durable');
    await running.stop();
  }));
