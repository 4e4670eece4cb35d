import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { Overloaded, Permanent } from '@libs/pipeline';
import { openState } from '../src/state.ts';
import { createFakeJournal } from './fake-journal.ts';
import { createFakeStore } from './fake-store.ts';
import { until } from './harness.ts';
import { clean, expectOnce, ROWS, unclear, withSetup } from './setup.ts';

test('rows reach the sink byte for byte, and cursor, counters and release follow', () =>
  withSetup(async ({ file, journal, store, start }) => {
    journal.append(ROWS, 60_000);
    journal.append(ROWS, 119_999);
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, 120_000) }] });
    await until(() => running.released.at(-1)?.seq === 9, 'everything is released');
    expect(running.progress.at(-1)).toEqual({ journal: 'j1', sink: 'store', seq: 9 });
    expect(store.writes.map(({ text }) => text).join('')).toBe(
      journal
        .frames()
        .map(({ payload }) => new TextDecoder().decode(payload))
        .join(''),
    );
    expect(store.writes.every(({ ambiguous }) => !ambiguous)).toBe(true);
    expect(running.delivery.sinkStates()).toMatchObject([{ name: 'store', state: 'healthy', rows: 9, retries: 0 }]);
    await running.stop();
    const state = openState(file);
    expect(state.cursors()).toEqual([{ journal: 'j1', sink: 'store', seq: 9 }]);
    expect(state.findBlock('j1', 'store')).toBeUndefined();
    expect(state.counts({ fromMinute: 0, untilMinute: 1_000, rowsMax: 10 })).toEqual([
      { spanMinutes: 1, startMinute: 1, journal: 'j1', storeId: 'north', eventType: 'item_added', count: 4 },
      { spanMinutes: 1, startMinute: 1, journal: 'j1', storeId: 'south', eventType: 'cart_created', count: 2 },
      { spanMinutes: 1, startMinute: 2, journal: 'j1', storeId: 'north', eventType: 'item_added', count: 2 },
      { spanMinutes: 1, startMinute: 2, journal: 'j1', storeId: 'south', eventType: 'cart_created', count: 1 },
    ]);
    state.close();
  }));

test('without any nudge, a frame with a successor is delivered, and the last one is not', () =>
  withSetup(async ({ journal, store, start }) => {
    const running = start();
    journal.append(ROWS);
    journal.append(ROWS);
    await until(() => running.progress.at(-1)?.seq === 3, 'the first frame is delivered');
    expect(store.writes).toHaveLength(1);
    running.delivery.nudge('j1', 6);
    await until(() => running.progress.at(-1)?.seq === 6, 'the second one is, once it is known to be durable');
    await running.stop();
    expectOnce(store, journal);
  }));

test('a block is cut by rows at once, by a flush at once, else not before the interval has passed', () =>
  withSetup(async ({ journal, store, start }) => {
    const running = start({ limits: { flushIntervalMs: 3_600_000, blockRowsMax: 6 } });
    await until(() => store.connects === 1, 'the sink is connected');
    running.delivery.nudge('j1', journal.append(ROWS));
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 6, 'a full block is delivered');
    running.delivery.nudge('j1', journal.append(ROWS));
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(store.writes).toHaveLength(1);
    running.delivery.flush('j1');
    await until(() => running.progress.at(-1)?.seq === 9, 'the flush is obeyed');
    running.delivery.flush('j1');
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 12, 'a flush that came before its row is obeyed');
    expect(store.writes.map(({ lastSeq }) => lastSeq)).toEqual([6, 9, 12]);
    await running.stop();
  }));

