import { afterEach, describe, expect, test } from 'bun:test';
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

/** The close code that a raw client was sent; undefined while there is none. */
function closeCodeOf(received: Buffer): number | undefined {
  return readServerFrames(received)
    .find((frame) => frame.opcode === OPCODE.close)
    ?.body.readUInt16BE(0);
}

test('an event that is followed by the close at once still has its origin', async () => {
  const { port, fake } = start();
  const { socket } = await connectRaw(port);
  const sent = rawFrame(OPCODE.text, JSON.stringify(cartEvent(event('a'))));
  socket.write(Buffer.concat([sent, rawFrame(OPCODE.close, Buffer.from([0x03, 0xe8]))]));
  await waitUntil(() => fake.calls.length > 0);
  expect(fake.calls[0]?.origin?.ipAddress).toBe('127.0.0.1');
});

describe('frames that are no messages', () => {
  const BAD: readonly [what: string, frame: string, code: string, field?: string][] = [
    ['no JSON', 'hello', 'malformed_json'],
    ['an empty text', '', 'malformed_json'],
    ['half a message', '{"type":"cart_event","payload":{', 'malformed_json'],
    ['a byte order mark', '\u{feff}{"type":"heartbeat"}', 'malformed_json'],
    ['a number', '12', 'invalid_type'],
    ['null', 'null', 'invalid_type'],
    ['an array', '[{"type":"heartbeat"}]', 'invalid_type'],
    ['deep nesting', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'invalid_type'],
    ['no type', '{"payload":{}}', 'missing_field', 'type'],
    ['a type that is no string', '{"type":{"a":1},"payload":{}}', 'unknown_message_type', 'type'],
    ['an unknown type', '{"type":"cart_events","payload":{}}', 'unknown_message_type', 'type'],
    ['an inherited name as type', '{"type":"__proto__","payload":{}}', 'unknown_message_type', 'type'],
    ['an unknown field', '{"type":"heartbeat","pay":1}', 'unknown_field', 'pay'],
    ['no payload', '{"type":"cart_event"}', 'missing_field', 'payload'],
    ['a payload that is text', '{"type":"cart_event","payload":"x"}', 'invalid_type', 'payload'],
    ['a negative seq', '{"type":"cart_event","payload":{},"seq":-1}', 'number_out_of_range', 'seq'],
    ['a seq with a fraction', '{"type":"cart_event","payload":{},"seq":1.5}', 'invalid_type', 'seq'],
    ['a seq that is text', '{"type":"cart_event","payload":{},"seq":"1"}', 'invalid_type', 'seq'],
    [
      'acks of a kind that there is not',
      '{"type":"subscribe","payload":{"acks":"each"}}',
      'unsupported',
      'payload.acks',
    ],
    ['an unknown subscription', '{"type":"subscribe","payload":{"news":true}}', 'unknown_field', 'payload.news'],
    ['a subscription that is no object', '{"type":"subscribe","payload":[]}', 'invalid_type', 'payload'],
  ];

  for (const [what, frame, code, field] of BAD) {
    test(`${what}: ${code}, and the connection goes on`, async () => {
      const { url, fake } = start();
      const client = await connect(url);
      client.send(frame);
      const [error] = await client.until('event_error');
      expect(error).toMatchObject({ code, message: expect.any(String) });
      expect(error?.['field']).toBe(field as string);
      client.send(cartEvent(event('after')));
      await client.until('event_ack');
      expect(fake.records()).toEqual([event('after')]);
    });
  }

  test('an error stays small whatever it quotes', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send(JSON.stringify({ type: 'x'.repeat(500_000) }));
    client.send(JSON.stringify({ type: 'heartbeat', ['k\ud800'.repeat(100_000)]: 1 }));
    client.send(cartEvent(event('long', { reject: 'deep.'.repeat(10_000) })));
    for (const error of await client.until('event_error', 3)) {
      expect(JSON.stringify(error).length).toBeLessThan(2_500);
      expect(JSON.stringify(error).isWellFormed()).toBe(true);
    }
  });

  test('what can be read of a bad message is repeated', async () => {
    const { url } = start();
    const client = await connect(url);
    client.send({ type: 'cart_event', eventId: 'mine', seq: 4 });
    expect(await client.until('event_error')).toMatchObject([{ eventId: 'mine', seq: 4, code: 'missing_field' }]);
  });

  test('the hundredth within a minute ends the connection with 1008, each one answered; rejected events do not count', async () => {
    const { url } = start();
    const client = await connect(url);
    for (let n = 0; n < 300; n++) client.send(cartEvent(event(`r-${n}`, { reject: 'x' })));
    await client.until('event_error', 300);
    for (let n = 0; n < 99; n++) client.send('{');
    await client.until('event_error', 399);
    client.send({ type: 'heartbeat' });
    await client.until('heartbeat_ack');
    client.send('{');
    expect(await client.closed).toEqual({ code: 1008, reason: 'too many bad frames' });
    expect(client.ofType('event_error')).toHaveLength(400);
  });

  test('events in flight are answered before 1008', async () => {
    const { url, fake } = start({ badFramesMax: 2 });
    const client = await connect(url);
    fake.hold();
    client.send(cartEvent(event('kept')));
    client.send('{');
    client.send('{');
    await client.until('event_error', 2);
    fake.release();
    expect((await client.closed).code).toBe(1008);
    expect(client.ofType('event_ack')).toHaveLength(1);
  });
});

