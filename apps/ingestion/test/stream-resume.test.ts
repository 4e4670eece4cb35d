import { afterEach, describe, expect, test } from 'bun:test';
import {
  cartEvent,
  connect,
  connectRaw,
  event,
  OPCODE,
  rawFrame,
  startStream,
  turn,
  waitUntil,
} from './stream-testing.ts';

let started: ReturnType<typeof startStream> | undefined;
function start(...options: Parameters<typeof startStream>) {
  started = startStream(...options);
  const { url, stream } = started;
  return {
    ...started,
    /** Connects with what another connection's hello gave, or with any text. */
    resume: (from: string | { messages: { [name: string]: unknown }[] }) =>
      connect(`${url}?resume=${typeof from === 'string' ? from : from.messages[0]?.['resume']}`),
    allEnded: () => waitUntil(() => stream.stats().connections === 0),
  };
}
afterEach(async () => {
  await started?.stop();
  started = undefined;
});

test('a client that comes back is told how far it was, and what was refused', async () => {
  const { url, resume, allEnded } = start();
  const first = await connect(url);
  first.send(cartEvent([event('a'), event('b', { reject: 'data' }), event('c')], { seq: 1 }));
  first.send(cartEvent(event('d', { retry: true }), { seq: 4 }));
  first.send(cartEvent(event('e'), { seq: 5 }));
  await first.until('event_ack', 3);
  first.socket.terminate();
  await allEnded();

  const second = await resume(first);
  await second.until('event_error', 2);
  expect(second.messages[0]).toMatchObject({ type: 'hello', recovered: true, throughSeq: 3 });
  expect(second.messages[0]).not.toHaveProperty('errorsDropped');
  expect(second.messages.slice(1)).toEqual(first.ofType('event_error'));
  second.send(cartEvent(event('d'), { seq: 4 }));
  await second.until('event_ack');
  second.socket.close();
  await allEnded();

  // What was to be sent again has been since.
  const third = await resume(second);
  third.send({ type: 'heartbeat' });
  await third.until('heartbeat_ack');
  expect(third.messages).toMatchObject([
    { type: 'hello', recovered: true, throughSeq: 5 },
    { type: 'event_error', seq: 2 },
    { type: 'heartbeat_ack' },
  ]);
});

test('without ?resume= there is no word of it; every connection has a token of its own', async () => {
  const { url } = start();
  const clients = await Promise.all(Array.from({ length: 50 }, () => connect(url)));
  for (const { messages } of clients) expect(messages[0]).not.toHaveProperty('recovered');
  expect(new Set(clients.map(({ messages }) => messages[0]?.['resume'])).size).toBe(50);
});

