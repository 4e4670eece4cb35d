import { describe, expect, test } from 'bun:test';
import { Overloaded, Retryable } from '@libs/pipeline';
import {
  blockOf,
  createClock,
  deliverAll,
  repeated,
  rowText,
  sinkOf,
  startService,
  until,
  writeOnce,
} from './downstream-fixture.ts';

describe('what is sent', () => {
  test('one POST an event: the stored row, its id as idempotency key, the configured headers', async () => {
    await using service = await startService();
    const receivedAtMs = Date.parse('2026-03-14T09:26:54.000Z');
    const row = { eventId: 'order 100% größer', receivedAtMs };
    const { sink } = sinkOf(`${service.url}?key=1`, { headers: { Authorization: 'Bearer s3cret-token' } });
    expect(await writeOnce(sink, blockOf([row], 7))).toEqual([]);
    const [request] = service.requests;
    expect(service.requests).toHaveLength(1);
    expect(request).toMatchObject({ method: 'POST', path: '/hook?key=1', text: rowText(7, row) });
    expect(request?.headers.get('content-type')).toBe('application/json');
    expect(request?.headers.get('idempotency-key')).toBe('order%20100%25%20gr%C3%B6%C3%9Fer');
    expect(request?.headers.get('authorization')).toBe('Bearer s3cret-token');
    expect(request?.headers.has('traceparent')).toBe(false);
  });

  test('rows of other types are done without a request, and so is what `only` leaves out', async () => {
    await using service = await startService();
    const { sink } = sinkOf(service.url, { eventTypes: ['cart_updated', 'item_added'] });
    const types = ['cart_created', 'cart_updated', 'item_added', 'cart_updated', 'cart_abandoned'];
    const block = blockOf(
      types.map((eventType) => ({ eventType })),
      11,
    );
    expect(await writeOnce(sink, block, new Set([11, 12, 13]))).toEqual([]);
    expect(service.taken.map(({ seq }) => seq).toSorted()).toEqual([12, 13]);
    expect(await writeOnce(sink, blockOf(repeated(3, { eventType: 'cart_created' })))).toEqual([]);
    expect(await writeOnce(sink, block, new Set())).toEqual([]);
    expect(service.requests).toHaveLength(2);
  });

  test('connections are used again, and no more requests run than `concurrency`, whoever writes', async () => {
    await using service = await startService(async () => {
      await Bun.sleep(1);
      return { status: 200, body: '{"ok":true}' };
    });
    const { sink } = sinkOf(service.url, { concurrency: 3 });
    const blocks = [blockOf(repeated(40)), blockOf(repeated(40), 101), blockOf(repeated(40), 201)];
    expect(await Promise.all(blocks.map((block) => writeOnce(sink, block)))).toEqual([[], [], []]);
    expect(service.taken).toHaveLength(120);
    expect(service.inFlightMax()).toBe(3);
    expect(service.connections()).toBeLessThanOrEqual(6);
  });
});

