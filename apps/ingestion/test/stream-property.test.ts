import { expect, test } from 'bun:test';
import { connect, event, startStream } from './stream-testing.ts';

/** Mulberry32: the same seed gives the same run. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

test('every event gets exactly one ack or error, whatever it is and however it comes', async () => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const random = createRandom(seed);
  const below = (max: number) => Math.floor(random() * max);
  const { url, fake, stream, counters, stop } = startStream();
  try {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(url)));
    const sent = clients.map(() => 0);
    for (let step = 0; step < 1500; step++) {
      const at = below(clients.length);
      const client = clients[at];
      if (client === undefined) continue;
      if (random() < 0.03) fake.hold();
      if (random() < 0.2) fake.release();
      if (random() < 0.05) client.send({ type: random() < 0.5 ? 'subscribe' : 'unsubscribe' });
      if (random() < 0.05) fake.store(fake.lastSeq());
      const isArray = random() < 0.3;
      const events = Array.from({ length: isArray ? 1 + below(50) : 1 }, () => randomEvent(below));
      const frame = { type: 'cart_event', payload: isArray ? events : events[0], seq: sent[at] };
      client.send(random() < 0.3 ? Buffer.from(JSON.stringify(frame)) : frame);
      sent[at] = (sent[at] ?? 0) + events.length;
      if (random() < 0.1) await new Promise((resolve) => setImmediate(resolve));
    }
    fake.release();
    for (const [at, client] of clients.entries()) {
      const answered = () => [...client.ofType('event_ack'), ...client.ofType('event_error')];
      client.send({ type: 'heartbeat' });
      await client.until('heartbeat_ack');
      while (answered().length < (sent[at] ?? 0)) await new Promise((resolve) => setImmediate(resolve));
      const seqs = answered()
        .map((message) => Number(message['seq']))
        .sort((a, b) => a - b);
      expect(seqs, `seed ${seed}`).toEqual(Array.from({ length: sent[at] ?? 0 }, (_, index) => index));
      expect(client.socket.readyState).toBe(WebSocket.OPEN);
    }
    expect(counters.events.received, `seed ${seed}`).toBe(sent.reduce((sum, one) => sum + one, 0));
    for (const client of clients) client.socket.terminate();
    while (stream.stats().connections > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(stream.stats()).toMatchObject({ outboundBytes: 0, confirmationsWaiting: 0 });
  } finally {
    fake.release();
    await stop();
  }
});

function randomEvent(below: (max: number) => number): unknown {
  const id = `id-${below(2000)}`;
  switch (below(8)) {
    case 0:
      return event(id, { reject: 'data.x' });
    case 1:
      return event(id, { retry: true });
    case 2:
      return {};
    default:
      return event(id, { data: 'é'.repeat(below(200)) });
  }
}
