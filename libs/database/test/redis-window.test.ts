import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { ClaimVerdict } from '@libs/database/redis';
import { lacks, type Redis, startRedis } from '@libs/services';
import { eventually, newKeys, type OpenWindow, openWindow, order } from './redis-testing.ts';

// A machine under load may take its time; `eventually` gives up before this.
setDefaultTimeout(30_000);

describe.skipIf(lacks({ start: ['redis'] }))('the shared window', () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());

  const open = (...rest: Parameters<typeof openWindow> extends [string, ...infer R] ? R : never) =>
    openWindow(redis.url, ...rest);

  test('claimed once; busy for others while it is open, duplicate for everybody once it is confirmed', async () => {
    await using first = await open();
    await using second = await open();
    const keys = newKeys(3);
    expect(await first.kinds(keys)).toEqual(['claimed', 'claimed', 'claimed']);
    expect(await first.kinds(keys.slice(0, 1))).toEqual(['claimed']);
    const [verdict] = await second.window.claim(keys.slice(0, 1));
    expect(verdict).toEqual({ kind: 'busy', afterMs: 200 });
    first.window.confirm(keys.slice(0, 2));
    // The claim that follows takes the confirms along and sees them.
    expect(await first.kinds([...keys, ...newKeys(1)])).toEqual(['duplicate', 'duplicate', 'claimed', 'claimed']);
    expect(await second.kinds(keys)).toEqual(['duplicate', 'duplicate', 'busy']);
    const { counters, state, pendingConfirms } = first.window.health();
    expect({ state, pendingConfirms }).toEqual({ state: 'healthy', pendingConfirms: 0 });
    expect(counters).toMatchObject({ claimed: 6, duplicate: 2, busy: 0, confirmsSent: 2 });
    expect(Object.values(counters.skipped)).toEqual(Object.values(counters.skipped).map(() => 0));
  });

  test('the parts of a key are kept apart, whatever else they hold', async () => {
    await using one = await open({ keyPrefix: 'apart:' });
    const keys = ['a\0b:c', 'a:b\0c', 'a\0b', 'ab\0', '\0ab', 'ä\0é🛒', 'a b\0c%d', '[^\\n]+\0$1'];
    expect(await one.kinds(keys)).toEqual(keys.map(() => 'claimed'));
    one.window.confirm(keys);
    expect(await one.kinds(keys)).toEqual(keys.map(() => 'duplicate'));
    // The ninth is the one that asks whether Redis can be written.
    expect(order(redis.url, 'EVAL', "return #redis.call('KEYS', 'apart:*')", '0')).toBe('9');
  });

  test('no keys at all, many calls of keys, and a key with a line feed, which nobody lets through', async () => {
    await using one = await open({ idsPerCallMax: 10 });
    expect(await one.kinds([])).toEqual([]);
    const keys = newKeys(95);
    one.window.confirm(keys.slice(0, 33));
    await eventually(() => one.window.health().pendingConfirms === 0);
    const kinds = await one.kinds(keys);
    expect(kinds.slice(0, 33)).toEqual(new Array(33).fill('duplicate'));
    expect(kinds.slice(33)).toEqual(new Array(62).fill('claimed'));
    expect(await one.kinds(['store\0one\ntwo'])).toEqual(['skipped']);
    expect(await one.kinds(keys.slice(0, 1))).toEqual(['duplicate']);
  });

  test('confirms leave by themselves when nothing else is sent', async () => {
    await using first = await open();
    await using second = await open();
    const keys = newKeys(5);
    await first.window.claim(keys);
    first.window.confirm(keys);
    await eventually(async () => (await second.kinds(keys)).every((kind) => kind === 'duplicate'));
    // Closing sends what waits, too.
    const last = newKeys(5);
    first.window.confirm(last);
    await first.window.close(new AbortController().signal);
    expect(await second.kinds(last)).toEqual(last.map(() => 'duplicate'));
    expect(await first.kinds(newKeys(1))).toEqual(['skipped']);
    expect(first.window.health().counters.skipped.closed).toBe(1);
  });

  test('who dies between claim and write leaves it busy for others until the claim ends', async () => {
    await using other = await open({ claimMs: 300 });
    const dying = await open({ claimMs: 300 });
    const keys = newKeys(2);
    await dying.window.claim(keys);
    await dying.crash();
    const [verdict] = await other.window.claim(keys);
    expect(verdict?.kind).toBe('busy');
    expect((verdict as { afterMs: number }).afterMs).toBeWithin(1, 301);
    await eventually(async () => (await other.kinds(keys)).every((kind) => kind === 'claimed'));
  });

  test("the same journal's next process takes its claims over; late commands of the dead one change nothing", async () => {
    const owner = crypto.randomUUID();
    await using before = await open({ owner, epoch: '1' });
    await using after = await open({ owner, epoch: '2' });
    await using other = await open();
    const [open1 = '', durable = ''] = newKeys(2);
    await before.window.claim([open1, durable]);
    before.window.confirm([durable]);
    await eventually(async () => (await other.kinds([durable]))[0] === 'duplicate');
    expect(await after.kinds([open1, durable])).toEqual(['claimed', 'duplicate']);
    // What the dead process had sent, executed only now.
    before.window.release([open1]);
    await eventually(() => before.window.health().counters.releasesSent === 1);
    expect(await other.kinds([open1])).toEqual(['busy']);
  });

  test('an owner whose name begins like another one is another one', async () => {
    await using short = await open({ owner: 'abc' });
    await using long = await open({ owner: 'abcd' });
    const keys = newKeys(1);
    expect(await long.kinds(keys)).toEqual(['claimed']);
    expect(await short.kinds(keys)).toEqual(['busy']);
    expect(() => openWindow(redis.url, { owner: 'a.b' })).toThrow('letters, digits and hyphens');
  });

  test('a release gives back what is open and ours, and nothing else', async () => {
    const appended = new Set<string>();
    await using first = await open({}, { isAppended: (key) => appended.has(key) });
    await using second = await open();
    const [given = '', confirmed = '', theirs = '', kept = ''] = newKeys(4);
    await first.window.claim([given, confirmed, kept]);
    first.window.confirm([confirmed]);
    await second.window.claim([theirs]);
    first.window.release([given, confirmed, theirs, kept]);
    // Another copy of the event was appended after the release was asked for.
    appended.add(kept);
    await eventually(() => first.window.health().counters.releasesSent === 3);
    expect(await second.kinds([given, confirmed, theirs, kept])).toEqual(['claimed', 'duplicate', 'claimed', 'busy']);
  });

  test('a release never undoes a later claim, however many wait', async () => {
    await using first = await open({ idsPerCallMax: 10 });
    await using second = await open();
    const keys = newKeys(45);
    await first.window.claim(keys);
    first.window.release(keys);
    const again = keys.toReversed();
    expect(await first.kinds(again)).toEqual(keys.map(() => 'claimed'));
    expect(await second.kinds(keys)).toEqual(keys.map(() => 'busy'));
  });

  test('a claim is renewed once it is old; what was lost meanwhile comes back as busy or duplicate', async () => {
    let offsetMs = 0;
    await using slow = await open({ claimMs: 200 }, { monotonicMs: () => performance.now() + offsetMs });
    await using other = await open();
    const [lost = '', gone = '', kept = ''] = newKeys(3);
    const claimedAtMs = performance.now();
    await slow.window.claim([lost, gone]);
    await slow.window.claim([kept]);
    expect(slow.window.renewIfOld([lost], performance.now() + 1_000)).toBeUndefined();
    await eventually(async () => (await other.kinds([lost, gone])).every((kind) => kind === 'claimed'));
    other.window.confirm([gone]);
    await other.window.claim(newKeys(1));
    offsetMs = 10_000;
    const verdicts = (await slow.window.renewIfOld([lost, gone, kept], claimedAtMs)) as ClaimVerdict[];
    expect(verdicts.map(({ kind }) => kind)).toEqual(['busy', 'duplicate', 'claimed']);
  });

  test('large numbers are confirmed at start while claims go on', async () => {
    await using first = await open({ idsPerCallMax: 100 });
    await using second = await open();
    const batches = Array.from({ length: 20 }, () => newKeys(250));
    const done = first.window.confirmAll(batches, new AbortController().signal);
    const keys = newKeys(50);
    let claimedMeanwhile = 0;
    for (const key of keys) if ((await first.kinds([key]))[0] === 'claimed') claimedMeanwhile++;
    expect(await done).toBe(5_000);
    expect(claimedMeanwhile).toBe(50);
    expect(first.window.health().pendingConfirms).toBe(0);
    expect(await second.kinds(batches.flat())).toEqual(new Array(5_000).fill('duplicate'));
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    expect(first.window.confirmAll(batches, stop.signal)).rejects.toThrow('enough');
  });

  test('more calls than may be under way are skipped, and overtake nothing', async () => {
    await using one = await open({ callsInFlightMax: 2 });
    const answers: string[] = [];
    const note = async (name: string) => answers.push(`${name} ${(await one.kinds(newKeys(1)))[0]}`);
    await Promise.all([note('first'), note('second'), note('third')]);
    expect(answers).toEqual(['first claimed', 'second claimed', 'third skipped']);
    expect(one.window.health().counters.skipped.overloaded).toBe(1);
  });

  test('an event loop that stood still longer than the time limit does not make Redis late', async () => {
    await using one = await open({ timeoutMs: 100 });
    const stall = () => Bun.sleepSync(250);
    const places: readonly ((stallHere: () => void) => unknown)[] = [
      (stallHere) => setImmediate(stallHere),
      (stallHere) => setTimeout(stallHere, 0),
      (stallHere) => setTimeout(stallHere, 5),
      (stallHere) => setTimeout(stallHere, 25),
      (stallHere) => one.window.claim(newKeys(1)).then(stallHere),
      (stallHere) => stat(tmpdir()).then(stallHere),
    ];
    for (const place of places) {
      const stalled = Promise.withResolvers<string[]>();
      // Asked for right before the loop stands still, and while it is about to.
      const before = one.kinds(newKeys(1));
      place(() => {
        stalled.resolve(one.kinds(newKeys(1)));
        stall();
      });
      expect(await before).toEqual(['claimed']);
      expect(await stalled.promise).toEqual(['claimed']);
    }
    expect(one.window.health().counters.timeouts).toBe(0);
  });

  test('however owners race, no id is claimed by two, and duplicate is only said of what was confirmed', async () => {
    const owners: OpenWindow[] = await Promise.all([1, 2, 3].map(() => open({ confirmDelayMs: 1, idsPerCallMax: 7 })));
    const pool = newKeys(300);
    const holder = new Map<string, number>();
    const confirmed = new Set<string>();
    const wrong: string[] = [];

    async function race(me: number, { window }: OpenWindow): Promise<void> {
      // What stands in one's own journal is not asked for.
      const own = new Set<string>();
      for (let round = 0; round < 60; round++) {
        const picked = Array.from({ length: 1 + (round % 20) }, () => pool[Math.floor(Math.random() * 300)] ?? '');
        const keys = [...new Set(picked)].filter((key) => !own.has(key));
        const verdicts = await window.claim(keys);
        const mine = keys.filter((key, at) => {
          const { kind } = verdicts[at] as ClaimVerdict;
          if (kind === 'claimed' && (holder.get(key) ?? me) !== me) wrong.push(`${key} claimed by two`);
          if (kind === 'claimed' && confirmed.has(key)) wrong.push(`${key} claimed after its confirm`);
          if (kind === 'duplicate' && !confirmed.has(key)) wrong.push(`${key} called duplicate too early`);
          if (kind === 'skipped') wrong.push(`${key} skipped`);
          return kind === 'claimed';
        });
        for (const key of mine) holder.set(key, me);
        await Bun.sleep(Math.random() * 3);
        const kept = mine.filter(() => Math.random() < 0.3);
        const given = mine.filter((key) => !kept.includes(key));
        for (const key of given) holder.delete(key);
        for (const key of kept) confirmed.add(key) && own.add(key);
        window.confirm(kept);
        window.release(given);
      }
    }

    await Promise.all(owners.map((owner, me) => race(me, owner)));
    expect(wrong).toEqual([]);
    expect(confirmed.size).toBeGreaterThan(50);
    await Promise.all(owners.map(({ window }) => window.close(new AbortController().signal)));
  });
});
