import { afterEach, describe, expect, test } from 'bun:test';
import { cartEvent, connect, event, startStream, turn, waitUntil } from './stream-testing.ts';

let started: ReturnType<typeof startStream> | undefined;
function start(...options: Parameters<typeof startStream>) {
  started = startStream(...options);
  return started;
}
afterEach(async () => {
  await started?.stop();
  started = undefined;
});

describe('the handshake', () => {
  test('a plain GET is told to upgrade', async () => {
    const { port } = start();
    const response = await fetch(`http://127.0.0.1:${port}/events/stream`, { headers: { 'x-request-id': 'r-1' } });
    expect(response.status).toBe(426);
    expect(response.headers.get('upgrade')).toBe('websocket');
    expect(await response.json()).toEqual({
      error: 'upgrade_required',
      message: expect.any(String),
      requestId: 'r-1',
    });
  });

  test('a handshake without a key is refused', async () => {
    const { port } = start();
    const response = await fetch(`http://127.0.0.1:${port}/events/stream`, {
      headers: { upgrade: 'websocket', connection: 'Upgrade' },
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: 'bad_handshake' });
  });

  test('hello tells the limits, and no two connections have the same id', async () => {
    const { url, stream } = start({ creditEvents: 5, creditBytes: 4096, frameBytesMax: 2048 });
    const one = await connect(url);
    const two = await connect(url);
    expect(one.messages[0]).toEqual({
      type: 'hello',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      connectionId: expect.any(String),
      credit: 5,
      creditBytes: 4096,
      maxFrameBytes: 2048,
      heartbeatIntervalMs: 30_000,
      resume: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
    });
    expect(two.messages[0]?.['connectionId']).not.toBe(one.messages[0]?.['connectionId']);
    expect(stream.stats().connections).toBe(2);
  });

  test('beyond connectionsMax and while draining: 503 with Retry-After, until there is room again', async () => {
    const { url, port, stream, fake } = start({ connectionsMax: 1 });
    const first = await connect(url);
    const upgrade = { headers: { upgrade: 'websocket', connection: 'Upgrade' } };
    const full = await fetch(`http://127.0.0.1:${port}/`, upgrade);
    expect(full.status).toBe(503);
    expect(full.headers.get('retry-after')).toMatch(/^[12]$/);
    expect(await full.json()).toMatchObject({ error: 'overloaded' });

    first.socket.close();
    await waitUntil(() => stream.stats().connections === 0);
    (await connect(url)).socket.close();
    await waitUntil(() => stream.stats().connections === 0);

    fake.drain();
    expect((await fetch(`http://127.0.0.1:${port}/`, upgrade)).status).toBe(503);
  });
});

