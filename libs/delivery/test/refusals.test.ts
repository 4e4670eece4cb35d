/** Rows that a sink returns: refused for good, or not taken for now, while the rest of the block is stored. */
import { expect, test } from 'bun:test';
import { Permanent, Retryable } from '@libs/pipeline';
import { createFakeRouter, type FakeRouter } from './fake-router.ts';
import { until } from './harness.ts';
import { ROWS, type Setup, withSetup } from './setup.ts';

const TEN = Array.from({ length: 10 }, (_, index) => ROWS[index % ROWS.length] as (typeof ROWS)[0]);

/** The store, and a router beside it. */
function withRouter(router: FakeRouter, run: (setup: Setup) => Promise<void>): Promise<void> {
  return withSetup((setup) =>
    run({ ...setup, start: (options) => setup.start({ sinks: [setup.store.sink(), router.sink], ...options }) }),
  );
}

const seqOf = (running: ReturnType<Setup['start']>, sink: string) =>
  running.delivery.progress().find((cursor) => cursor.sink === sink)?.seq;

function expectRows(router: FakeRouter, lastSeq: number, without: readonly number[], atMost = 1): void {
  for (let seq = 1; seq <= lastSeq; seq++) {
    const times = router.rows.get(`j1:${seq}`) ?? 0;
    if (without.includes(seq)) expect([seq, times]).toEqual([seq, 0]);
    else expect([seq, times >= 1 && times <= atMost]).toEqual([seq, true]);
  }
}

test('refused rows become dead letters with their bytes and reason, others are written again, alone', () => {
  const router = createFakeRouter();
  router.refused.add(3).add(10);
  router.flaky.set(5, 2).set(6, 1);
  return withRouter(router, async ({ journal, start }) => {
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(TEN, 180_000) }] });
    await until(() => seqOf(running, 'kafka') === 10, 'the router is done');
    expect(router.writes.map(({ only }) => only)).toEqual([undefined, [5, 6], [5]]);
    expectRows(router, 10, [3, 10]);
    const letters = running.delivery.deadLetters.list({ limit: 10 });
    expect(letters).toMatchObject([
      { sink: 'kafka', journal: 'j1', firstSeq: 3, lastSeq: 3, kind: 'row', code: 'too_large', state: 'waiting' },
      { firstSeq: 10, eventId: 'e10', eventType: 'item_added', storeId: 'north', attempts: 1, rows: 1 },
    ]);
    const found = running.delivery.deadLetters.get(letters[0]?.id as number);
    const lines = new TextDecoder().decode(journal.frames()[0]?.payload).split('\n');
    expect(new TextDecoder().decode(found?.bytes)).toBe(lines[2] as string);
    expect(running.delivery.sinkStates()[1]).toMatchObject({
      name: 'kafka',
      state: 'healthy',
      rows: 10,
      deadLetters: 2,
    });
    await until(() => running.released.at(-1)?.seq === 10, 'dead letters hold nothing back');
    await running.stop();
  });
});

test('a crash after "all but these": letters are not sent again, the rest is, at least once', () => {
  const router = createFakeRouter();
  router.refused.add(4);
  return withRouter(router, async ({ journal, start }) => {
    const dead = new Error('disk I/O error');
    const first = start({
      durable: [{ journal: 'j1', seq: journal.append(TEN) }],
      wrapState: (state) => ({
        ...state,
        finishBlock(block, counts, retries) {
          if (block.sink === 'kafka') throw dead;
          state.finishBlock(block, counts, retries);
        },
      }),
    });
    await until(() => first.fatal.length === 1, 'it dies before the cursor moves');
    await first.kill();
    const second = start({ durable: [{ journal: 'j1', seq: 10 }] });
    await until(() => seqOf(second, 'kafka') === 10, 'the router is done');
    expect(router.writes.at(-1)?.only).toEqual([1, 2, 3, 5, 6, 7, 8, 9, 10]);
    expectRows(router, 10, [4], 2);
    expect(second.delivery.deadLetters.list({ limit: 10 })).toHaveLength(1);
    await second.stop();
  });
});

