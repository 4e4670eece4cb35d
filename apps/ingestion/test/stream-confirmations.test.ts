import { afterEach, expect, test } from 'bun:test';
import { journalTag } from '@libs/pipeline';
import {
  cartEvent,
  connect,
  connectRaw,
  event,
  OPCODE,
  rawFrame,
  readServerFrames,
  startStream,
  waitUntil,
} from './stream-testing.ts';

let started: ReturnType<typeof startStream> | undefined;
function start(...options: Parameters<typeof startStream>) {
  started = startStream(...options);
  return started;
}
afterEach(async () => {
  await started?.stop();
  started = undefined;
});

/** Everything sent before has been handled once this is answered. */
async function roundTrip(client: Awaited<ReturnType<typeof connect>>): Promise<void> {
  client.send({ type: 'heartbeat' });
  await client.until('heartbeat_ack', client.ofType('heartbeat_ack').length + 1);
}

for (const payload of [undefined, {}, { confirmations: true }]) {
  test(`subscribe with payload ${JSON.stringify(payload)}: confirmed once stored, not before`, async () => {
    const { url, fake } = start();
    const client = await connect(url);
    const other = await connect(url);
    client.send({ type: 'subscribe', payload });
    client.send(cartEvent([event('a'), event('b'), event('bad', { reject: 'x' })], { seq: 10 }));
    other.send(cartEvent(event('not-subscribed')));
    await client.until('event_ack', 2);
    await other.until('event_ack');
    fake.store(1);
    expect(await client.until('event_confirmed')).toEqual([
      { type: 'event_confirmed', timestamp: expect.any(String), eventId: 'a', seq: 10, level: 'stored' },
    ]);
    fake.store(3);
    expect(await client.until('event_confirmed', 2)).toMatchObject([{ eventId: 'a' }, { eventId: 'b', seq: 11 }]);
    await roundTrip(client);
    await roundTrip(other);
    expect(client.ofType('event_confirmed')).toHaveLength(2);
    expect(other.ofType('event_confirmed')).toEqual([]);
  });
}

test('an event that is stored by the time of its ack is confirmed right after it', async () => {
  const { url, fake } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  fake.store(1000);
  client.send(cartEvent(event('quick')));
  await client.until('event_confirmed');
  expect(client.messages.map((message) => message.type)).toEqual(['hello', 'event_ack', 'event_confirmed']);
});

test('a duplicate is confirmed once the store has all that was durable when it was judged', async () => {
  const { url, fake } = start();
  const writer = await connect(url);
  writer.send(cartEvent([event('first'), event('second')]));
  await writer.until('event_ack', 2);
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send(cartEvent(event('first')));
  expect(await client.until('event_ack')).toMatchObject([{ status: 'duplicate' }]);
  fake.store(1);
  await roundTrip(client);
  expect(client.ofType('event_confirmed')).toEqual([]);
  fake.store(2);
  expect(await client.until('event_confirmed')).toMatchObject([{ eventId: 'first', level: 'stored' }]);
});

test('subscribing twice confirms once; unsubscribe ends it, and it can begin again', async () => {
  const { url, fake, stream } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send({ type: 'subscribe', payload: { confirmations: true } });
  client.send(cartEvent(event('one')));
  await client.until('event_ack');
  fake.store(1);
  await client.until('event_confirmed');
  client.send(cartEvent(event('two')));
  await client.until('event_ack', 2);
  expect(stream.stats().confirmationsWaiting).toBe(1);
  client.send({ type: 'unsubscribe' });
  await roundTrip(client);
  expect(stream.stats().confirmationsWaiting).toBe(0);
  fake.store(2);
  client.send({ type: 'subscribe' });
  client.send(cartEvent(event('three')));
  await client.until('event_ack', 3);
  fake.store(3);
  await client.until('event_confirmed', 2);
  expect(client.ofType('event_confirmed').map((message) => message['eventId'])).toEqual(['one', 'three']);
});