describe('what becomes of each event', () => {
  test('statuses mixed in one block: taken, refused for good, to be sent again', async () => {
    const statuses = [200, 422, 500, 201, 401, 408, 202, 404, 425, 204, 410, 503];
    await using service = await startService(({ event }) => ({
      status: statuses[event.seq - 1] ?? 200,
      body: `{"why":"${event.seq}"}`,
    }));
    const { sink } = sinkOf(service.url, { concurrency: 1 });
    const failures = await writeOnce(sink, blockOf(repeated(statuses.length)));
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual([
      [2, 'http_422', true],
      [3, 'http_500', false],
      [5, 'http_401', true],
      [6, 'http_408', false],
      [8, 'http_404', true],
      [9, 'http_425', false],
      [11, 'http_410', true],
      [12, 'http_503', false],
    ]);
    expect(failures[0]?.message).toBe('it answered 422: {"why":"2"}');
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, blockOf(repeated(statuses.length)), new Set([3, 6, 9, 12]))).toEqual([]);
    expect(service.requests.slice(-4).map(({ event }) => event.seq)).toEqual([3, 6, 9, 12]);
  });

  test('a storm of 500 ends, and every event was taken once', async () => {
    await using service = await startService((_, attempt) => ({ status: attempt <= 3 ? 500 : 200 }));
    const { sink } = sinkOf(service.url, { breaker: { openMs: 10, openMsMax: 20 } });
    expect(await deliverAll(sink, blockOf(repeated(60)))).toEqual([]);
    expect(service.taken.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 60 }, (_, at) => at + 1),
    );
  });

  test('an event that the service stumbles over is given up, however often others are taken; an outage does not count', async () => {
    await using service = await startService(({ event }) => ({ status: event.seq === 2 ? 500 : 503 }));
    const { sink } = sinkOf(service.url, { retries: 3, breaker: { failures: 1_000 } });
    const block = blockOf(repeated(3));
    for (let write = 1; write <= 3; write++) {
      const failures = await writeOnce(sink, block);
      expect(failures.map(({ code, permanent }) => [code, permanent])).toEqual([
        ['http_503', false],
        ['http_500', false],
        ['http_503', false],
      ]);
    }
    const last = await writeOnce(sink, block);
    expect(last.map(({ code, permanent }) => [code, permanent])).toEqual([
      ['http_503', false],
      ['retries_exhausted', true],
      ['http_503', false],
    ]);
    expect(last[1]?.message).toContain('Sent 4 times');
  });

  test('an event past its age is tried once more, and given up when that fails', async () => {
    await using service = await startService(({ event }) => ({ status: event.seq === 1 ? 200 : 503 }));
    const { sink } = sinkOf(service.url, { ageMaxMs: 60_000 });
    const old = { receivedAtMs: Date.now() - 61_000 };
    const failures = await writeOnce(sink, blockOf([old, old, {}]));
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual([
      [2, 'expired', true],
      [3, 'http_503', false],
    ]);
    expect(failures[0]?.message).toContain('503');
    expect(service.taken.map(({ seq }) => seq)).toEqual([1]);
  });

  test('a redirect is not followed, wherever it points', async () => {
    await using target = await startService();
    const headers = { location: `${target.url}?token=hidden` };
    await using service = await startService(({ event }) => ({
      status: [301, 302, 303, 307, 308][event.seq - 1] ?? 300,
      headers,
    }));
    const { sink } = sinkOf(service.url);
    const failures = await writeOnce(sink, blockOf(repeated(5)));
    expect(failures.map(({ code, permanent }) => [code, permanent])).toEqual(
      [301, 302, 303, 307, 308].map((status) => [`http_${status}`, true]),
    );
    expect(failures[0]?.message).toContain(target.url);
    expect(failures[0]?.message).not.toContain('hidden');
    expect(target.requests).toEqual([]);
  });

  test('what a service says back is clipped, on one line, and without our secrets', async () => {
    const body = `line 1\nBearer s3cret-token \u0007\u202e s3cret-token ${'x'.repeat(5_000)}`;
    await using service = await startService(() => ({ status: 400, body }));
    const { sink, log } = sinkOf(service.url, { headers: { Authorization: 'Bearer s3cret-token' } });
    const [failure] = await writeOnce(sink, blockOf([{}]));
    expect(failure?.message).toStartWith('it answered 400: line 1 *** *** x');
    expect(failure?.message.length).toBeLessThan(340);
    expect(JSON.stringify([sink.health(), log])).not.toContain('s3cret-token');
  });
});

describe('Retry-After', () => {
  test.each([429, 503, 408])('of a %d pauses the whole service, then it goes on', async (status) => {
    await using service = await startService((_, attempt) =>
      attempt === 1 ? { status, headers: { 'retry-after': '7' } } : { status: 200 },
    );
    const clock = createClock();
    const { sink } = sinkOf(service.url, { concurrency: 1 }, { nowMs: clock.nowMs });
    const block = blockOf(repeated(5));
    const failures = await writeOnce(sink, block);
    expect(failures.map(({ code }) => code)).toEqual([`http_${status}`, ...repeated(4).map(() => 'throttled')]);
    expect(failures.some(({ permanent }) => permanent)).toBe(false);
    expect(sink.health().state).toBe('degraded');

    clock.advance(6_990);
    const error = await writeOnce(sink, block).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Overloaded);
    expect(error).toMatchObject({ code: 'throttled', afterMs: 10 });
    expect(service.requests).toHaveLength(1);

    clock.advance(10);
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, block)).toEqual([]);
    expect(sink.health().state).toBe('healthy');
  });

  test('that asks for a day, or a 429 that does not say: bounded', async () => {
    await using service = await startService(() => ({ status: 429, headers: { 'retry-after': '86400' } }));
    const clock = createClock();
    const { sink } = sinkOf(service.url, {}, { nowMs: clock.nowMs, random: () => 0 });
    await writeOnce(sink, blockOf([{}]));
    await expect(writeOnce(sink, blockOf([{}]))).rejects.toMatchObject({ afterMs: 300_000 });
    clock.advance(300_000);
    service.behave(() => ({ status: 429 }));
    await writeOnce(sink, blockOf([{}]));
    await expect(writeOnce(sink, blockOf([{}]))).rejects.toMatchObject({ code: 'throttled', afterMs: 1_000 });
  });

  test('a pause holds every journal back, and old events do not wait for its end', async () => {
    await using service = await startService(() => ({ status: 429, headers: { 'retry-after': '60' } }));
    const clock = createClock();
    const { sink } = sinkOf(service.url, { ageMaxMs: 1_000 }, { nowMs: clock.nowMs });
    await writeOnce(sink, blockOf([{}]));
    await expect(writeOnce(sink, blockOf([{}], 50))).rejects.toBeInstanceOf(Overloaded);
    const failures = await writeOnce(sink, blockOf([{ receivedAtMs: 0 }, {}], 60));
    expect(failures.map(({ code, permanent }) => [code, permanent])).toEqual([
      ['expired', true],
      ['throttled', false],
    ]);
    expect(service.requests).toHaveLength(1);
  });
});