test('a sink that refuses everything stops instead of emptying the journal into dead letters', () => {
  const router = createFakeRouter('http:analytics', new Set(['cart_created']));
  for (let seq = 1; seq <= 60; seq++) router.refused.add(seq);
  return withRouter(router, async ({ journal, store, start }) => {
    for (let frame = 0; frame < 6; frame++) journal.append(TEN);
    const limits = { blockRowsMax: 10, deadLettersInRowMax: 7 };
    const running = start({ limits, durable: [{ journal: 'j1', seq: 60 }] });
    await until(() => running.delivery.sinkStates()[1]?.stopped !== undefined, 'the sink has stopped');
    // Of each ten rows three are its own: rows that it skips are no success.
    expect(running.delivery.deadLetters.stats().sinks).toMatchObject([{ sink: 'http:analytics', letters: 6 }]);
    expect(running.delivery.sinkStates()[1]).toMatchObject({ state: 'unhealthy', stoppedCode: 'dead_letters_in_row' });
    await until(() => store.rows.size === 60, 'the store goes on');
    await running.stop();
    router.refused.clear();
    const again = start({ limits, durable: [{ journal: 'j1', seq: 60 }] });
    await until(() => seqOf(again, 'http:analytics') === 60, 'put right, it goes on from where it stopped');
    expect(router.rows.size).toBe(18 - 6);
    await again.stop();
  });
});

test('refused rows with others taken in between never stop a sink', () => {
  const router = createFakeRouter();
  for (let seq = 1; seq <= 60; seq += 2) router.refused.add(seq);
  return withRouter(router, async ({ journal, start }) => {
    for (let frame = 0; frame < 6; frame++) journal.append(TEN);
    const limits = { blockRowsMax: 10, deadLettersInRowMax: 7 };
    const running = start({ limits, durable: [{ journal: 'j1', seq: 60 }] });
    await until(() => seqOf(running, 'kafka') === 60, 'the router is done');
    expect(running.delivery.deadLetters.stats().sinks).toMatchObject([{ letters: 30, rows: 30 }]);
    await running.stop();
  });
});

test('many refused rows do not stop a sink that takes others of the same block, at once or before', () => {
  const router = createFakeRouter();
  for (const seq of [1, 2, 3, 4, 5, 6]) router.refused.add(seq);
  // Of the second block nothing is refused before the rest of it was taken.
  for (const seq of [11, 12, 13, 14, 15, 16]) router.flaky.set(seq, Number.POSITIVE_INFINITY);
  return withRouter(router, async ({ journal, start }) => {
    journal.append(TEN);
    const limits = { blockRowsMax: 10, deadLettersInRowMax: 5 };
    const running = start({ limits, durable: [{ journal: 'j1', seq: journal.append(TEN) }] });
    await until(() => router.writes.some(({ firstSeq, only }) => firstSeq === 11 && only === undefined), 'it is sent');
    for (const seq of [11, 12, 13, 14, 15, 16]) router.refused.add(seq);
    await until(() => seqOf(running, 'kafka') === 20, 'the router is done');
    expect(running.delivery.deadLetters.stats().sinks).toMatchObject([{ letters: 12, rows: 12 }]);
    expectRows(router, 20, [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]);
    await running.stop();
  });
});

test('rows that are given up for their age never stop a sink: after a long outage it goes on', () => {
  const router = createFakeRouter();
  for (let seq = 1; seq <= 20; seq++) router.expired.add(seq);
  return withRouter(router, async ({ journal, start }) => {
    for (let frame = 0; frame < 3; frame++) journal.append(TEN);
    const limits = { blockRowsMax: 10, deadLettersInRowMax: 5 };
    const running = start({ limits, durable: [{ journal: 'j1', seq: 30 }] });
    await until(() => seqOf(running, 'kafka') === 30, 'the router is done');
    expect(running.delivery.deadLetters.stats().sinks).toMatchObject([{ letters: 20 }]);
    for (let seq = 21; seq <= 30; seq++) expect(router.rows.get(`j1:${seq}`)).toBe(1);
    await running.stop();
  });
});

