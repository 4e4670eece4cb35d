/** Operators over HTTP, the local socket, and the real delivery with its state on disk; only the sinks are chosen by the test. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDelivery, type Delivery, openState, STORE_SINK, type State } from '@libs/delivery';
import type { Sink } from '@libs/pipeline';
import { type CountInterval, createOperatorBackend, type StoredCounts } from '../src/deliver-operator-backend.ts';
import { createOperators } from '../src/deliver-operators.ts';
import { OPERATORS_PATH, type OperatorCalls, type OperatorKind } from '../src/operator-requests.ts';
import { JOURNAL } from './http-service.ts';

let folder: string;
let state: State;
let delivery: Delivery;
let refuses: boolean;
let stored: StoredCounts | undefined;
let counting: [string, CountInterval][];

const LIMITS = {
  blockRowsMax: 100,
  blockBytesMax: 100_000,
  flushIntervalMs: 10,
  retryMinMs: 1,
  retryMaxMs: 10,
  writeTimeoutMs: 1_000,
};

function sink(name: string): Sink {
  return {
    name,
    connect: async () => undefined,
    write: async ({ firstSeq }) =>
      refuses ? [{ seq: firstSeq, code: 'too_large', message: 'still too large', permanent: true }] : [],
    close: async () => undefined,
    health: () => ({ state: 'healthy' }),
  };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-backend-'));
  refuses = false;
  stored = undefined;
  counting = [];
  state = openState(join(folder, 'state.sqlite'));
  for (const name of [STORE_SINK, 'kafka', 'http:gone']) state.createCursor({ journal: JOURNAL, sink: name, seq: 0 });
  delivery = createDelivery({
    state,
    sinks: [{ sink: sink(STORE_SINK) }, { sink: sink('kafka') }],
    limits: LIMITS,
    logger: { debug() {}, info() {}, warn() {}, error() {} } as never,
    onProgress() {},
    onRelease() {},
    onFatal(error) {
      throw error;
    },
  });
});
afterEach(async () => {
  await delivery.stop(AbortSignal.timeout(1_000));
  state.close();
  rmSync(folder, { recursive: true });
});

function addLetters(count: number, sinkName = 'kafka'): void {
  state.deadLetters.add(
    Array.from({ length: count }, (_, at) => ({
      sink: sinkName,
      journal: JOURNAL,
      seq: at + 1,
      minute: 29_000_000,
      eventId: `e-${at + 1}`,
      eventType: 'cart_updated',
      storeId: 'é',
      code: 'too_large',
      message: 'too large',
      attempts: 1,
      bytes: Buffer.from(`{"storeId":"é","seq":${at + 1}}`),
    })),
  );
}

async function ask<Kind extends OperatorKind>(
  kind: Kind,
  request: OperatorCalls[Kind]['request'],
): Promise<OperatorCalls[Kind]['result']> {
  const audit = {
    journals: async () => [{ journal: JOURNAL, firstSeq: 1, lastSeq: 9 }],
    selectByPosition: async () => ({ rows: [], throughSeq: 0 }),
  };
  const countStored = async (sink: string, interval: CountInterval) => {
    counting.push([sink, interval]);
    return stored;
  };
  const backend = createOperatorBackend({ delivery, audit, countStored });
  const operators = createOperators(backend, {
    logger: { info() {}, warn: (fields) => expect(fields).toBeUndefined() },
  });
  const body = JSON.stringify({ kind, ...request });
  const reply = await operators.handle(new Request(`http://deliver${OPERATORS_PATH}`, { method: 'POST', body }));
  expect(reply?.status).toBe(200);
  return (await reply?.json()) as OperatorCalls[Kind]['result'];
}

test('dead letters come with their events, and go when they are replayed', async () => {
  addLetters(3);
  const page = await ask('deadLetters', { filter: { sink: 'kafka', state: 'waiting' }, afterId: 0, limit: 2 });
  expect(page.deadLetters).toHaveLength(2);
  expect(page.deadLetters[0]).toMatchObject({
    kind: 'row',
    sink: 'kafka',
    firstSeq: 1,
    storeId: 'é',
    state: 'waiting',
    event: '{"storeId":"é","seq":1}',
  });
  const rest = await ask('deadLetters', { filter: {}, afterId: page.nextAfterId ?? 0, limit: 2 });
  expect([rest.deadLetters.length, rest.nextAfterId]).toEqual([1, undefined as never]);
  const id = page.deadLetters[0]?.id as number;
  refuses = true;
  expect(await ask('replay', { selection: { ids: [id, 4711] }, limit: 10 })).toEqual([
    { id, outcome: 'failed', code: 'too_large', message: 'still too large', rows: 0 },
    { id: 4711, outcome: 'not_found' },
  ]);
  expect(await ask('deadLetter', { id })).toMatchObject({ attempts: 2 });
  refuses = false;
  const replayed = await ask('replay', { selection: { filter: { sink: 'kafka' } }, limit: 2 });
  expect(replayed.map(({ outcome }) => outcome)).toEqual(['replayed', 'replayed']);
  expect((await ask('deadLetters', { filter: {}, afterId: 0, limit: 10 })).deadLetters).toHaveLength(1);
  expect(await ask('deadLetter', { id })).toBeNull();
});

test('everything that fits is deleted, however much it is', async () => {
  addLetters(10_050);
  addLetters(2, STORE_SINK);
  expect(await ask('deleteDeadLetters', { selection: { filter: { sink: 'kafka' } } })).toEqual({ deleted: 10_050 });
  expect((await ask('deadLetters', { filter: {}, afterId: 0, limit: 10 })).deadLetters).toHaveLength(2);
});

test('sinks that are there and sinks that were; only the latter can be dropped', async () => {
  addLetters(4, 'http:gone');
  const sinks = await ask('sinks', {});
  expect(sinks.map(({ name, removed }) => [name, removed])).toEqual([
    [STORE_SINK, false],
    ['kafka', false],
    ['http:gone', true],
  ]);
  expect(sinks[2]).toMatchObject({ pendingEvents: 0, deadLetters: 4 });
  expect((await ask('dropSink', { name: 'kafka' })).outcome).toBe('configured');
  expect((await ask('dropSink', { name: 'nowhere' })).outcome).toBe('unknown');
  expect((await ask('dropSink', { name: 'http:gone' })).outcome).toBe('dropped');
  expect(await ask('positions', {})).toEqual({ [JOURNAL]: 0 });
});

test('reconciling takes what was counted in the sink, where it can be counted', async () => {
  const interval = { fromMs: 0, toMs: Date.now() + 60_000, deep: false };
  const empty = await ask('reconcile', interval);
  expect([empty.rows, empty.caveats]).toEqual([[], []]);
  stored = { byEventType: new Map([['cart_updated', { stored: 1, duplicates: 2 }]]), source: 'counted' };
  const before = delivery.reconcile;
  const figures = { acknowledged: 5, done: 3, deadLettered: 1, deleted: 0, pending: 1 };
  delivery.reconcile = async () => ({
    fromMs: 0,
    toMs: 60_000,
    rows: [
      { eventType: 'cart_updated', acknowledged: 5, perSink: { [STORE_SINK]: figures } },
      { eventType: 'item_added', acknowledged: 5, perSink: { [STORE_SINK]: figures } },
    ],
    sinkRanges: { [STORE_SINK]: [{ journal: JOURNAL, firstSeq: 1, lastSeq: 10 }] },
    uncountedEvents: 7,
    addsUp: false,
  });
  const report = await ask('reconcile', { ...interval, deep: true });
  const done = new Map([
    ['cart_updated', 3],
    ['item_added', 3],
  ]);
  const ranges = [{ journal: JOURNAL, firstSeq: 1, lastSeq: 10 }];
  expect(counting).toEqual([[STORE_SINK, { ranges, fromMs: 0, done, deep: true }]]);
  stored = { source: 'believed', caveats: ['Not all of it.'] };
  const believed = await ask('reconcile', interval);
  stored = undefined;
  const byCursor = await ask('reconcile', interval);
  delivery.reconcile = before;
  const same = { acknowledged: 5, deadLettered: 1, deleted: 0, pending: 1 };
  expect(report.rows.map(({ sinks }) => sinks[STORE_SINK])).toEqual([
    { ...same, stored: 1, duplicates: 2 },
    { ...same, stored: 0, duplicates: 0 },
  ]);
  expect(report.sources).toEqual({ [STORE_SINK]: 'counted' });
  expect(report.caveats).toHaveLength(2);
  expect(believed.rows[0]?.sinks[STORE_SINK]).toEqual({ ...same, stored: 3, duplicates: 0 });
  expect([believed.sources, believed.caveats.at(-1)]).toEqual([{ [STORE_SINK]: 'believed' }, 'Not all of it.']);
  expect(byCursor.rows[0]?.sinks[STORE_SINK]).toEqual({ ...same, stored: 3, duplicates: 0 });
});
