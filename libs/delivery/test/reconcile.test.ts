/** Figures that add up, for every sink, at any time. */
import { expect, test } from 'bun:test';
import { Retryable } from '@libs/pipeline';
import { reconcile } from '../src/reconcile.ts';
import { openState } from '../src/state.ts';
import { createFakeRouter } from './fake-router.ts';
import { until } from './harness.ts';
import { ROWS, withSetup } from './setup.ts';

const NEVER = new AbortController().signal;
const DAY_MS = 86_400_000;
const none = { done: 0, deadLettered: 0, deleted: 0, pending: 0 };

test('done, dead letters, deleted and pending, by type and by minute, and only for sinks that take the type', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter('http:a', new Set(['item_added']));
    router.refused.add(1).add(4).add(7);
    store.poison.add(2);
    for (let minute = 1; minute <= 3; minute++) journal.append(ROWS, minute * 60_000);
    const running = start({ sinks: [store.sink(), router.sink], durable: [{ journal: 'j1', seq: 9 }] });
    await until(() => running.released.at(-1)?.seq === 9, 'everything is done');
    const { deadLetters } = running.delivery;
    const [one] = deadLetters.list({ limit: 1, sink: 'http:a' });
    expect(deadLetters.delete({ ids: [one?.id as number] }).deleted).toBe(1);
    router.script.push(...Array.from({ length: 900 }, () => new Retryable('down', 'down')));
    running.delivery.nudge('j1', journal.append(ROWS, 4 * 60_000));
    await until(() => store.rows.size === 11, 'the store goes on');
    const all = await running.delivery.reconcile({ fromMs: 0, toMs: DAY_MS }, NEVER);
    expect(all).toEqual({
      fromMs: 0,
      toMs: DAY_MS,
      sinkRanges: {
        store: [{ journal: 'j1', firstSeq: 1, lastSeq: 12 }],
        'http:a': [{ journal: 'j1', firstSeq: 1, lastSeq: 9 }],
      },
      uncountedEvents: 0,
      addsUp: true,
      rows: [
        {
          eventType: 'cart_created',
          acknowledged: 4,
          perSink: { store: { ...none, acknowledged: 4, done: 3, deadLettered: 1 } },
        },
        {
          eventType: 'item_added',
          acknowledged: 8,
          perSink: {
            store: { ...none, acknowledged: 8, done: 8 },
            'http:a': { acknowledged: 8, done: 3, deadLettered: 2, deleted: 1, pending: 2 },
          },
        },
      ],
    });
    const some = await running.delivery.reconcile({ fromMs: 60_000, toMs: 120_001, byMinute: true }, NEVER);
    expect(some).toMatchObject({ fromMs: 60_000, toMs: 180_000, sinkRanges: { store: [{ firstSeq: 1, lastSeq: 6 }] } });
    expect(some.rows.map(({ minuteMs, eventType, perSink }) => [minuteMs, eventType, perSink['http:a']])).toEqual([
      [60_000, 'cart_created', undefined],
      [60_000, 'item_added', { ...none, acknowledged: 2, done: 1, deleted: 1 }],
      [120_000, 'cart_created', undefined],
      [120_000, 'item_added', { ...none, acknowledged: 2, done: 1, deadLettered: 1 }],
    ]);
    await running.kill();
  }));

test('what the store has not got yet is acknowledged and pending', () =>
  withSetup(async ({ journal, store, start }) => {
    store.script.push({ do: 'hang', stored: 'half' });
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, 60_000) }] });
    await until(() => store.writes.length === 1, 'a write hangs');
    const { rows } = await running.delivery.reconcile({ fromMs: 0, toMs: DAY_MS }, NEVER);
    expect(rows.map(({ acknowledged, perSink }) => [acknowledged, perSink['store']?.pending])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    await running.kill();
  }));

test('a letter whose block is still on its way is a letter and not pending', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    router.refused.add(1);
    router.flaky.set(2, Number.POSITIVE_INFINITY);
    const running = start({
      sinks: [store.sink(), router.sink],
      durable: [{ journal: 'j1', seq: journal.append(ROWS, 60_000) }],
    });
    await until(() => running.delivery.deadLetters.list({ limit: 1 }).length === 1, 'a letter is there');
    await until(() => store.rows.size === 3, 'the store is done');
    const { rows, addsUp } = await running.delivery.reconcile({ fromMs: 0, toMs: DAY_MS }, NEVER);
    expect(addsUp).toBe(true);
    expect(rows.map(({ perSink }) => perSink['kafka'])).toEqual([
      { ...none, acknowledged: 1, pending: 1 },
      { ...none, acknowledged: 2, deadLettered: 1, pending: 1 },
    ]);
    await running.kill();
  }));

test('nothing is released while somebody counts, and all of it after', () =>
  withSetup(async ({ journal, start }) => {
    const running = start();
    for (let frame = 0; frame < 20; frame++) journal.append(ROWS, 60_000);
    const counting = running.delivery.reconcile({ fromMs: 0, toMs: DAY_MS }, NEVER);
    running.delivery.nudge('j1', 60);
    expect(running.delivery.releases()).toEqual([{ journal: 'j1', seq: 0 }]);
    await counting;
    await until(() => running.released.at(-1)?.seq === 60, 'it is released');
    const aborted = running.delivery.reconcile({ fromMs: 0, toMs: DAY_MS }, AbortSignal.abort(new Error('enough')));
    running.delivery.nudge('j1', journal.append(ROWS));
    await aborted.catch(() => undefined);
    await until(() => running.released.at(-1)?.seq === 63, 'it is released after an end as well');
    await running.stop();
  }));