describe('cart_event', () => {
  test('one event: one ack with id, seq and position', async () => {
    const { url, counters } = start();
    const client = await connect(url);
    client.send(cartEvent(event('e-1'), { seq: 7, timestamp: '2026-03-14T09:26:53Z', eventId: 'other' }));
    expect(await client.until('event_ack')).toEqual([
      {
        type: 'event_ack',
        timestamp: expect.any(String),
        eventId: 'e-1',
        seq: 7,
        status: 'received',
        position: '0199c2a4-0000-7000-8000-00000000beef:1',
      },
    ]);
    expect(counters.events).toMatchObject({ received: 1, accepted: 1 });
    expect(counters.websocket).toEqual({
      activeConnections: 1,
      totalConnections: 1,
      messagesReceived: 1,
      messagesSent: 2,
    });
  });

  test('without seq there is none in the reply; an id with quotes and other scripts comes back as it was', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send(cartEvent(event('a "quoted" \\ id ☃ 😀')));
    const [ack] = await client.until('event_ack');
    expect(ack?.['eventId']).toBe('a "quoted" \\ id ☃ 😀');
    expect(ack).not.toHaveProperty('seq');
  });

  test('an array with mixed outcomes: one reply each, numbered, with the place of what is wrong', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send(cartEvent(event('a')));
    await client.until('event_ack');
    client.send(
      cartEvent(
        [
          event('a'),
          event('b'),
          event('c', { reject: 'data.items[0].price' }),
          { noId: 1 },
          event('d', { retry: true }),
        ],
        {
          seq: 100,
          eventId: 'beside',
        },
      ),
    );
    const errors = await client.until('event_error', 3);
    const acks = await client.until('event_ack', 3);
    expect(acks.slice(1)).toMatchObject([
      { eventId: 'a', seq: 100, status: 'duplicate' },
      { eventId: 'b', seq: 101, status: 'received' },
    ]);
    expect(acks[1]).not.toHaveProperty('position');
    expect(errors).toEqual([
      {
        type: 'event_error',
        timestamp: expect.any(String),
        eventId: 'c',
        seq: 102,
        code: 'invalid_type',
        field: 'payload[2].data.items[0].price',
        message: expect.any(String),
      },
      {
        type: 'event_error',
        timestamp: expect.any(String),
        seq: 103,
        code: 'missing_field',
        field: 'payload[3].eventId',
        message: expect.any(String),
      },
      {
        type: 'event_error',
        timestamp: expect.any(String),
        eventId: 'd',
        seq: 104,
        code: 'journal_full',
        message: expect.any(String),
        retryAfterMs: 1500,
      },
    ]);
  });

  test('a single event without a readable id is called by the id beside it', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send(cartEvent({ reject: 'x' }, { eventId: 'beside', seq: 3 }));
    const [error] = await client.until('event_error');
    expect(error).toMatchObject({ eventId: 'beside', seq: 3, field: 'payload.eventId' });
  });

  test('a full array is taken, one more is not, nor is none', async () => {
    const { url, fake } = start();
    const client = await connect(url);
    const events = Array.from({ length: 1000 }, (_, index) => event(`full-${index}`));
    client.send(cartEvent(events, { seq: 0 }));
    expect((await client.until('event_ack', 1000)).map((ack) => ack['seq'])).toEqual(events.map((_, index) => index));
    client.send(cartEvent([...events, event('more')], { seq: 5000 }));
    client.send(cartEvent([]));
    expect(await client.until('event_error', 2)).toMatchObject([
      { code: 'too_many_events', field: 'payload', seq: 5000 },
      { code: 'empty_batch', field: 'payload' },
    ]);
    expect(fake.records()).toHaveLength(1000);
  });

  test('binary frames hold the same JSON; invalid UTF-8 in one is malformed', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send(Buffer.from(JSON.stringify(cartEvent(event('bin-☃')))));
    expect(await client.until('event_ack')).toMatchObject([{ eventId: 'bin-☃' }]);
    client.send(Buffer.from([0x7b, 0xff, 0x7d]));
    expect(await client.until('event_error')).toMatchObject([{ code: 'malformed_json' }]);
    client.send({ type: 'heartbeat' });
    await client.until('heartbeat_ack');
  });

  test('events reach accept in the order of their arrival, with the origin of the connection', async () => {
    const { url, fake } = start();
    const client = await connect(url);
    const ids = Array.from({ length: 3000 }, (_, index) => `o-${index}`);
    for (const id of ids.slice(0, 1500)) client.send(cartEvent(event(id)));
    for (let at = 1500; at < 3000; at += 100) client.send(cartEvent(ids.slice(at, at + 100).map((id) => event(id))));
    const acks = await client.until('event_ack', 3000);
    expect(fake.records().map((record) => (record as { eventId: string }).eventId)).toEqual(ids);
    expect(acks.map((ack) => ack['eventId'])).toEqual(ids);
    expect(Math.max(...fake.calls.map((call) => call.records.length))).toBeLessThanOrEqual(1000);
    expect(fake.calls[0]?.origin).toMatchObject({
      ipAddress: '127.0.0.1',
      requestId: client.messages[0]?.['connectionId'],
    });
  });

  test('accept failing answers every event, ends the connection with 1011 and is logged', async () => {
    const { url, fake, log } = start();
    const client = await connect(url);
    const other = await connect(url);
    fake.breakWith(new Error('a bug at /some/secret/path'));
    client.send(cartEvent([event('x'), event('y')]));
    const { code } = await client.closed;
    expect(code).toBe(1011);
    expect(client.ofType('event_error')).toMatchObject([
      { eventId: 'x', code: 'internal_error', retryAfterMs: 1000 },
      { eventId: 'y', code: 'internal_error', retryAfterMs: 1000 },
    ]);
    expect(JSON.stringify(client.messages)).not.toContain('secret');
    expect(log.filter((line) => line.level === 'error')).toHaveLength(1);
    other.send({ type: 'heartbeat' });
    await other.until('heartbeat_ack');
  });
});

describe('credit', () => {
  test('events beyond it are not taken; what came before is answered, then 1013', async () => {
    const { url, fake, stream } = start({ creditEvents: 10 });
    const client = await connect(url);
    fake.hold();
    client.send(cartEvent(Array.from({ length: 8 }, (_, index) => event(`c-${index}`))));
    client.send(cartEvent([event('d-0'), event('d-1'), event('d-2')]));
    const [overloaded] = await client.until('overloaded');
    expect(overloaded?.['retryAfterMs']).toBeWithin(1_000, 2_000);
    client.send(cartEvent(event('late')));
    client.send({ type: 'heartbeat' });
    expect(client.ofType('event_ack')).toEqual([]);
    fake.release();
    expect(await client.closed).toEqual({ code: 1013, reason: 'overloaded' });
    expect(client.ofType('event_ack').map((ack) => ack['eventId'])).toEqual(
      Array.from({ length: 8 }, (_, index) => `c-${index}`),
    );
    expect(fake.records()).toHaveLength(8);
    expect(stream.stats().closed).toEqual({ 1013: 1 });
  });

  test('bytes count too', async () => {
    const { url, fake } = start({ creditBytes: 1000 });
    const client = await connect(url);
    fake.hold();
    client.send(cartEvent(event('small')));
    client.send(cartEvent(event('big', { data: 'x'.repeat(1000) })));
    await client.until('overloaded');
    fake.release();
    expect((await client.closed).code).toBe(1013);
    expect(fake.records()).toMatchObject([{ eventId: 'small' }]);
  });

  test('it comes back with every ack, whatever the outcome', async () => {
    const { url } = start({ creditEvents: 3 });
    const client = await connect(url);
    for (let round = 0; round < 20; round++) {
      client.send(cartEvent([event(`r-${round}`), event('same'), event('bad', { reject: 'x' })]));
      await client.until('event_error', round + 1);
      await client.until('event_ack', 2 * round + 2);
    }
    expect(client.socket.readyState).toBe(WebSocket.OPEN);
  });

  test('a close waits for what is in flight only so long', async () => {
    const { url, fake } = start({ creditEvents: 1, closeTimeoutMs: 100 });
    const client = await connect(url);
    fake.hold();
    client.send(cartEvent(event('stuck')));
    client.send(cartEvent(event('more')));
    expect((await client.closed).code).toBe(1013);
    expect(client.ofType('event_ack')).toEqual([]);
    fake.release();
  });
});