describe('the frame limit', () => {
  test('a frame of exactly the limit is read, one byte more is 1009', async () => {
    const { url, fake } = start({ frameBytesMax: 1_048_576 });
    const client = await connect(url);
    const other = await connect(url);
    const empty = JSON.stringify(cartEvent(event('big', { data: '' })));
    client.send(JSON.stringify(cartEvent(event('big', { data: 'x'.repeat(1_048_576 - empty.length) }))));
    await client.until('event_ack');
    client.send(JSON.stringify(cartEvent(event('big', { data: 'x'.repeat(1_048_577 - empty.length) }))));
    expect((await client.closed).code).toBe(1009);
    expect(fake.records()).toHaveLength(1);
    other.send({ type: 'heartbeat' });
    await other.until('heartbeat_ack');
  });

  test('a message in fragments is one message, with pings between them; too many bytes of them are 1009', async () => {
    const { port, fake, stream } = start({ frameBytesMax: 4096 });
    const { socket, received } = await connectRaw(port);
    const text = JSON.stringify(cartEvent(event('frag-☃')));
    const bytes = Buffer.from(text);
    socket.write(rawFrame(OPCODE.text, bytes.subarray(0, 1), { final: false }));
    for (let at = 1; at < bytes.length - 1; at++) {
      socket.write(rawFrame(OPCODE.continuation, bytes.subarray(at, at + 1), { final: false }));
      if (at % 10 === 0) socket.write(rawFrame(OPCODE.ping, 'p'));
    }
    socket.write(rawFrame(OPCODE.continuation, bytes.subarray(-1)));
    await waitUntil(() => received().includes('event_ack'));
    expect(fake.records()).toEqual([event('frag-☃')]);

    socket.write(rawFrame(OPCODE.text, 'x'.repeat(4000), { final: false }));
    socket.write(rawFrame(OPCODE.continuation, 'x'.repeat(97), { final: false }));
    await waitUntil(() => closeCodeOf(received()) !== undefined);
    expect(closeCodeOf(received())).toBe(1009);
    await waitUntil(() => stream.stats().connections === 0);
    socket.destroy();
  });
});

describe('broken protocol', () => {
  const BROKEN: readonly [what: string, bytes: Buffer, code: number][] = [
    ['text that is no UTF-8', rawFrame(OPCODE.text, Buffer.from([0x22, 0xc3, 0x28, 0x22])), 1007],
    ['a frame without a mask', rawFrame(OPCODE.text, '{"type":"heartbeat"}', { mask: false }), 1002],
    ['an opcode that does not exist', rawFrame(3, 'x'), 1002],
    ['a continuation of nothing', rawFrame(OPCODE.continuation, 'x'), 1002],
  ];
  for (const [what, bytes, code] of BROKEN) {
    test(`${what}: ${code}, for this connection only`, async () => {
      const { port, url, stream } = start();
      const other = await connect(url);
      const { socket, received } = await connectRaw(port);
      socket.write(bytes);
      await waitUntil(() => stream.stats().connections === 1);
      await waitUntil(() => closeCodeOf(received()) !== undefined);
      expect(closeCodeOf(received())).toBe(code);
      socket.destroy();
      other.send(cartEvent(event('fine')));
      await other.until('event_ack');
    });
  }

  test('a connection that breaks off within a frame leaves nothing', async () => {
    const { port, stream, fake } = start();
    const { socket } = await connectRaw(port);
    socket.write(rawFrame(OPCODE.text, JSON.stringify(cartEvent(event('half')))).subarray(0, 20));
    socket.end();
    await waitUntil(() => stream.stats().connections === 0);
    expect(fake.records()).toEqual([]);
    socket.destroy();
  });
});