describe('nothing is recovered', () => {
  test('of a connection that never counted an event, and nothing is kept of it', async () => {
    const { url, resume, allEnded, stream } = start();
    const first = await connect(url);
    first.send(cartEvent(event('a')));
    await first.until('event_ack');
    first.socket.close();
    await allEnded();
    expect(stream.stats().resumable).toBe(0);
    const second = await resume(first);
    expect(second.messages[0]).toMatchObject({ recovered: false });
    expect(second.messages[0]).not.toHaveProperty('throughSeq');
  });

  test('with a token that nobody was given', async () => {
    const { resume } = start();
    const client = await resume('AAAAAAAAAAAAAAAAAAAAAA');
    expect(client.messages[0]).toMatchObject({ recovered: false });
    client.send({ type: 'heartbeat' });
    await client.until('heartbeat_ack');
    expect(client.ofType('event_error')).toEqual([]);
  });

  test.each([
    ['nothing', ''],
    ['too short', 'short'],
    ['too long', 'x'.repeat(5_000)],
    ['with a NUL', 'AAAAAAAAAAAAAAAAAAAAA%00'],
    ['with half an escape', 'AAAAAAAAAAAAAAAAAAAAAA%'],
    ['with other scripts', '%F0%9F%98%80'],
  ])('with a text that is no token (%s): told so, and the connection goes on', async (_, text) => {
    const { resume } = start();
    const client = await resume(text);
    expect(client.messages[0]).toMatchObject({ recovered: false });
    expect(await client.until('event_error')).toMatchObject([{ code: 'invalid_resume_token', field: 'resume' }]);
    client.send(cartEvent(event('a'), { seq: 0 }));
    await client.until('event_ack');
  });

  test('with a token that was used, once the client has been heard on the connection that it got with it', async () => {
    const { url, resume } = start();
    const first = await connect(url);
    first.send(cartEvent(event('a'), { seq: 0 }));
    await first.until('event_ack');
    const second = await resume(first);
    expect(second.messages[0]).toMatchObject({ recovered: true });
    second.send({ type: 'heartbeat' });
    await second.until('heartbeat_ack');
    expect((await resume(first)).messages[0]).toMatchObject({ recovered: false });
    expect((await resume(second)).messages[0]).toMatchObject({ recovered: true, throughSeq: 0 });
  });

  test('after the window, and then nothing is kept either', async () => {
    const { url, resume, allEnded, pass, stream } = start();
    const clients = [await connect(url), await connect(url)];
    for (const client of clients) {
      client.send(cartEvent(event('a', { reject: 'data' }), { seq: 0 }));
      await client.until('event_error');
      client.socket.close();
    }
    await allEnded();
    const [early, late] = clients as [(typeof clients)[0], (typeof clients)[0]];
    pass(50_000);
    expect((await resume(early)).messages[0]).toMatchObject({ recovered: true, throughSeq: 0 });
    pass(60_000);
    expect((await resume(late)).messages[0]).toMatchObject({ recovered: false });
    await waitUntil(() => stream.stats().resumable === 0);
    expect(stream.stats().resumeErrorChars).toBe(JSON.stringify(early.ofType('event_error')[0]).length);
  });

  test('of the one that ended first, when more have ended than are kept', async () => {
    const { url, resume, stream } = start({ resumableMax: 2 });
    const clients = [];
    for (let n = 0; n < 3; n++) {
      const client = await connect(url);
      client.send(cartEvent(event(`a-${n}`), { seq: 0 }));
      await client.until('event_ack');
      client.socket.close();
      await waitUntil(() => stream.stats().connections === 0);
      clients.push(client);
    }
    expect(stream.stats().resumable).toBe(2);
    const recovered = [];
    for (const client of clients) recovered.push((await resume(client)).messages[0]?.['recovered']);
    expect(recovered).toEqual([false, true, true]);
  });
});

test('a hello that was lost on its way costs nothing: the old token is good until the client is heard', async () => {
  const { url, resume } = start();
  const first = await connect(url);
  first.send(cartEvent([event('a'), event('b')], { seq: 0 }));
  await first.until('event_ack', 2);
  for (let attempt = 0; attempt < 3; attempt++) {
    const again = await resume(first);
    expect(again.messages[0]).toMatchObject({ recovered: true, throughSeq: 1 });
    again.socket.terminate();
  }
});

describe('a connection that is still there', () => {
  test('is closed, and what it had in flight is answered on the new one', async () => {
    const { url, resume, fake, stream } = start();
    const first = await connect(url);
    fake.hold();
    first.send(cartEvent([event('a'), event('b', { reject: 'data' }), event('c', { retry: true })], { seq: 7 }));
    await waitUntil(() => fake.calls.length === 1);
    const second = await resume(first);
    expect(second.messages[0]).toMatchObject({ recovered: true });
    expect(second.messages[0]).not.toHaveProperty('throughSeq');
    expect(await first.closed).toEqual({ code: 4001, reason: 'resumed by another connection' });
    fake.release();
    await second.until('event_error', 2);
    expect(second.messages.slice(1)).toMatchObject([
      { type: 'event_ack', seq: 7 },
      { type: 'event_error', seq: 8 },
      { type: 'event_error', seq: 9, retryAfterMs: 1500 },
    ]);
    expect(first.messages).toHaveLength(1);
    expect(stream.stats()).toMatchObject({ connections: 1, closed: { 4001: 1 } });
  });

  test('says nothing more, and what it still sends is not taken', async () => {
    const { port, resume, fake } = start();
    const { socket, received } = await connectRaw(port);
    const send = (id: string, seq: number) => rawFrame(OPCODE.text, JSON.stringify(cartEvent(event(id), { seq })));
    socket.write(send('a', 0));
    await waitUntil(() => received().includes('event_ack'));
    const token = /"resume":"([^"]+)"/.exec(received().toString())?.[1] ?? '';
    const second = await resume(token);
    socket.write(send('late', 1));
    second.send(cartEvent(event('b'), { seq: 1 }));
    await second.until('event_ack');
    // The stream has read what was sent before, or never will.
    await waitUntil(() => socket.closed);
    expect(fake.records()).toEqual([event('a'), event('b')]);
    socket.destroy();
  });
});

