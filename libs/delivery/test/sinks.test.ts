/** Sinks that come and go, and those that need not be there. */
import { expect, test } from 'bun:test';
import { Retryable } from '@libs/pipeline';
import type { DeliveryOptions } from '../src/delivery-types.ts';
import type { SinkEntry } from '../src/sink-entry.ts';
import { createFakeJournal } from './fake-journal.ts';
import { createFakeRouter, type FakeRouter } from './fake-router.ts';
import { type Process, until } from './harness.ts';
import { ROWS, type Setup, withSetup } from './setup.ts';

const NEVER = new AbortController().signal;
const START_MS = 1_700_000_000_000;

const seqOf = (running: Process, sink: string, journal = 'j1') =>
  running.delivery.progress().find((cursor) => cursor.sink === sink && cursor.journal === journal)?.seq;
const arrived = (router: FakeRouter): number[] => [...router.rows.keys()].map((key) => Number(key.split(':')[1]));

/** Six rows journalled and stored before the sink is there; then a start with it. */
async function added(
  setup: Setup,
  entry: Omit<SinkEntry, 'sink'>,
  run: (router: FakeRouter, running: Process) => Promise<void>,
) {
  const { journal, store, start } = setup;
  journal.append(ROWS, START_MS - 2_000);
  const before = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, START_MS - 1_000) }] });
  await until(() => seqOf(before, 'store') === 6, 'everything is stored');
  // Journalled, but not stored when the next process starts.
  journal.append(ROWS, START_MS - 1);
  journal.append(ROWS, START_MS);
  await before.kill();
  const router = createFakeRouter();
  const sinks = [store.sink(), { sink: router.sink, ...entry }];
  const running = start({
    sinks,
    more: { startedAtMs: START_MS },
    durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
  });
  await until(() => seqOf(running, 'kafka') === 15, 'the new sink is done');
  await run(router, running);
}

test('an added sink gets what was journalled since the service started, and every event of a later journal', () =>
  withSetup((setup) =>
    added(setup, {}, async (router, running) => {
      expect(arrived(router)).toEqual([10, 11, 12, 13, 14, 15]);
      const later = createFakeJournal('j2');
      later.append(ROWS, START_MS - 5_000);
      expect(running.delivery.add(later.reader())).toEqual([]);
      running.delivery.nudge('j2', later.append(ROWS));
      await until(() => seqOf(running, 'kafka', 'j2') === 6, 'the later journal is delivered');
      expect([...router.rows.keys()].filter((key) => key.startsWith('j2'))).toHaveLength(6);
      await running.stop();
    }),
  ));

test('what is not for an added sink is not for it after a restart either', () =>
  withSetup(async ({ journal, store, start }) => {
    const first = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, START_MS - 9_000) }] });
    await until(() => seqOf(first, 'store') === 3, 'everything is stored');
    await first.kill();
    const router = createFakeRouter();
    const sinks = [store.sink(), router.sink];
    journal.append(ROWS, START_MS - 5_000);
    const idle = start({ sinks, more: { startedAtMs: START_MS } });
    await idle.kill();
    const running = start({
      sinks,
      more: { startedAtMs: START_MS + 999_999 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS, START_MS + 1) }],
    });
    await until(() => seqOf(running, 'kafka') === 9, 'the new sink is done');
    expect(arrived(router)).toEqual([7, 8, 9]);
    await running.stop();
  }));

test('an added sink that asks for the oldest gets everything that is left', () =>
  withSetup((setup) =>
    added(setup, { from: 'oldest' }, async (router, running) => {
      expect(arrived(router)).toHaveLength(15);
      await running.stop();
    }),
  ));

test('a removed sink is reported, holds the journals back, also new ones, and is dropped by name', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    const with_ = start({
      sinks: [store.sink(), router.sink],
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => with_.released.at(-1)?.seq === 3, 'everything is done');
    expect(with_.delivery.removedSinks()).toEqual([]);
    expect([with_.delivery.dropSink('kafka'), with_.delivery.dropSink('other')]).toEqual([false, false]);
    await with_.stop();
    const second = createFakeJournal('j2');
    const without = start({ readers: [journal.reader(), second.reader()] });
    without.delivery.nudge('j1', journal.append(ROWS));
    without.delivery.nudge('j2', second.append(ROWS));
    await until(() => store.rows.size === 9, 'the store goes on');
    expect(without.released).toEqual([]);
    expect(without.delivery.removedSinks()).toEqual([
      {
        sink: 'kafka',
        journals: [
          { journal: 'j1', seq: 3, pendingEvents: 3 },
          { journal: 'j2', seq: 0, pendingEvents: 3 },
        ],
      },
    ]);
    await without.stop();
    const back = start({
      sinks: [store.sink(), router.sink],
      readers: [journal.reader(), second.reader()],
      durable: [
        { journal: 'j1', seq: 6 },
        { journal: 'j2', seq: 3 },
      ],
    });
    await until(() => router.rows.size === 9, 'put back, it gets what it missed');
    await back.stop();
    const last = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    await until(() => seqOf(last, 'store') === 9, 'the store goes on');
    expect(last.delivery.dropSink('kafka')).toBe(true);
    expect(last.released.at(-1)).toEqual({ journal: 'j1', seq: 9 });
    expect(last.delivery.removedSinks()).toEqual([]);
    await last.stop();
  }));