test('blocks stop at the byte limit, but a frame that is larger goes whole', () =>
  withSetup(async ({ journal, store, start }) => {
    for (let frame = 0; frame < 6; frame++) journal.append(ROWS);
    const frameBytes = journal.frames()[0]?.payload.byteLength as number;
    const running = start({
      limits: { blockBytesMax: frameBytes * 2.5 },
      durable: [{ journal: 'j1', seq: journal.lastSeq() }],
    });
    await until(() => running.progress.at(-1)?.seq === 18, 'everything is delivered');
    expect(store.writes.map(({ lastSeq }) => lastSeq)).toEqual([6, 12, 18]);
    await running.stop();
    const small = start({ limits: { blockBytesMax: 1 }, durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => small.progress.at(-1)?.seq === 21, 'the large frame is delivered');
    await small.stop();
  }));

test.each([
  ['a clean error', { do: 'throw', error: clean, stored: 'none' }, false],
  ['an ambiguous error that stored everything', { do: 'throw', error: unclear, stored: 'all' }, true],
  ['an ambiguous error that stored a part', { do: 'throw', error: unclear, stored: 'half' }, true],
  ['a token that is remembered without its rows', { do: 'throw', error: unclear, stored: 'token' }, true],
  ['an error of no known class', { do: 'throw', error: new TypeError('odd'), stored: 'all' }, true],
  ['something thrown that is no error', { do: 'throw', error: 'odd', stored: 'none' }, true],
  ['an overload', { do: 'throw', error: new Overloaded('busy', 'busy', 3), stored: 'none' }, false],
] as const)('after %s the same block is sent again', (_name, step, ambiguous) =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push(step);
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => running.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes).toHaveLength(2);
    expect(store.writes[1]).toEqual({ ...(store.writes[0] as (typeof store.writes)[0]), ambiguous });
    expect(running.delivery.sinkStates()[0]).toMatchObject({ state: 'healthy', retries: 1, rows: 3, blocks: 1 });
    await running.stop();
    expectOnce(store, journal);
  }),
);

test('a doubt once raised stays until the block is done', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push(
      { do: 'throw', error: clean, stored: 'none' },
      { do: 'throw', error: unclear, stored: 'token' },
      { do: 'throw', error: clean, stored: 'none' },
    );
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => running.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes.map(({ ambiguous }) => ambiguous)).toEqual([false, false, true, true]);
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 6, 'the next block is delivered');
    expect(store.writes.at(-1)?.ambiguous).toBe(false);
    await running.stop();
    expectOnce(store, journal);
  }));

test('a write that never answers is aborted after its time limit and counts as ambiguous', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'hang', stored: 'all' });
    const running = start({
      limits: { writeTimeoutMs: 20 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => running.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes.map(({ ambiguous }) => ambiguous)).toEqual([false, true]);
    await running.stop();
    expectOnce(store, journal);
  }));

test('a sink that is down shows at once, and connects again after an error', () =>
  withSetup(async ({ journal, store, start }) => {
    store.connectErrors.push(...Array.from({ length: 7 }, () => clean));
    const running = start();
    await until(() => running.delivery.sinkStates()[0]?.state === 'degraded', 'the sink is degraded');
    await until(() => running.delivery.sinkStates()[0]?.state === 'unhealthy', 'the sink is unhealthy');
    expect(running.delivery.sinkStates()[0]?.lastError).toBe('nobody listens');
    expect(running.delivery.sinkStates()[0]?.stopped).toBeUndefined();
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.connects).toBe(8);
    store.script.push({ do: 'throw', error: unclear, stored: 'none' });
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 6, 'the next block is delivered');
    expect(store.connects).toBe(9);
    await running.stop();
  }));

test('a permanent error that is not about rows stops the sink loudly, and the others go on', () =>
  withSetup(async ({ journal, store, start }) => {
    const other = createFakeStore();
    store.script.push({ do: 'throw', error: new Permanent('no_such_table', 'gone'), stored: 'none' });
    const running = start({
      sinks: [store.sink(), other.sink('other')],
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => running.delivery.sinkStates()[0]?.stopped !== undefined, 'the sink has stopped');
    running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => running.progress.at(-1)?.seq === 6, 'the other sink goes on');
    expect(running.delivery.sinkStates()).toMatchObject([
      { state: 'unhealthy', rows: 0 },
      { state: 'healthy', rows: 6 },
    ]);
    expect(running.delivery.releases()).toEqual([{ journal: 'j1', seq: 0 }]);
    expect(running.released).toEqual([]);
    const errors = running.log.filter(({ level }) => level === 'error');
    expect(errors).toHaveLength(1);
    expect(errors[0]?.fields).toMatchObject({ sink: 'store', code: 'no_such_table', journal: 'j1', seq: 1 });
    expect(store.writes).toHaveLength(1);
    await running.stop();
    const again = start({ durable: [{ journal: 'j1', seq: 6 }] });
    await until(() => again.progress.at(-1)?.seq === 6, 'the next process delivers what the first could not');
    expect(store.writes[1]).toMatchObject({ token: store.writes[0]?.token, ambiguous: true });
    await again.stop();
    expectOnce(store, journal);
  }));