test('who waits for a slot when a pause begins is not sent', async () => {
  await using service = await startService(() => ({ status: 429, headers: { 'retry-after': '60' } }));
  const { sink } = sinkOf(service.url, { concurrency: 1 });
  const failures = await Promise.allSettled([1, 2, 3].map((seq) => writeOnce(sink, blockOf([{}], seq))));
  expect(failures.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
  expect(service.requests).toHaveLength(1);
});

describe('ending', () => {
  test('an abort in mid-flight: what was taken stays taken, the rest comes back', async () => {
    await using service = await startService(({ event }) => (event.seq <= 4 ? { status: 200 } : 'hang'));
    const { sink } = sinkOf(service.url, { concurrency: 6 });
    const ending = new AbortController();
    const block = blockOf(repeated(12));
    const writing = writeOnce(sink, block, undefined, ending.signal);
    await until(() => service.requests.length === 10);
    ending.abort();
    const failures = await writing;
    expect(failures.map(({ seq }) => seq)).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
    expect(failures.every(({ code, permanent }) => code === 'aborted' && !permanent)).toBe(true);
    await until(() => service.openSockets() === 0);
    // Six requests that were given up say nothing of the service: the breaker, which opens after five, stays closed.
    expect(sink.health().state).toBe('healthy');
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, block, new Set(failures.map(({ seq }) => seq)))).toEqual([]);
    expect(service.taken).toHaveLength(12);
  });

  test('a write that takes too long leaves the rest to the next one, with nothing aborted or given up', async () => {
    const clock = createClock();
    await using service = await startService(({ event }) => {
      if (event.seq === 3) clock.advance(10_001);
      return { status: 200 };
    });
    const { sink } = sinkOf(service.url, { concurrency: 1, ageMaxMs: 1_000 }, { nowMs: clock.nowMs });
    const block = blockOf(repeated(5, { receivedAtMs: 0 }));
    const failures = await writeOnce(sink, block);
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual([
      [4, 'unfinished', false],
      [5, 'unfinished', false],
    ]);
    expect(await writeOnce(sink, block, new Set([4, 5]))).toEqual([]);
    expect(service.taken.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
  });

  test('one write that ends frees nobody else, and waits for nobody else', async () => {
    await using service = await startService(() => 'hang');
    const { sink } = sinkOf(service.url, { concurrency: 1 });
    const first = writeOnce(sink, blockOf([{}]));
    await until(() => service.requests.length === 1);
    const ending = new AbortController();
    const second = writeOnce(sink, blockOf([{}], 2), undefined, ending.signal);
    ending.abort();
    expect((await second).map(({ code }) => code)).toEqual(['aborted']);
    expect(service.requests).toHaveLength(1);
    await sink.close(new AbortController().signal);
    expect((await first).map(({ code }) => code)).toEqual(['aborted']);
  });

  test('close ends every write, and nothing is sent after it', async () => {
    await using service = await startService(() => 'hang');
    const { sink } = sinkOf(service.url);
    const writing = [writeOnce(sink, blockOf(repeated(20))), writeOnce(sink, blockOf(repeated(20), 100))];
    await until(() => service.requests.length === 8);
    await sink.close(new AbortController().signal);
    const failures = (await Promise.all(writing)).flat();
    expect(failures).toHaveLength(40);
    expect(failures.every(({ permanent }) => !permanent)).toBe(true);
    await expect(writeOnce(sink, blockOf([{}]))).rejects.toBeInstanceOf(Retryable);
    expect(service.requests).toHaveLength(8);
  });

  test('a signal that has aborted before sends nothing', async () => {
    await using service = await startService();
    const { sink } = sinkOf(service.url);
    const failures = await writeOnce(sink, blockOf(repeated(3)), undefined, AbortSignal.abort());
    expect(failures.map(({ code }) => code)).toEqual(['aborted', 'aborted', 'aborted']);
    expect(service.requests).toEqual([]);
  });
});