describe('heartbeats', () => {
  test('a heartbeat is acknowledged', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send({ type: 'heartbeat', timestamp: 'any' });
    expect(await client.until('heartbeat_ack')).toEqual([{ type: 'heartbeat_ack', timestamp: expect.any(String) }]);
  });

  test('silence ends a connection with 1001; frames and pings keep another one alive', async () => {
    const { url, stream } = start({ heartbeatIntervalMs: 100 });
    const silent = await connect(url);
    const talking = await connect(url);
    const pinging = await connect(url);
    let over = false;
    const talk = (async () => {
      while (!over) {
        talking.send({ type: 'heartbeat' });
        pinging.socket.ping();
        await Bun.sleep(20);
      }
    })();
    expect(await silent.closed).toEqual({ code: 1001, reason: 'silent for two heartbeat intervals' });
    await talking.until('heartbeat_ack', talking.ofType('heartbeat_ack').length + 20);
    over = true;
    await talk;
    expect(stream.stats().connections).toBe(2);
    expect([(await talking.closed).code, (await pinging.closed).code]).toEqual([1001, 1001]);
  });
});

describe('shutdown', () => {
  test('in-flight acks first, then 1001; nobody gets in any more', async () => {
    const { url, port, fake, stream } = start();
    const busy = await connect(url);
    const idle = await connect(url);
    fake.hold();
    busy.send(cartEvent([event('s-1'), event('s-2')]));
    await waitUntil(() => fake.calls.length === 1);
    let closed = false;
    const closing = stream.closeAll(1001, 'bye').then(() => {
      closed = true;
    });
    expect(await idle.closed).toEqual({ code: 1001, reason: 'bye' });
    const refused = await fetch(`http://127.0.0.1:${port}/`, {
      headers: { upgrade: 'websocket', connection: 'Upgrade' },
    });
    expect(refused.status).toBe(503);
    expect(busy.ofType('event_ack')).toEqual([]);
    expect(closed).toBe(false);
    fake.release();
    expect(await busy.closed).toEqual({ code: 1001, reason: 'bye' });
    expect(busy.ofType('event_ack')).toHaveLength(2);
    await closing;
    await stream.closeAll(1001, 'again');
    expect(fake.listeners.size).toBe(0);
    expect(stream.stats().connections).toBe(0);
  });

  test('everyone is told when to come back, last of all, and each at a moment of its own', async () => {
    const { url, stream } = start();
    const clients = await Promise.all(Array.from({ length: 600 }, () => connect(url)));
    await stream.closeAll(1001, 'the service is shutting down');
    const codes = await Promise.all(clients.map(async ({ closed }) => (await closed).code));
    expect(new Set(codes)).toEqual(new Set([1001]));
    const last = clients.map(({ messages }) => messages.at(-1));
    expect(last[0]).toEqual({
      type: 'going_away',
      timestamp: expect.any(String),
      message: 'the service is shutting down',
      retryAfterMs: expect.any(Number),
    });
    const delays = last.map((message) => Number(message?.['retryAfterMs']));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(1_000);
    expect(Math.max(...delays)).toBeLessThan(2_000);
    // 600 draws of 1,000 numbers: about 450 different ones.
    expect(new Set(delays).size).toBeGreaterThan(300);
  }, 60_000);

  test('a client that disappears with events in flight leaves nothing behind', async () => {
    const { url, fake, stream, counters } = start();
    const client = await connect(url);
    client.send({ type: 'subscribe' });
    fake.hold();
    client.send(cartEvent([event('g-1'), event('g-2')]));
    await waitUntil(() => fake.calls.length === 1);
    client.socket.terminate();
    await waitUntil(() => stream.stats().connections === 0);
    fake.release();
    await turn();
    await waitUntil(() => counters.events.accepted === 2);
    expect(stream.stats()).toMatchObject({ connections: 0, outboundBytes: 0, confirmationsWaiting: 0 });
  });
});