test('a journal that does not hold what its frames promise stops the sink before anything is sent', () =>
  withSetup(async ({ journal, store, start }) => {
    journal.appendRaw('{"storeId":"a","eventType":"b","x":1}\n', 2);
    const running = start({ durable: [{ journal: 'j1', seq: 2 }] });
    await until(() => running.delivery.sinkStates()[0]?.stopped !== undefined, 'the sink has stopped');
    expect(running.log.find(({ level }) => level === 'error')?.fields).toMatchObject({
      code: 'row_count_mismatch',
      seq: 1,
    });
    expect(store.writes).toEqual([]);
    await running.stop();
  }));

test('several journals and sinks: release is the slowest sink, and a sink that is gone still counts', () =>
  withSetup(async ({ journal, store, start }) => {
    const second = createFakeJournal('j2');
    const slow = createFakeStore();
    slow.script.push({ do: 'hang', stored: 'none' });
    const running = start({
      sinks: [store.sink(), slow.sink('slow')],
      readers: [journal.reader(), second.reader()],
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    running.delivery.nudge('j9', 1);
    await until(() => running.progress.some(({ sink, seq }) => sink === 'store' && seq === 3), 'the store has j1');
    running.delivery.nudge('j2', second.append(ROWS));
    await until(() => running.released.some(({ journal: id, seq }) => id === 'j2' && seq === 3), 'j2 is released');
    expect(running.released.some(({ journal: id }) => id === 'j1')).toBe(false);
    expect(running.delivery.progress()).toContainEqual({ journal: 'j1', sink: 'slow', seq: 0 });
    await running.kill();
    const without = start({ readers: [journal.reader()], durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => without.progress.at(-1)?.seq === 6, 'the store goes on');
    expect(without.delivery.releases()).toEqual([{ journal: 'j1', seq: 0 }]);
    await without.stop();
    expectOnce(store, journal);
    expectOnce(store, second);
  }));

test('a full disk is waited out, any other failure of the state ends delivery', () =>
  withSetup(async ({ journal, store, start }) => {
    let full = 3;
    const running = start({
      wrapState: (state) => ({
        ...state,
        cutBlock(block) {
          if (full-- > 0) fillDisk();
          state.cutBlock(block);
        },
      }),
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => running.progress.at(-1)?.seq === 3, 'the block is delivered');
    expect(store.writes).toHaveLength(1);
    await running.stop();
    const broken = new Error('disk I/O error');
    const failing = start({
      wrapState: (state) => ({
        ...state,
        finishBlock() {
          throw broken;
        },
      }),
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => failing.fatal.length === 1, 'the failure is reported');
    expect(failing.fatal[0]).toMatchObject({ name: 'StateFailed', cause: broken });
    failing.delivery.nudge('j1', journal.append(ROWS));
    await failing.stop();
    expect(store.writes).toHaveLength(2);
    const last = start({ durable: [{ journal: 'j1', seq: 9 }] });
    await until(() => last.progress.at(-1)?.seq === 9, 'a new process delivers everything');
    await last.stop();
    expectOnce(store, journal);
  }));

/** SQLite's own error for a full disk, from a database that may have only a few pages. */
function fillDisk(): void {
  const db = new Database(':memory:');
  db.run('CREATE TABLE filler (bytes BLOB)');
  db.run('PRAGMA max_page_count = 3');
  db.run('INSERT INTO filler VALUES (zeroblob(100000))');
}