test('events in flight when the connection was cut count, also when they finish after the client is back', async () => {
  const { url, resume, allEnded, fake } = start();
  const first = await connect(url);
  fake.hold();
  first.send(cartEvent([event('a'), event('b')], { seq: 0 }));
  await waitUntil(() => fake.calls.length === 1);
  first.socket.terminate();
  await allEnded();
  const second = await resume(first);
  expect(second.messages[0]).not.toHaveProperty('throughSeq');
  second.socket.terminate();
  await allEnded();
  fake.release();
  await turn();
  const third = await resume(second);
  expect(third.messages[0]).toMatchObject({ recovered: true, throughSeq: 1 });
});

test('cumulative acks are asked for anew on each connection', async () => {
  const { url, resume } = start();
  const first = await connect(url);
  first.send({ type: 'subscribe', payload: { acks: 'cumulative' } });
  first.send(cartEvent(event('a'), { seq: 0 }));
  await first.until('event_ack');
  const second = await resume(first);
  second.send(cartEvent(event('b'), { seq: 1 }));
  expect(await second.until('event_ack')).toMatchObject([{ eventId: 'b', seq: 1 }]);
  second.send({ type: 'subscribe', payload: { acks: 'cumulative' } });
  second.send(cartEvent(event('c'), { seq: 2 }));
  expect((await second.until('event_ack', 2))[1]).toMatchObject({ throughSeq: 2 });
});

describe('the errors that are repeated', () => {
  const CHARS = 1_000;

  test('are the last ones within the limit of a client; hello counts the others', async () => {
    const { url, resume, stream } = start({ resumeErrorCharsMax: CHARS });
    const first = await connect(url);
    for (let seq = 0; seq < 50; seq++) first.send(cartEvent(event(`e-${seq}`, { reject: 'data' }), { seq }));
    await first.until('event_error', 50);
    expect(stream.stats().resumeErrorChars).toBeLessThanOrEqual(CHARS);
    const second = await resume(first);
    const dropped = Number(second.messages[0]?.['errorsDropped']);
    expect(second.messages[0]).toMatchObject({ recovered: true, throughSeq: 49 });
    await second.until('event_error', 50 - dropped);
    expect(second.messages.slice(1)).toEqual(first.ofType('event_error').slice(dropped));
    expect(dropped).toBeGreaterThan(40);
    expect(dropped).toBeLessThan(50);
  });

  test('hold an event that is refused again and again once', async () => {
    const { url, resume, stream } = start();
    const first = await connect(url);
    first.send(cartEvent(event('bad', { reject: 'data' }), { seq: 0 }));
    for (let attempt = 0; attempt < 500; attempt++) first.send(cartEvent(event('late', { retry: true }), { seq: 1 }));
    await first.until('event_error', 501);
    expect(stream.stats().resumeErrorChars).toBeLessThan(1_000);
    const second = await resume(first);
    await second.until('event_error', 2);
    expect(second.messages).toMatchObject([
      { recovered: true, throughSeq: 0 },
      { seq: 0, code: 'invalid_type' },
      { seq: 1, retryAfterMs: 1500 },
    ]);
    expect(second.messages[0]).not.toHaveProperty('errorsDropped');
  });

  test('stay within the limit of all clients, and are let go of with theirs', async () => {
    const { url, resume, stream, allEnded, pass } = start({ resumeErrorCharsTotalMax: CHARS });
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(url)));
    for (const client of clients) {
      for (let seq = 0; seq < 5; seq++) client.send(cartEvent(event(`e-${seq}`, { reject: 'data' }), { seq }));
      await client.until('event_error', 5);
    }
    expect(stream.stats().resumeErrorChars).toBeLessThanOrEqual(CHARS);
    const [, , , , last] = clients;
    const again = await resume(last ?? '');
    expect(again.messages[0]).toMatchObject({ recovered: true, throughSeq: 4, errorsDropped: 5 });
    for (const { socket } of [...clients, again]) socket.close();
    await allEnded();
    pass(61_000);
    await waitUntil(() => stream.stats().resumable === 0);
    expect(stream.stats().resumeErrorChars).toBe(0);
  });
});