test('counts that were folded into hours and days widen the range, and still add up', () =>
  withSetup(async ({ file, journal, store, start }) => {
    store.poison.add(2);
    journal.append(ROWS, 30 * 60_000);
    journal.append(ROWS, 90 * 60_000);
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, 100 * DAY_MS) }] });
    await until(() => running.progress.at(-1)?.seq === 9, 'everything is done');
    await running.stop();
    const state = openState(file);
    while (state.rollUpCounters(100) > 0);
    const source = { state, readers: [], sinks: [{ name: 'store' }], rowsMax: 10, signal: NEVER };
    const found = await reconcile(source, { fromMs: 31 * 60_000, toMs: 32 * 60_000 });
    expect(found).toMatchObject({ fromMs: 0, toMs: DAY_MS, addsUp: true });
    expect(
      found.rows.map(({ eventType, acknowledged, perSink }) => [eventType, acknowledged, perSink['store']]),
    ).toEqual([
      ['cart_created', 2, { ...none, acknowledged: 2, done: 1, deadLettered: 1 }],
      ['item_added', 4, { ...none, acknowledged: 4, done: 4 }],
    ]);
    state.close();
  }));

test('too much to count is said, and by how much', () =>
  withSetup(async ({ file, journal, store, start }) => {
    const router = createFakeRouter();
    router.script.push('hang');
    for (let frame = 0; frame < 10; frame++) journal.append(ROWS, 60_000);
    const running = start({ sinks: [store.sink(), router.sink], durable: [{ journal: 'j1', seq: 30 }] });
    await until(() => store.rows.size === 30, 'the store is done');
    await running.kill();
    const state = openState(file);
    const reader = journal.reader();
    reader.noteDurable(30);
    const limited = { ...reader, read: (after: number) => reader.read(after, { rowsMax: 6, bytesMax: 1e6 }) };
    const sinks = [{ name: 'store' }, { name: 'kafka' }];
    const found = await reconcile(
      { state, readers: [limited], sinks, rowsMax: 12, signal: NEVER },
      { fromMs: 0, toMs: DAY_MS },
    );
    expect(found.uncountedEvents).toBe(18);
    expect(found.rows.reduce((sum, { perSink }) => sum + (perSink['kafka']?.pending ?? 0), 0)).toBe(12);
    state.close();
  }));

test('a sink that was added within the range owes only what came since', () =>
  withSetup(async ({ journal, store, start }) => {
    const first = start({ durable: [{ journal: 'j1', seq: journal.append(ROWS, DAY_MS) }] });
    await until(() => first.progress.at(-1)?.seq === 3, 'everything is stored');
    await first.stop();
    const router = createFakeRouter();
    const running = start({
      sinks: [store.sink(), router.sink],
      more: { startedAtMs: DAY_MS + 60_000 },
      durable: [{ journal: 'j1', seq: journal.append(ROWS, DAY_MS + 120_000) }],
    });
    await until(() => running.released.at(-1)?.seq === 6, 'everything is done');
    const { rows, sinkRanges } = await running.delivery.reconcile({ fromMs: DAY_MS, toMs: 2 * DAY_MS }, NEVER);
    expect(sinkRanges).toEqual({
      store: [{ journal: 'j1', firstSeq: 1, lastSeq: 6 }],
      kafka: [{ journal: 'j1', firstSeq: 4, lastSeq: 6 }],
    });
    expect(rows.map(({ acknowledged, perSink }) => [acknowledged, perSink['store']?.done, perSink['kafka']])).toEqual([
      [2, 2, { ...none, acknowledged: 1, done: 1 }],
      [4, 4, { ...none, acknowledged: 2, done: 2 }],
    ]);
    expect([...router.rows.keys()]).toEqual(['j1:4', 'j1:5', 'j1:6']);
    await running.stop();
  }));

test('a sink that is ahead of the store is looked for what it has, minute by minute', () =>
  withSetup(async ({ journal, store, start }) => {
    const router = createFakeRouter();
    store.script.push({ do: 'hang', stored: 'none' });
    for (let minute = 1; minute <= 3; minute++) journal.append(ROWS, minute * 60_000);
    const running = start({ sinks: [store.sink(), router.sink], durable: [{ journal: 'j1', seq: 9 }] });
    await until(() => running.progress.some(({ sink, seq }) => sink === 'kafka' && seq === 9), 'the router is done');
    const { rows, sinkRanges } = await running.delivery.reconcile({ fromMs: 120_000, toMs: 180_000 }, NEVER);
    expect(sinkRanges).toEqual({ store: [], kafka: [{ journal: 'j1', firstSeq: 4, lastSeq: 6 }] });
    expect(rows.map(({ perSink }) => [perSink['store']?.pending, perSink['kafka']?.done])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    await running.kill();
  }));
