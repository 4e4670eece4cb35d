import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { journalTag } from '@libs/pipeline';
import { lacks, type Redis, startRedis } from '@libs/services';
import { eventually, isUp, newKeys, openWindow, order } from './redis-testing.ts';

// A machine under load may take its time; `eventually` gives up before this.
setDefaultTimeout(30_000);

describe.skipIf(lacks({ start: ['redis'] }))('where the window says that a duplicate is', () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());

  /** A journal that is durable as far as the test says, and its window. */
  async function open(owner: string = crypto.randomUUID()) {
    const journal = { owner, tag: journalTag(owner), durableSeq: 0 };
    const opened = await openWindow(redis.url, { owner, durableSeq: () => journal.durableSeq });
    return Object.assign(opened, { journal });
  }

  test('in the journal that confirmed it, at or before its durable end of that moment', async () => {
    await using one = await open();
    await using two = await open();
    await using asking = await open();
    const [a = '', b = '', c = '', free = '', taken = ''] = newKeys(5);
    one.journal.durableSeq = 7;
    one.window.confirm([a]);
    two.journal.durableSeq = 2 ** 50;
    two.window.confirm([b]);
    await one.window.claim([taken]);
    await two.window.claim([]);
    one.journal.durableSeq = 9;
    one.window.confirm([c]);
    await eventually(() => [one, two].every(({ window }) => window.health().pendingConfirms === 0));
    const atOne = { kind: 'duplicate' as const, copy: { journalTag: one.journal.tag, throughSeq: 9 } };
    const atTwo = { kind: 'duplicate' as const, copy: { journalTag: two.journal.tag, throughSeq: 2 ** 50 } };
    expect(await asking.window.claim([a, c, taken, a, free, b, taken, c, c])).toEqual([
      atOne,
      atOne,
      { kind: 'busy', afterMs: expect.any(Number) },
      atOne,
      { kind: 'claimed' },
      atTwo,
      { kind: 'busy', afterMs: expect.any(Number) },
      atOne,
      atOne,
    ]);
  });

  test('it never moves backwards: an order of a dead process may be carried out late', async () => {
    await using late = await open();
    await using now = await open(late.journal.owner);
    await using asking = await open();
    const keys = newKeys(2);
    now.journal.durableSeq = 10;
    await now.window.confirmAll([keys.slice(0, 1)], new AbortController().signal);
    late.journal.durableSeq = 4;
    await late.window.confirmAll([keys.slice(1)], new AbortController().signal);
    const copy = { journalTag: now.journal.tag, throughSeq: 10 };
    expect(await asking.window.claim(keys)).toEqual(keys.map(() => ({ kind: 'duplicate', copy })));
  });

  test('events of a journal that is only looked after are said to be there, also when Redis was away', async () => {
    await using one = await open();
    await using asking = await open();
    const keys = newKeys(300);
    const from = { journalTag: journalTag(crypto.randomUUID()), throughSeq: 33 };
    await redis.kill();
    await eventually(() => !isUp(one) && !isUp(asking));
    const done = one.window.confirmAll([keys], new AbortController().signal, from);
    one.window.confirm(newKeys(3));
    await redis.restart();
    expect(await done).toBe(300);
    await eventually(() => isUp(asking));
    expect(await asking.window.claim(keys)).toEqual(keys.map(() => ({ kind: 'duplicate', copy: from })));
  });

  test('frozen in the middle: nothing of that journal is taken for our own', async () => {
    await using one = await openWindow(redis.url, { timeoutMs: 100, durableSeq: () => 5 });
    await using asking = await open();
    const keys = newKeys(50);
    const from = { journalTag: journalTag(crypto.randomUUID()), throughSeq: 33 };
    await redis.freeze();
    const done = one.window.confirmAll([keys], new AbortController().signal, from);
    await eventually(() => one.window.health().counters.timeouts > 0);
    await redis.kill();
    await redis.restart();
    expect(await done).toBe(50);
    await eventually(() => isUp(asking));
    expect(await asking.window.claim(keys)).toEqual(keys.map(() => ({ kind: 'duplicate', copy: from })));
  });

  test('nothing is said where nothing was told, or Redis has forgotten it', async () => {
    await using silent = await openWindow(redis.url);
    await using one = await open();
    await using asking = await open();
    const keys = newKeys(2);
    one.journal.durableSeq = 7;
    silent.window.confirm(keys.slice(0, 1));
    one.window.confirm(keys.slice(1));
    await eventually(() => [silent, one].every(({ window }) => window.health().pendingConfirms === 0));
    expect((await asking.window.claim(keys))[1]).toMatchObject({ copy: { throughSeq: 7 } });
    order(redis.url, 'DEL', `weir:d:@${one.journal.tag}`);
    expect(await asking.window.claim(keys)).toEqual([{ kind: 'duplicate' }, { kind: 'duplicate' }]);
    order(redis.url, 'LPUSH', `weir:d:@${one.journal.tag}`, 'something else');
    expect(await asking.window.claim(keys)).toEqual([{ kind: 'duplicate' }, { kind: 'duplicate' }]);
    one.journal.durableSeq = 8;
    one.window.confirm(newKeys(1));
    await eventually(() => one.window.health().pendingConfirms === 0);
    expect((await asking.window.claim(keys))[1]).toMatchObject({ copy: { throughSeq: 8 } });
  });

  test('the place lives as long as what points to it, and an id costs an integer', async () => {
    await using one = await open();
    one.journal.durableSeq = 1;
    const place = `'weir:d:@${one.journal.tag}'`;
    const ask = (what: string) => order(redis.url, 'EVAL', `return ${what}`, '0');
    // The last of many: Redis' clock goes on while they are written.
    for (let round = 0; round < 10; round++) {
      const keys = newKeys(1_000);
      await one.window.confirmAll([keys], new AbortController().signal);
      const id = `'weir:d:${keys.at(-1)?.replace('\0', '\\000')}'`;
      const lives = `redis.call('PTTL', ${place}) - redis.call('PTTL', ${id})`;
      expect(Number(ask(`redis.call('PTTL', ${id})`))).toBeGreaterThan(0);
      expect(Number(ask(lives))).toBeGreaterThanOrEqual(0);
      expect(ask(`redis.call('OBJECT', 'ENCODING', ${id})`)).toBe('int');
    }
  });
});
