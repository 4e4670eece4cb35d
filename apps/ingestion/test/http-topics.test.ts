import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { createAuth } from '@libs/auth';
import { signToken, TEST_SECRET } from '@libs/auth/testing';
import type { TopicLimits } from '../src/routes/topics.ts';
import { JOURNAL } from './http-service.ts';
import { type OperatorsService, OTHER_JOURNAL, rowOf, startOperators } from './operators-service.ts';
import { openSse, type SseClient } from './sse.ts';

const LIMITS: TopicLimits = { readersMax: 3, heartbeatMs: 200, pollMs: 5, pageTimeoutMs: 5_000, stalledMs: 10_000 };

let operators: OperatorsService;
const clients: SseClient[] = [];
beforeAll(async () => {
  operators = await startOperators({ limits: LIMITS });
});
afterAll(() => operators[Symbol.asyncDispose]());
beforeEach(() => {
  const { rows, live, calls } = operators.backend;
  rows.clear();
  rows.set(JOURNAL, []);
  live.add(JOURNAL);
  calls.length = 0;
});
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  operators.service.ingestion.isDraining = false;
  // Every reader's place is given back, however its stream ended: the next test needs all of them.
  for (;;) {
    const replies = await Promise.all(
      [1, 2, 3].map(() => fetch(`${operators.url}/topics/cart.items?from=oldest&follow=false`)),
    );
    const texts = await Promise.all(replies.map((reply) => reply.text()));
    if (texts.every((text) => text.startsWith('retry:'))) break;
  }
});

const rows = (journal = JOURNAL) => operators.backend.rows.get(journal) as string[];
const add = (text: string, eventType = 'cart_updated', journal = JOURNAL) => rows(journal).push(rowOf(eventType, text));
function open(path: string, headers?: Record<string, string>): SseClient {
  const client = openSse(operators.service.port, path, headers);
  clients.push(client);
  return client;
}
const textsOf = ({ events }: SseClient) => events.map(({ data }) => JSON.parse(data).text);
const count = (client: SseClient, events: number) => client.until(() => client.events.length >= events);
/** The stream has begun: what comes now is new to it. */
const opened = (client: SseClient) => client.until(() => client.head() !== '' && client.lastId() !== '');

describe('GET /topics', () => {
  test('names the topics with their event types', async () => {
    expect(await (await fetch(`${operators.url}/topics`)).json()).toEqual({
      topics: [
        { name: 'cart.items', eventTypes: ['item_added', 'item_removed'] },
        { name: 'cart.updated', eventTypes: ['cart_updated'] },
      ],
    });
  });
});