test('when too many wait for the store, the subscription ends aloud and events are still accepted', async () => {
  const { url, fake, stream } = start({ confirmationsMax: 5 });
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send(cartEvent(Array.from({ length: 8 }, (_, index) => event(`w-${index}`))));
  await client.until('event_ack', 8);
  expect(await client.until('event_error')).toMatchObject([{ code: 'confirmations_overflow' }]);
  expect(client.ofType('event_error')).toHaveLength(1);
  expect(stream.stats().confirmationsWaiting).toBe(0);
  fake.store(8);
  client.send({ type: 'subscribe' });
  client.send(cartEvent(event('again')));
  fake.store(9);
  await client.until('event_confirmed');
  expect(client.ofType('event_confirmed').map((message) => message['eventId'])).toEqual(['again']);
});

test('a large backlog is sent as fast as the client reads, whole and in order', async () => {
  const { port, fake, stream } = start({ outboundBytesMax: 1_048_576 });
  const { socket, received } = await connectRaw(port);
  socket.write(rawFrame(OPCODE.text, JSON.stringify({ type: 'subscribe' })));
  const name = 'n'.repeat(100);
  const countOf = (type: string) => received().toString('latin1').split(`"${type}"`).length - 1;
  for (let at = 0; at < 50; at++) {
    const events = Array.from({ length: 1000 }, (_, index) => event(`${name}-${at * 1000 + index}`));
    socket.write(rawFrame(OPCODE.text, JSON.stringify(cartEvent(events))));
    await waitUntil(() => fake.lastSeq() === (at + 1) * 1000);
    await waitUntil(() => countOf('event_ack') === (at + 1) * 1000);
  }
  expect(stream.stats().confirmationsWaiting).toBe(50_000);
  socket.pause();
  fake.store(50_000);
  await waitUntil(() => stream.stats().outboundBytes > 0);
  expect(stream.stats().outboundBytes).toBeLessThan(1_048_576);
  expect(stream.stats().confirmationsWaiting).toBeGreaterThan(0);
  socket.resume();
  await waitUntil(() => stream.stats().confirmationsWaiting === 0);
  await waitUntil(() => received().includes(`${name}-49999","level"`));
  const confirmed = readServerFrames(received())
    .filter((frame) => frame.opcode === OPCODE.text)
    .map((frame) => JSON.parse(frame.body.toString()))
    .filter((message) => message.type === 'event_confirmed');
  expect(confirmed.map((message) => message.eventId)).toEqual(
    Array.from({ length: 50_000 }, (_, at) => `${name}-${at}`),
  );
  expect(stream.stats().connections).toBe(1);
  socket.destroy();
}, 30_000);

const confirmationsOf = (client: Awaited<ReturnType<typeof connect>>) =>
  client.ofType('event_confirmed').map(({ eventId, level }) => `${eventId} ${level}`);

test('an event whose type goes to another sink is confirmed as stored, and then as routed', async () => {
  const { url, fake, stream } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send(
    cartEvent([
      event('a', { eventType: 'cart_updated' }),
      event('b'),
      event('c', { eventType: 'cart_updated' }),
      event('d'),
    ]),
  );
  await client.until('event_ack', 4);
  fake.store(4, { routed: 0 });
  await client.until('event_confirmed', 4);
  expect(stream.stats().confirmationsWaiting).toBe(4);
  fake.store(4, { routed: 2 });
  await client.until('event_confirmed', 5);
  fake.store(4);
  await client.until('event_confirmed', 6);
  await roundTrip(client);
  expect(confirmationsOf(client)).toEqual(['a stored', 'b stored', 'c stored', 'd stored', 'a routed', 'c routed']);
  expect(stream.stats().confirmationsWaiting).toBe(0);
});