test('with no room for dead letters the sink stops taking, loudly, and goes on by itself once there is room', () => {
  const router = createFakeRouter();
  router.refused.add(2).add(12);
  return withRouter(router, async ({ journal, store, start }) => {
    const limits = { blockRowsMax: 10, deadLetterBytesMax: 1_500 };
    journal.append(TEN);
    const running = start({ limits, durable: [{ journal: 'j1', seq: journal.append(TEN) }] });
    const { deadLetters } = running.delivery;
    const state = () => running.delivery.sinkStates()[1];
    await until(() => state()?.state === 'unhealthy', 'the sink needs room');
    expect(state()?.stopped).toBeUndefined();
    expect(state()?.lastError).toContain('1500 bytes');
    expect(seqOf(running, 'kafka')).toBe(10);
    await until(() => store.rows.size === 20, 'the store goes on');
    expect(running.log.filter(({ level }) => level === 'error')).toHaveLength(1);
    expect(deadLetters.stats()).toMatchObject({ bytesMax: 1_500, sinks: [{ letters: 1 }] });
    expect(deadLetters.delete({ filter: { sink: 'kafka' } })).toEqual({ deleted: 1, more: false });
    await until(() => seqOf(running, 'kafka') === 20, 'it goes on');
    expect(state()).toMatchObject({ state: 'healthy', deadLetters: 1 });
    expect(deadLetters.list({ limit: 5 })).toMatchObject([{ firstSeq: 12 }]);
    expectRows(router, 20, [2, 12]);
    await running.stop();
  });
});

test('ending while there is no room leaves the block for the next start', () => {
  const router = createFakeRouter();
  router.refused.add(2).add(12);
  return withRouter(router, async ({ journal, start }) => {
    const limits = { blockRowsMax: 10, deadLetterBytesMax: 1_500 };
    journal.append(TEN);
    const durable = [{ journal: 'j1', seq: journal.append(TEN) }];
    const first = start({ limits, durable });
    await until(() => first.delivery.sinkStates()[1]?.state === 'unhealthy', 'the sink needs room');
    await first.stop();
    const second = start({ durable });
    await until(() => seqOf(second, 'kafka') === 20, 'with a larger limit it goes on');
    expectRows(router, 20, [2, 12], 2);
    await second.stop();
  });
});

test('a whole block refused for its rows after some of it was taken: what was taken is not sent again', () => {
  const router = createFakeRouter();
  router.flaky.set(8, 1).set(9, 1);
  return withRouter(router, async ({ journal, start }) => {
    const bad = new Permanent('bad', 'bad', { scope: 'rows' });
    // All but 8 and 9 is taken; then 1–10, 6–10, 8–10 and 8 are refused for what is left in them.
    router.script.push(new Retryable('away', 'away'), 'take', bad, bad, bad, bad);
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(TEN) }] });
    await until(() => seqOf(running, 'kafka') === 10, 'the router is done');
    expectRows(router, 10, [8]);
    expect(running.delivery.deadLetters.list({ limit: 5 })).toMatchObject([{ firstSeq: 8, code: 'bad' }]);
    await running.stop();
  });
});

test('a sink that names rows which it was not given is not believed', () => {
  const router = createFakeRouter();
  return withRouter(router, async ({ journal, start }) => {
    let lies = 2;
    const sink = {
      ...router.sink,
      async write(...args: Parameters<typeof router.sink.write>) {
        const failures = await router.sink.write(...args);
        return lies-- > 0 ? [{ seq: 99, code: 'no', message: 'no', permanent: true }] : failures;
      },
    };
    const running = start({ sinks: [sink], durable: [{ journal: 'j1', seq: journal.append(TEN) }] });
    await until(() => running.progress.at(-1)?.seq === 10, 'it is done once the sink is right');
    expect(running.delivery.deadLetters.stats().sinks).toEqual([]);
    await running.stop();
  });
});