describe('a reader', () => {
  test('gets the events of its topic in order, from the oldest on, and new ones as they are stored', async () => {
    for (let at = 1; at <= 450; at++) add(`e${at}`, at % 3 === 0 ? 'item_added' : 'cart_updated');
    const client = open('/topics/cart.updated?from=oldest');
    await count(client, 300);
    expect(client.status()).toBe(200);
    expect(client.head()).toMatch(/content-type: text\/event-stream/i);
    expect(client.head()).toMatch(/cache-control: no-store/i);
    const expected = Array.from({ length: 450 }, (_, at) => at + 1).filter((at) => at % 3 !== 0);
    expect(textsOf(client)).toEqual(expected.map((at) => `e${at}`));
    expect(client.events.map(({ id }) => id)).toEqual(expected.map((at) => `${JOURNAL}:${at}`));
    expect(client.events[0]?.data).toBe(rows()[0] as string);
    add('new');
    await count(client, 301);
    expect(client.events.at(-1)?.id).toBe(`${JOURNAL}:451`);
  });

  test('begins with what is new unless told otherwise', async () => {
    add('old');
    const client = open('/topics/cart.updated');
    await opened(client);
    expect(client.lastId()).toBe(`${JOURNAL}:1`);
    add('new');
    await count(client, 1);
    expect(textsOf(client)).toEqual(['new']);
  });

  test('goes on behind the last event that it saw: nothing is lost and nothing comes twice', async () => {
    for (let at = 1; at <= 1_000; at++) add(`e${at}`);
    const seen: string[] = [];
    let headers: Record<string, string> = {};
    while (seen.length < 1_000) {
      // The address stays what it was, as with EventSource.
      const client = open('/topics/cart.updated?from=oldest', headers);
      await count(client, 1);
      client.socket.destroy();
      seen.push(...textsOf(client));
      headers = { 'last-event-id': client.events.at(-1)?.id ?? '' };
    }
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, at) => `e${at + 1}`));
    const byParameter = open(`/topics/cart.updated?from=${JOURNAL}:998&follow=false`);
    await byParameter.until(() => byParameter.ended() === 'end');
    expect(textsOf(byParameter)).toEqual(['e999', 'e1000']);
  });

  test('sees every journal, and its id names its place in each of them', async () => {
    operators.backend.rows.set(OTHER_JOURNAL, []);
    for (let at = 1; at <= 3; at++) {
      add(`a${at}`);
      add(`b${at}`, 'cart_updated', OTHER_JOURNAL);
    }
    // The other one is no longer delivered, but its rows are still there: known from the table, or from before.
    const all = open('/topics/cart.updated?from=oldest&follow=false');
    await all.until(() => all.ended() === 'end');
    operators.backend.live.add(OTHER_JOURNAL);
    const client = open('/topics/cart.updated?from=oldest');
    await count(client, 6);
    expect(textsOf(client).toSorted()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'b3']);
    for (const [at, { id }] of client.events.entries()) {
      const resumed = open(`/topics/cart.updated?from=${id}&follow=false`);
      await resumed.until(() => resumed.ended() === 'end');
      expect(textsOf(resumed)).toEqual(textsOf(client).slice(at + 1));
      resumed.socket.destroy();
    }
    operators.backend.live.delete(OTHER_JOURNAL);
  });

  test('gets as many as it asks for, and then the end', async () => {
    for (let at = 1; at <= 500; at++) add(`e${at}`);
    for (const limit of [1, 200, 201, 450]) {
      const client = open(`/topics/cart.updated?from=oldest&limit=${limit}`);
      await client.until(() => client.ended() === 'end');
      expect(client.events).toHaveLength(limit);
    }
  });

  test('ends where there is nothing more when it does not want to wait', async () => {
    const reply = await fetch(`${operators.url}/topics/cart.items?from=oldest&follow=false`);
    expect(await reply.text()).toBe('retry: 1000\n\n');
  });

  test('hears a heartbeat while nothing comes, with the place up to which all was looked at', async () => {
    const client = open('/topics/cart.items');
    for (let at = 1; at <= 10; at++) add(`e${at}`);
    await client.until(() => client.comments.length >= 2 && client.lastId().startsWith(`${JOURNAL}:10`));
    expect(client.events).toEqual([]);
    expect(client.comments[0]).toBe('heartbeat');
  });

  test('goes on when deliver has been away', async () => {
    const client = open('/topics/cart.updated');
    await opened(client).catch(() => undefined);
    await client.until(() => client.head() !== '');
    await operators.stopDeliver();
    const heartbeats = client.comments.length;
    await client.until(() => client.comments.length >= heartbeats + 2);
    add('meanwhile');
    operators.startDeliver();
    await count(client, 1);
    expect(textsOf(client)).toEqual(['meanwhile']);
  });

  test('ends in order when the service shuts down, and none begins then', async () => {
    const client = open('/topics/cart.updated');
    await client.until(() => client.head() !== '');
    operators.service.ingestion.isDraining = true;
    await client.until(() => client.ended() === 'end');
    expect((await fetch(`${operators.url}/topics/cart.updated`)).status).toBe(503);
  });

  test('is one of a few: a place is free again as soon as one has gone', async () => {
    add('old');
    const three = [1, 2, 3].map(() => open('/topics/cart.updated'));
    await Promise.all(three.map(opened));
    const refused = await fetch(`${operators.url}/topics/cart.updated`);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await refused.json()).toMatchObject({ error: 'too_many_readers', details: { readersMax: 3 } });
    // An idle reader that leaves: its stream is waiting for news, and must hear of it all the same.
    three[1]?.socket.destroy();
    let reply: SseClient;
    do {
      reply = open('/topics/cart.updated');
      await reply.until(() => reply.head() !== '');
    } while (reply.status() === 503);
    expect(reply.status()).toBe(200);
  });

  test('that takes nothing holds one page, however much there is', async () => {
    const big = 'x'.repeat(60_000);
    for (let at = 1; at <= 3_000; at++) add(`${at} ${big}`);
    const client = open('/topics/cart.updated?from=oldest');
    client.socket.pause();
    const selects = () => operators.backend.calls.filter(([name]) => name === 'selectRows').length;
    for (let seen = -1, quietMs = 0; quietMs < 500; quietMs += 25) {
      if (seen !== selects()) quietMs = 0;
      seen = selects();
      await Bun.sleep(25);
    }
    // Some megabytes fit into the sockets; the rest waits in the store.
    expect(selects()).toBeLessThan(5);
    client.socket.resume();
    await count(client, 3_000);
    expect(textsOf(client).map((text: string) => Number.parseInt(text, 10))).toEqual(
      Array.from({ length: 3_000 }, (_, at) => at + 1),
    );
  }, 120_000);
});