describe('a client that does not read', () => {
  test('is told overloaded, closed with 1013, and holds no more memory than its limit', async () => {
    const { port, url, stream } = start({ outboundBytesMax: 262_144, creditEvents: 100_000 });
    const other = await connect(url);
    const { socket, received } = await connectRaw(port);
    socket.pause();
    const frame = rawFrame(OPCODE.text, JSON.stringify(cartEvent(event('x'.repeat(100), { reject: 'y'.repeat(400) }))));
    const burst = Buffer.concat(Array.from({ length: 200 }, () => frame));
    let most = 0;
    while (stream.stats().connections === 2) {
      if (socket.writableLength < 1_048_576) socket.write(burst);
      await new Promise((resolve) => setTimeout(resolve, 1));
      most = Math.max(most, stream.stats().outboundBytes);
    }
    expect(most).toBeLessThanOrEqual(262_144 + 65_536);
    expect(stream.stats()).toMatchObject({ connections: 1, outboundBytes: 0, closed: { 1013: 1 } });
    other.send(cartEvent(event('fine')));
    await other.until('event_ack');

    socket.resume();
    await waitUntil(() => socket.closed || closeCodeOf(received()) !== undefined);
    const frames = readServerFrames(received());
    const last = frames.filter((one) => one.opcode === OPCODE.text).at(-1);
    expect(JSON.parse(last?.body.toString() ?? '')).toMatchObject({ type: 'overloaded' });
    expect(closeCodeOf(received())).toBe(1013);
    socket.destroy();
  });

  test('many of them together stay within the limit for all, and those that read are untouched', async () => {
    const limits = { outboundBytesMax: 4_194_304, outboundTotalBytesMax: 1_048_576, creditEvents: 100_000 };
    const { port, url, stream } = start(limits);
    const other = await connect(url);
    const stalled = await Promise.all(Array.from({ length: 4 }, () => connectRaw(port)));
    const frame = rawFrame(OPCODE.text, JSON.stringify(cartEvent(event('x'.repeat(100), { reject: 'y'.repeat(400) }))));
    const burst = Buffer.concat(Array.from({ length: 200 }, () => frame));
    for (const { socket } of stalled) socket.pause();
    let acks = 0;
    let most = 0;
    while ((stream.stats().closed[1013] ?? 0) === 0) {
      for (const { socket } of stalled) if (socket.writableLength < 1_048_576) socket.write(burst);
      other.send(cartEvent(event(`o-${acks}`)));
      acks += 1;
      await other.until('event_ack', acks);
      most = Math.max(most, stream.stats().outboundBytes);
    }
    expect(most).toBeLessThanOrEqual(2 * 1_048_576);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
    for (const { socket } of stalled) socket.destroy();
  });
});

test('one of a thousand connections misbehaves, and the others notice nothing', async () => {
  const { url, stream } = start({ creditEvents: 50, frameBytesMax: 65_536 });
  const clients = [];
  for (let at = 0; at < 1000; at += 100) {
    clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(url)))));
  }
  const abuse = [
    (bad: Awaited<ReturnType<typeof connect>>) => bad.send('x'.repeat(100_000)),
    (bad: Awaited<ReturnType<typeof connect>>) => bad.send(cartEvent(Array.from({ length: 1000 }, () => event('e')))),
    (bad: Awaited<ReturnType<typeof connect>>) => {
      for (let n = 0; n < 200; n++) bad.send('{');
    },
  ];
  const codes: number[] = [];
  for (const [round, misbehave] of abuse.entries()) {
    const bad = await connect(url);
    misbehave(bad);
    for (const [at, client] of clients.entries()) client.send(cartEvent(event(`${round}-${at}`), { seq: round }));
    codes.push((await bad.closed).code);
    await Promise.all(clients.map((client) => client.until('event_ack', round + 1)));
  }
  expect(codes).toEqual([1009, 1013, 1008]);
  expect(stream.stats().connections).toBe(1000);
  for (const [at, client] of clients.entries()) {
    expect(client.ofType('event_ack').map((ack) => ack['eventId'])).toEqual(abuse.map((_, round) => `${round}-${at}`));
    expect(client.ofType('event_error')).toEqual([]);
  }
});