test('a duplicate of what another journal has waits for that one, and for nothing of ours', async () => {
  const { url, fake, stream } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  const elsewhere = (journalTag: string, throughSeq: number) => ({ at: { journalTag, throughSeq } });
  client.send(
    cartEvent([
      event('a', { ...elsewhere('11', 5), eventType: 'cart_updated' }),
      event('b', elsewhere('22', 3)),
      event('own'),
    ]),
  );
  expect(await client.until('event_ack', 3)).toMatchObject([
    { status: 'duplicate' },
    { status: 'duplicate' },
    { status: 'received' },
  ]);
  fake.store(1_000);
  await client.until('event_confirmed');
  fake.store(4, { tag: '11' });
  fake.store(1_000, { tag: '33' });
  await roundTrip(client);
  expect(confirmationsOf(client)).toEqual(['own stored']);
  fake.store(5, { tag: '11', routed: 4 });
  fake.store(3, { tag: '22' });
  await client.until('event_confirmed', 3);
  expect(stream.stats().confirmationsWaiting).toBe(1);
  fake.store(5, { tag: '11' });
  await client.until('event_confirmed', 4);
  await roundTrip(client);
  expect(confirmationsOf(client)).toEqual(['own stored', 'a stored', 'b stored', 'a routed']);
  expect(stream.stats().confirmationsWaiting).toBe(0);
  // What is there already is confirmed right after the ack.
  client.send(cartEvent(event('b', elsewhere('22', 3))));
  await client.until('event_confirmed', 5);
});

test('a duplicate whose place is in our own journal after all is confirmed from there', async () => {
  const { url, fake } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send(cartEvent(event('a', { at: { journalTag: journalTag(fake.ingestion.journalId), throughSeq: 7 } })));
  await client.until('event_ack');
  fake.store(6);
  await roundTrip(client);
  expect(confirmationsOf(client)).toEqual([]);
  fake.store(7);
  await client.until('event_confirmed');
});

test('what a silent instance has is not confirmed, and the client is told so; the rest goes on', async () => {
  const { url, fake, stream } = start();
  const client = await connect(url);
  client.send({ type: 'subscribe' });
  client.send(cartEvent([1, 2, 3].map((at) => event(`lost-${at}`, { at: { journalTag: '11', throughSeq: at } }))));
  client.send(cartEvent([event('heard', { at: { journalTag: '22', throughSeq: 1 } }), event('own')]));
  await client.until('event_ack', 5);
  fake.silence('11');
  expect(await client.until('event_error')).toEqual([
    {
      type: 'event_error',
      timestamp: expect.any(String),
      code: 'confirmations_abandoned',
      message: expect.stringContaining('3 events'),
    },
  ]);
  expect(stream.stats().confirmationsWaiting).toBe(2);
  fake.store(3, { tag: '11' });
  fake.store(1, { tag: '22' });
  fake.store(1);
  await client.until('event_confirmed', 2);
  await roundTrip(client);
  expect(confirmationsOf(client).sort()).toEqual(['heard stored', 'own stored']);
  expect(stream.stats().confirmationsWaiting).toBe(0);
});

test('what waits for other journals counts, and goes with the subscription and with the connection', async () => {
  const { url, fake, stream } = start({ confirmationsMax: 4 });
  const client = await connect(url);
  const copies = (count: number) =>
    cartEvent(
      Array.from({ length: count }, (_, at) => event(`c-${at}`, { at: { journalTag: String(at % 3), throughSeq: 1 } })),
    );
  client.send({ type: 'subscribe' });
  client.send(copies(4));
  await client.until('event_ack', 4);
  expect(stream.stats().confirmationsWaiting).toBe(4);
  client.send(copies(1));
  expect(await client.until('event_error')).toMatchObject([{ code: 'confirmations_overflow' }]);
  expect(stream.stats().confirmationsWaiting).toBe(0);
  client.send({ type: 'subscribe' });
  client.send(copies(3));
  await client.until('event_ack', 8);
  expect(stream.stats().confirmationsWaiting).toBe(3);
  client.socket.close();
  await waitUntil(() => stream.stats().connections === 0);
  expect(stream.stats().confirmationsWaiting).toBe(0);
  fake.store(1, { tag: '1' });
});
