import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Confirmation, type ConfirmationBus, createConfirmationBus } from '@libs/database/redis';
import { lacks, type Redis, startRedis } from '@libs/services';
import { eventually, order } from './redis-testing.ts';

const JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';

// A machine under load may take its time; `eventually` gives up before this.
setDefaultTimeout(30_000);

describe.skipIf(lacks({ start: ['redis'] }))('confirmations between instances', () => {
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());

  interface OpenBus extends Disposable {
    readonly bus: ConfirmationBus;
    readonly heard: Confirmation[];
  }

  async function open(channel: string, repeatMs = 3_600_000): Promise<OpenBus> {
    const logger = { info: () => {}, warn: () => {} };
    const bus = createConfirmationBus({ url: redis.url, channel, repeatMs }, { logger });
    const heard: Confirmation[] = [];
    bus.subscribe((confirmation) => heard.push(confirmation));
    bus.open();
    await eventually(() => bus.health().isConnected);
    return { bus, heard, [Symbol.dispose]: () => bus.close() };
  }

  const stored = (throughSeq: number, sink = 'store'): Confirmation => ({ journal: JOURNAL, sink, throughSeq });

  test('what one instance tells, every instance hears: many as one, and never backwards', async () => {
    using first = await open('one');
    using second = await open('one');
    using elsewhere = await open('two');
    for (let seq = 1; seq <= 1_000; seq++) first.bus.publish(stored(seq));
    first.bus.publish(stored(7));
    first.bus.publish(stored(12, 'kafka'));
    await eventually(() => second.heard.length === 2 && first.heard.length === 2);
    expect(second.heard).toEqual([stored(1_000), stored(12, 'kafka')]);
    expect(first.heard).toEqual(second.heard);
    expect(first.bus.health().published).toBe(1);
    second.bus.publish(stored(900));
    second.bus.publish(stored(13, 'kafka'));
    await eventually(() => first.heard.length === 3);
    expect(first.heard[2]).toEqual(stored(13, 'kafka'));
    expect(elsewhere.heard).toEqual([]);
  });

  test('who was not there hears the latest when it is repeated', async () => {
    using first = await open('repeated', 20);
    first.bus.publish(stored(5));
    await eventually(() => first.heard.length === 1);
    using late = await open('repeated');
    await eventually(() => late.heard.length === 1);
    expect(late.heard).toEqual([stored(5)]);
    expect(first.heard).toEqual([stored(5)]);
  });

  test('what is repeated is a sign of life, however old it is', async () => {
    using first = await open('alive', 20);
    using second = await open('alive');
    expect(second.bus.lastHeardMs(JOURNAL)).toBeUndefined();
    first.bus.publish(stored(5));
    await eventually(() => second.heard.length === 1);
    const before = second.bus.lastHeardMs(JOURNAL) as number;
    await eventually(() => (second.bus.lastHeardMs(JOURNAL) as number) > before);
    expect(second.heard).toEqual([stored(5)]);
    expect(second.bus.lastHeardMs('another journal')).toBeUndefined();
  });

  test('while Redis is away nothing is thrown and nothing piles up; the latest is told afterwards', async () => {
    using first = await open('away');
    using second = await open('away');
    await redis.kill();
    await eventually(() => !first.bus.health().isConnected && !second.bus.health().isConnected);
    for (let seq = 1; seq <= 100; seq++) first.bus.publish(stored(seq));
    await eventually(() => first.bus.health().failed > 0);
    first.bus.publish(stored(101));
    await redis.restart();
    await eventually(() => first.bus.health().isConnected && second.bus.health().isConnected);
    first.bus.publish(stored(102));
    await eventually(() => second.heard.at(-1)?.throughSeq === 102);
    expect(first.bus.health().malformed).toBe(0);
  });

  test('what others write to the channel costs nothing but a count', async () => {
    using one = await open('hostile');
    const messages = ['', 'no JSON', '{}', '[[]]', '[["j","s","1"]]', '[["j","s",1.5]]', '[null]', '[["j",2,3]]'];
    for (const message of messages) order(redis.url, 'PUBLISH', 'hostile', message);
    await eventually(() => one.bus.health().malformed === messages.length);
    order(redis.url, 'PUBLISH', 'hostile', '[["j","s",3]]');
    await eventually(() => one.heard.length === 1);
    expect(one.heard).toEqual([{ journal: 'j', sink: 's', throughSeq: 3 }]);
  });

  test('pairs that are remembered are bounded', async () => {
    const logger = { info: () => {}, warn: () => {} };
    const bus = createConfirmationBus({ url: redis.url, channel: 'pairs', pairsMax: 3 }, { logger });
    for (let at = 0; at < 10; at++) bus.publish(stored(1, `sink-${at}`));
    using listener = await open('pairs');
    bus.open();
    await eventually(() => listener.heard.length === 3);
    expect(listener.heard.map(({ sink }) => sink)).toEqual(['sink-7', 'sink-8', 'sink-9']);
    bus.close();
  });
});