test('sinks that contradict themselves are refused', () =>
  withSetup(async ({ store, start }) => {
    const sink = createFakeRouter().sink;
    const wrong: readonly (readonly SinkEntry[])[] = [
      [{ sink: store.sink(), required: false, backlogEventsMax: 1 }],
      [{ sink, required: false }],
      [{ sink, backlogBytesMax: 5 }],
      [{ sink }, { sink }],
    ];
    for (const sinks of wrong)
      expect(() => start({ sinks, readers: [] })).toThrow(/optional|belong together|same name/);
    await Promise.resolve();
  }));

/** Rows from the table's point of view: those that it holds. */
function readRowsOf(setup: Pick<Setup, 'journal' | 'store'>): DeliveryOptions['readRows'] {
  return async (journal, firstSeq, lastSeq) => {
    const text = setup.journal
      .frames()
      .map(({ payload }) => new TextDecoder().decode(payload))
      .join('');
    return text
      .trimEnd()
      .split('\n')
      .map((line) => ({ seq: (JSON.parse(line) as { seq: number }).seq, bytes: new TextEncoder().encode(line) }))
      .filter(({ seq }) => seq >= firstSeq && seq <= lastSeq && setup.store.rows.has(`${journal}:${seq}`));
  };
}

test('an optional sink that is down is parked past its limit, lets the journal go, and gets the range by replay', () =>
  withSetup(async (setup) => {
    const { journal, store, start } = setup;
    const router = createFakeRouter();
    router.script.push('hang');
    store.poison.add(5);
    const readRows = readRowsOf(setup);
    const running = start({
      sinks: [store.sink(), { sink: router.sink, required: false, backlogEventsMax: 20 }],
      more: readRows === undefined ? {} : { readRows },
      durable: [{ journal: 'j1', seq: journal.append(ROWS, 60_000) }],
    });
    await until(() => router.writes.length === 1, 'a write hangs');
    for (let frame = 0; frame < 9; frame++)
      running.delivery.nudge('j1', journal.append(ROWS, 60_000 * (2 + (frame % 2))));
    const { deadLetters } = running.delivery;
    await until(() => seqOf(running, 'kafka') === 30, 'the range is parked and what came after it delivered');
    const [letter] = deadLetters.list({ limit: 5, sink: 'kafka' });
    expect(letter).toMatchObject({ kind: 'range', firstSeq: 1, code: 'backlog_full', rows: letter?.lastSeq });
    expect(letter?.lastSeq).toBeGreaterThanOrEqual(11);
    expect(running.delivery.sinkStates()[1]).toMatchObject({ required: false, deadLetters: letter?.rows });
    await until(() => running.released.at(-1)?.seq === 30, 'the journal is let go');
    const { outcomes } = await deadLetters.replay({ ids: [letter?.id as number] }, NEVER);
    expect(outcomes).toEqual([{ id: letter?.id as number, outcome: 'replayed', rows: letter?.rows as number }]);
    // Row 5 is not in the table: its bytes came from the table's own dead letter.
    expect(arrived(router).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    await running.stop();
  }));

test('an optional sink that has stopped for good is parked, too', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    for (let seq = 1; seq <= 3; seq++) router.refused.add(seq);
    const running = start({
      sinks: [store.sink(), { sink: router.sink, required: false, backlogEventsMax: 4 }],
      limits: { deadLettersInRowMax: 1 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS) }],
    });
    await until(() => running.delivery.sinkStates()[1]?.stopped !== undefined, 'it has stopped');
    for (let frame = 0; frame < 4; frame++) running.delivery.nudge('j1', journal.append(ROWS));
    await until(() => (seqOf(running, 'kafka') ?? 0) >= 11, 'its backlog is parked');
    await until(() => (running.released.at(-1)?.seq ?? 0) >= 11, 'the journal is let go');
    await running.stop();
  }));

