/** Dead letters sent again, by hand: to the refusing sink only, as often as it takes, and over any interruption. */
import { expect, test } from 'bun:test';
import type { ListedLetter } from '../src/dead-letter-desk.ts';
import { createFakeRouter, type FakeRouter } from './fake-router.ts';
import { until } from './harness.ts';
import { ROWS, type Setup, withSetup } from './setup.ts';

const NEVER = new AbortController().signal;
const FIVE = [...ROWS, ...ROWS.slice(0, 2)];

/** A process in which the router has refused rows 2 and 4 of five. */
async function withLetters(
  run: (setup: Setup & { router: FakeRouter; running: ReturnType<Setup['start']> }) => Promise<void>,
): Promise<void> {
  const router = createFakeRouter();
  router.refused.add(2).add(4);
  await withSetup(async (setup) => {
    const sinks = [setup.store.sink(), router.sink];
    const start: Setup['start'] = (options) => setup.start({ sinks, ...options });
    const running = start({ durable: [{ journal: 'j1', seq: setup.journal.append(FIVE) }] });
    await until(() => running.released.at(-1)?.seq === 5, 'everything is done');
    await run({ ...setup, start, router, running });
  });
}

test('a replay goes to the refusing sink alone, as a block of one row with its first position', () =>
  withLetters(async ({ router, store, running }) => {
    const { deadLetters } = running.delivery;
    const storeWrites = store.writes.length;
    router.refused.delete(2);
    const [first, second] = deadLetters.list({ limit: 10 }) as readonly [ListedLetter, ListedLetter];
    const { outcomes } = await deadLetters.replay({ ids: [first.id, second.id, 999] }, NEVER);
    expect(outcomes).toEqual([
      { id: first.id, outcome: 'replayed', rows: 1 },
      { id: second.id, outcome: 'failed', code: 'too_large', message: 'too large', rows: 0 },
      { id: 999, outcome: 'not_found' },
    ]);
    expect(router.writes.slice(-2)).toEqual([
      { firstSeq: 2, lastSeq: 2 },
      { firstSeq: 4, lastSeq: 4 },
    ]);
    expect(router.rows.get('j1:2')).toBe(1);
    expect(store.writes).toHaveLength(storeWrites);
    expect(deadLetters.list({ limit: 10 })).toMatchObject([{ id: second.id, attempts: 2 }]);
    router.refused.clear();
    const all = await deadLetters.replay({ filter: {}, limit: 5 }, NEVER);
    expect(all).toMatchObject({ outcomes: [{ outcome: 'replayed' }], more: false, lastId: second.id });
    expect(deadLetters.stats().sinks).toEqual([]);
    await running.stop();
  }));

test('the store is asked for a replayed row before it is sent, so that no interruption stores it twice', () =>
  withSetup(async ({ journal, store, start }) => {
    store.poison.add(3);
    const running = start({ durable: [{ journal: 'j1', seq: journal.append(FIVE) }] });
    await until(() => running.progress.at(-1)?.seq === 5, 'everything else is stored');
    store.poison.clear();
    // The first replay gets the row in, and dies before the letter is gone.
    store.script.push({ do: 'hang', stored: 'all' });
    const ending = new AbortController();
    const replaying = running.delivery.deadLetters.replay({ filter: {} }, ending.signal);
    await until(
      () => running.delivery.deadLetters.list({ limit: 1, state: 'replaying' }).length === 1,
      'it is under way',
    );
    expect(running.delivery.deadLetters.delete({ filter: {} })).toEqual({ deleted: 0, more: false });
    expect((await running.delivery.deadLetters.replay({ filter: {} }, NEVER)).outcomes).toMatchObject([
      { outcome: 'in_progress' },
    ]);
    await until(() => store.rows.has('j1:3'), 'the row is in');
    ending.abort();
    expect((await replaying).outcomes).toMatchObject([{ outcome: 'failed', code: 'interrupted' }]);
    await running.kill();
    const again = start();
    expect(again.delivery.deadLetters.list({ limit: 5 })).toMatchObject([{ firstSeq: 3, state: 'waiting' }]);
    const { outcomes } = await again.delivery.deadLetters.replay({ filter: { sink: 'store' } }, NEVER);
    expect(outcomes).toMatchObject([{ outcome: 'replayed' }]);
    expect(store.writes.slice(-2).every(({ ambiguous }) => ambiguous)).toBe(true);
    expect([...store.rows.values()]).toEqual([1, 1, 1, 1, 1]);
    await again.stop();
  }));

test('when delivery ends in the middle of a replay, the letters stay', () =>
  withLetters(async ({ router, start, running }) => {
    router.refused.clear();
    router.script.push('hang', 'hang');
    const replaying = running.delivery.deadLetters.replay({ filter: {} }, NEVER);
    await until(() => router.script.length === 0, 'both are under way');
    await running.kill();
    expect((await replaying).outcomes.map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);
    const again = start();
    expect((await again.delivery.deadLetters.replay({ filter: {} }, NEVER)).outcomes).toMatchObject([
      { outcome: 'replayed' },
      { outcome: 'replayed' },
    ]);
    expect([...router.rows.values()]).toEqual([1, 1, 1, 1, 1]);
    await again.stop();
  }));

test('letters are found by everything that they say of themselves, page by page', () =>
  withLetters(async ({ running }) => {
    const { list } = running.delivery.deadLetters;
    const seqs = (page: Partial<Parameters<typeof list>[0]>) =>
      list({ limit: 10, ...page }).map(({ firstSeq }) => firstSeq);
    expect(seqs({})).toEqual([2, 4]);
    expect(seqs({ limit: 1 })).toEqual([2]);
    expect(seqs({ limit: 1, afterId: list({ limit: 1 })[0]?.id as number })).toEqual([4]);
    expect(seqs({ storeId: 'north' })).toEqual([4]);
    expect(seqs({ eventType: 'cart_created' })).toEqual([2]);
    expect(seqs({ sink: 'kafka', code: 'too_large' })).toEqual([2, 4]);
    expect([seqs({ sink: 'store' }), seqs({ code: 'other' }), seqs({ state: 'replaying' })]).toEqual([[], [], []]);
    expect(seqs({ fromMs: Date.now() - 60_000, toMs: Date.now() + 60_000 })).toEqual([2, 4]);
    expect(seqs({ toMs: Date.now() - 60_000 })).toEqual([]);
    await running.stop();
  }));

test('a letter of a sink that is not configured stays, and can be deleted', () =>
  withLetters(async ({ store, start, running }) => {
    await running.stop();
    const without = start({ sinks: [store.sink()] });
    const { deadLetters } = without.delivery;
    expect((await deadLetters.replay({ filter: {}, limit: 1 }, NEVER)).outcomes).toMatchObject([
      { code: 'sink_missing' },
    ]);
    expect(without.delivery.dropSink('kafka')).toBe(true);
    expect(deadLetters.stats().sinks).toMatchObject([{ sink: 'kafka', letters: 2 }]);
    expect(deadLetters.delete({ ids: deadLetters.list({ limit: 9 }).map(({ id }) => id) }).deleted).toBe(2);
    expect(deadLetters.stats()).toMatchObject({ bytes: 0, sinks: [] });
    await without.stop();
  }));