test('a reader that takes nothing is closed, and its place is free again', async () => {
  const limits = { ...LIMITS, readersMax: 1, stalledMs: 0 };
  await using service = await startOperators({ limits });
  service.backend.rows.set(
    JOURNAL,
    Array.from({ length: 1_000 }, (_, at) => rowOf('cart_updated', `${at} ${'x'.repeat(60_000)}`)),
  );
  const stalled = openSse(service.service.port, '/topics/cart.updated?from=oldest');
  stalled.socket.pause();
  // Whoever asks before it has begun would have its place.
  while (service.backend.calls.length === 0) await Bun.sleep(5);
  const status = async () => {
    const reply = await fetch(`${service.url}/topics/cart.items?from=oldest&follow=false`);
    await reply.text();
    return reply.status;
  };
  while ((await status()) !== 503) await Bun.sleep(5);
  // Bun's idle timeout is 8 s at the least, and counts from the last byte that went out.
  while ((await status()) === 503) await Bun.sleep(100);
  expect(await status()).toBe(200);
  stalled.socket.destroy();
}, 40_000);

describe('what is refused', () => {
  test.each([
    ['/topics/nowhere', 404, 'unknown_topic'],
    ['/topics/cart.updated?from=yesterday', 400, 'invalid_parameter'],
    [`/topics/cart.updated?from=${JOURNAL}`, 400, 'invalid_parameter'],
    [`/topics/cart.updated?from=${JOURNAL}:-1`, 400, 'invalid_parameter'],
    [`/topics/cart.updated?from=${JOURNAL}:1,${JOURNAL}:2`, 400, 'invalid_parameter'],
    [`/topics/cart.updated?from=${JOURNAL}:99999999999999999`, 400, 'invalid_parameter'],
    [`/topics/cart.updated?from=${`${JOURNAL}:1,`.repeat(300)}`, 400, 'invalid_parameter'],
    ['/topics/cart.updated?limit=0', 400, 'invalid_parameter'],
    ['/topics/cart.updated?follow=maybe', 400, 'invalid_parameter'],
    ['/topics/cart.updated?form=oldest', 400, 'invalid_parameter'],
    ['/topics/cart.updated?from=0199c2a4-0000-7000-8000-000000000bad:7', 410, 'unknown_position'],
  ])('%s', async (path, status, error) => {
    add('old');
    const reply = await fetch(`${operators.url}${path}`);
    expect([reply.status, ((await reply.json()) as { error: string }).error]).toEqual([status, error]);
  });

  test('an id of somebody else in Last-Event-ID', async () => {
    const reply = await fetch(`${operators.url}/topics/cart.updated`, { headers: { 'last-event-id': '17' } });
    expect(await reply.json()).toMatchObject({ error: 'invalid_parameter', details: { parameter: 'Last-Event-ID' } });
  });

  test('while deliver is away it is 503 at once', async () => {
    await operators.stopDeliver();
    const reply = await fetch(`${operators.url}/topics/cart.updated`);
    expect([reply.status, reply.headers.get('retry-after')]).toEqual([503, '1']);
    operators.startDeliver();
  });

  test('HEAD answers and holds no place', async () => {
    for (let at = 0; at < 5; at++) {
      const head = await fetch(`${operators.url}/topics/cart.updated`, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    }
    expect((await fetch(`${operators.url}/topics/nowhere`, { method: 'HEAD' })).status).toBe(404);
    expect((await fetch(`${operators.url}/topics/cart.updated`, { method: 'POST' })).status).toBe(405);
  });
});

test('with auth a reader needs query or admin, may send its token in the URL, and ends with the token', async () => {
  await using guarded = await startOperators({
    limits: LIMITS,
    auth: createAuth({ secret: TEST_SECRET, leewayMs: 0 }),
  });
  guarded.backend.rows.set(JOURNAL, [rowOf('cart_updated', 'one')]);
  const status = async (path: string, headers: Record<string, string> = {}) => {
    const reply = await fetch(`${guarded.url}${path}`, { headers });
    await reply.text();
    return reply.status;
  };
  const ending = '/topics/cart.updated?from=oldest&follow=false';
  const token = signToken({ scope: 'query' });
  expect(await status(ending)).toBe(401);
  expect(await status('/topics')).toBe(401);
  expect(await status(`/topics?access_token=${token}`)).toBe(401);
  expect(await status(ending, { authorization: `Bearer ${signToken({ scope: 'events:write' })}` })).toBe(403);
  expect(await status(ending, { authorization: `Bearer ${token}` })).toBe(200);
  expect(await status(`${ending}&access_token=${token}`)).toBe(200);
  const short = signToken({ scope: 'query', exp: Math.ceil(Date.now() / 1000) + 2 });
  const client = openSse(guarded.service.port, `/topics/cart.updated?access_token=${short}`);
  await client.until(() => client.head() !== '');
  expect(client.status()).toBe(200);
  await client.until(() => client.ended() === 'end');
  expect(guarded.service.log.join('')).not.toContain('eyJ');
});