test('a range stays when its rows are not in the store, shrinks by what was replayed, and refused rows leave it', () =>
  withSetup(async (setup) => {
    const { journal, store, start } = setup;
    const router = createFakeRouter();
    router.script.push(...Array.from({ length: 500 }, () => new Retryable('down', 'down')));
    const options = {
      sinks: [store.sink(), { sink: router.sink, required: false, backlogEventsMax: 4 }],
      more: { readRows: readRowsOf(setup) as NonNullable<DeliveryOptions['readRows']> },
    };
    const running = start(options);
    for (const minute of [1, 1, 2, 2, 3, 3]) running.delivery.nudge('j1', journal.append(ROWS, minute * 60_000));
    const { deadLetters } = running.delivery;
    await until(() => deadLetters.list({ limit: 5 }).length > 0 && store.rows.size === 18, 'a range is parked');
    const { id, rows, lastSeq } = deadLetters.list({ limit: 1 })[0] as { id: number; rows: number; lastSeq: number };
    expect(rows).toBeGreaterThanOrEqual(14);
    router.script.length = 0;
    router.refused.add(2);
    store.rows.delete('j1:8');
    const first = await deadLetters.replay({ ids: [id] }, NEVER);
    // Minute 1 went in but for row 2; minute 2 has a hole.
    expect(first.outcomes).toMatchObject([{ outcome: 'failed', code: 'rows_missing', rows: 5 }]);
    expect(deadLetters.list({ limit: 5 })).toMatchObject([
      { id, kind: 'range', firstSeq: 7, lastSeq, rows: rows - 6 },
      { kind: 'row', firstSeq: 2, code: 'too_large', eventType: 'cart_created' },
    ]);
    await running.kill();
    store.rows.set('j1:8', 1);
    router.refused.clear();
    const again = start(options);
    const { outcomes } = await again.delivery.deadLetters.replay({ filter: {} }, NEVER);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['replayed', 'replayed']);
    expect(again.delivery.deadLetters.stats()).toMatchObject({ bytes: 0, sinks: [] });
    for (let seq = 1; seq <= lastSeq; seq++) expect(router.rows.get(`j1:${seq}`)).toBeGreaterThanOrEqual(1);
    await again.stop();
  }));

test('a sink that was dropped and comes back may park a range that begins where one of its letters does', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    router.script.push(...Array.from({ length: 500 }, () => new Retryable('down', 'down')));
    const entry = { sink: router.sink, required: false, backlogEventsMax: 4, from: 'oldest' as const };
    const durable = [{ journal: 'j1', seq: 0 }];
    for (let frame = 0; frame < 6; frame++) durable[0] = { journal: 'j1', seq: journal.append(ROWS) };
    const isParked = (running: ReturnType<typeof start>, letters: number) =>
      until(() => running.delivery.deadLetters.list({ limit: 5 }).length === letters, `${letters} ranges are parked`);
    const first = start({ sinks: [store.sink(), entry], durable });
    await isParked(first, 1);
    await first.stop();
    const without = start({ durable });
    expect(without.delivery.dropSink('kafka')).toBe(true);
    await without.stop();
    const again = start({ sinks: [store.sink(), entry], durable });
    await isParked(again, 2);
    expect(again.fatal).toEqual([]);
    expect(again.delivery.deadLetters.list({ limit: 5 })).toMatchObject([{ firstSeq: 1 }, { firstSeq: 1 }]);
    await again.stop();
  }));

test('whoever reconciles all the time, and others with him, does not keep the journal from being released', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    router.script.push(...Array.from({ length: 5_000 }, () => new Retryable('down', 'down')));
    for (let frame = 0; frame < 6; frame++) journal.append(ROWS);
    const running = start({
      sinks: [store.sink(), router.sink],
      limits: { blockRowsMax: 9 },
      durable: [{ journal: 'j1', seq: 18 }],
    });
    let counted = 0;
    let isOver = false;
    async function ask(): Promise<void> {
      while (!isOver) {
        await running.delivery.reconcile({ fromMs: 0, toMs: 3_600_000 }, NEVER);
        counted++;
      }
    }
    const asking = [ask(), ask(), ask()];
    await until(() => counted > 10, 'they count');
    router.script.length = 0;
    router.script.push('take', 'hang');
    await until(() => seqOf(running, 'kafka') === 9, 'half of it is done');
    await until(() => running.released.at(-1)?.seq === 9, 'it is released');
    isOver = true;
    await Promise.all(asking);
    await running.kill();
  }));

test('reconciliations that wait for others are bounded', () =>
  withSetup(async ({ journal, start }) => {
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS) }] });
    const all = Array.from({ length: 100 }, () => running.delivery.reconcile({ fromMs: 0, toMs: 1 }, NEVER));
    const settled = await Promise.allSettled(all);
    expect(settled.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(1);
    expect(settled.at(-1)).toMatchObject({ status: 'rejected', reason: { code: 'reconcile_busy' } });
    expect(await running.delivery.reconcile({ fromMs: 0, toMs: 1 }, NEVER)).toMatchObject({ addsUp: true });
    await running.stop();
  }));
