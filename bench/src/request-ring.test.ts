import { expect, test } from 'bun:test';
import { createIdStamp, newNonce } from './events.ts';
import { type Mix, PLAIN_MIX } from './mix.ts';
import { type BodyForm, createRequestRing, type LoadKind } from './request-ring.ts';

function ring(kind: LoadKind, slots: number, eventsPerRequest = 1, mix: Partial<Mix> = {}, form: BodyForm = 'weir') {
  const nonce = newNonce();
  const stamp = createIdStamp();
  const options = { kind, form, slots, eventsPerRequest, host: 'localhost:1', seed: 3, nowMs: Date.now(), nonce };
  return createRequestRing({ ...options, titles: 'mixed', mix: { ...PLAIN_MIX, ...mix } }, stamp);
}

function slotText(made: ReturnType<typeof ring>, slot: number): string {
  return Buffer.from(made.bytes.subarray(made.start(slot), made.end(slot))).toString();
}

function bodyOf(text: string) {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  expect(Number(/content-length: (\d+)/i.exec(head)?.[1])).toBe(Buffer.byteLength(body));
  return JSON.parse(body);
}

test('single requests are whole, and their ids never repeat when the ring goes round', () => {
  const made = ring('single', 16);
  const ids: string[] = [];
  for (let round = 0; round < 5; round++) {
    for (let slot = 0; slot < made.slots; slot++) {
      made.stamp(slot);
      ids.push(bodyOf(slotText(made, slot)).eventId);
    }
  }
  expect(new Set(ids).size).toBe(80);
});

test('a batch has the events it should, all with ids of their own, again and again', () => {
  const made = ring('batch', 2, 1_000);
  const ids: string[] = [];
  for (const slot of [0, 1, 0, 1]) {
    made.stamp(slot);
    const { events } = bodyOf(slotText(made, slot)) as { events: { eventId: string }[] };
    expect(events).toHaveLength(1_000);
    ids.push(...events.map(({ eventId }) => eventId));
  }
  expect(new Set(ids).size).toBe(4_000);
  expect(made.eventBytes / 2_000).toBeGreaterThan(300);
});

test('a frame unmasks to its event, also after its id was written anew', () => {
  const made = ring('ws', 64);
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (let slot = 0; slot < made.slots; slot++) {
      made.stamp(slot);
      const frame = Buffer.from(made.bytes.subarray(made.start(slot), made.end(slot)));
      expect([frame[0], frame[1]]).toEqual([0x81, 0x80 | 126]);
      expect(frame.readUInt16BE(2)).toBe(frame.length - 8);
      const payload = frame.subarray(8).map((byte, at) => byte ^ (frame[4 + (at & 3)] as number));
      const { type, payload: event } = JSON.parse(Buffer.from(payload).toString());
      expect(type).toBe('cart_event');
      ids.push(event.eventId);
    }
  }
  expect(new Set(ids).size).toBe(192);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

interface Batch {
  readonly events: readonly { readonly eventId: string; readonly eventType?: string }[];
}

function batchAt(made: ReturnType<typeof ring>, slot: number): Batch {
  made.stamp(slot);
  return bodyOf(slotText(made, slot)) as Batch;
}

test('lines come in chunks whose sizes are right, and their ids are new each time', () => {
  const made = ring('ndjson', 1, 450);
  const ids: string[] = [];
  for (let round = 0; round < 2; round++) {
    made.stamp(0);
    const request = Buffer.from(made.bytes.subarray(made.start(0), made.end(0)));
    let rest = request.subarray(request.indexOf('\r\n\r\n') + 4);
    let lines = '';
    for (;;) {
      const sizeEnd = rest.indexOf('\r\n');
      const size = Number.parseInt(rest.toString('latin1', 0, sizeEnd), 16);
      lines += rest.toString('utf8', sizeEnd + 2, sizeEnd + 2 + size);
      rest = rest.subarray(sizeEnd + 2 + size + 2);
      if (size === 0) break;
    }
    expect(rest.length).toBe(0);
    ids.push(
      ...lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).eventId),
    );
  }
  expect(new Set(ids).size).toBe(900);
});

test('a frame of several events holds an array, and unmasks to it after new ids were written', () => {
  const made = ring('ws', 2, 100);
  const ids: string[] = [];
  for (const slot of [0, 1, 0]) {
    made.stamp(slot);
    const frame = Buffer.from(made.bytes.subarray(made.start(slot), made.end(slot)));
    const payload = frame.subarray(8).map((byte, at) => byte ^ (frame[4 + (at & 3)] as number));
    const events = JSON.parse(Buffer.from(payload).toString()).payload as Batch['events'];
    expect(events).toHaveLength(100);
    ids.push(...events.map(({ eventId }) => eventId));
  }
  expect(new Set(ids).size).toBe(300);
});

test('duplicates keep the ids that they were first sent with, the others get new ones', () => {
  const made = ring('batch', 2, 10, { duplicates: 0.5 });
  const [first, other, second, third] = [0, 1, 0, 0].map((slot) =>
    batchAt(made, slot).events.map(({ eventId }) => eventId),
  );
  expect(new Set([...(first ?? []), ...(other ?? [])]).size).toBe(20);
  expect(second?.slice(0, 5)).toEqual(first?.slice(0, 5) ?? []);
  expect(third?.slice(0, 5)).toEqual(first?.slice(0, 5) ?? []);
  expect(new Set([...(first ?? []), ...(second ?? []), ...(third ?? [])]).size).toBe(20);
  expect(made.stamped()).toBe(4);
});

test('invalid events are as many as they should be, each with an id of its own', () => {
  const { events } = batchAt(ring('batch', 1, 50, { invalid: 0.1 }), 0);
  expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(50);
  const spoiled = events.slice(45);
  expect(spoiled.filter(({ eventType }) => eventType === 'cart_exploded')).toHaveLength(1);
  expect(spoiled.filter((event) => !('sessionId' in event))).toHaveLength(1);
  expect(spoiled.filter((event) => 'colour' in event)).toHaveLength(1);
  expect(events.slice(0, 45).filter((event) => 'colour' in event || !('sessionId' in event))).toHaveLength(0);
});

test.each([2_000, 20_000])('events of %d bytes have about so many, and differ', (eventBytes) => {
  const made = ring('batch', 1, 20, { eventBytes });
  expect(made.eventBytes / 20).toBeGreaterThan(0.9 * eventBytes);
  expect(made.eventBytes / 20).toBeLessThan(1.1 * eventBytes);
  const texts = batchAt(made, 0).events.map(({ eventId: _id, ...event }) => JSON.stringify(event));
  expect(new Set(texts).size).toBe(20);
});

test.each(['gzip', 'zstd'] as const)(
  '%s: what is sent decompresses to the batch with the ids it has now',
  (encoding) => {
    const made = ring('batch', 1, 30, { encoding });
    const ids: string[] = [];
    for (let round = 0; round < 2; round++) {
      made.stamp(0);
      const request = Buffer.from(made.compress?.(0) ?? []);
      const bodyStart = request.indexOf('\r\n\r\n') + 4;
      const head = request.toString('latin1', 0, bodyStart);
      const body = Uint8Array.from(request.subarray(bodyStart));
      expect(head).toContain(`Content-Encoding: ${encoding}`);
      expect(head).toContain(`Content-Length: ${body.length}\r\n`);
      const text = encoding === 'gzip' ? Bun.gunzipSync(body) : Bun.zstdDecompressSync(body);
      ids.push(...(JSON.parse(new TextDecoder().decode(text)) as Batch).events.map(({ eventId }) => eventId));
    }
    expect(new Set(ids).size).toBe(60);
  },
);

test('what Flume gets is a list of texts, each an event with an id of its own', () => {
  const made = ring('batch', 2, 100, {}, 'flume');
  const ids: string[] = [];
  for (const slot of [0, 1, 0, 1]) {
    made.stamp(slot);
    const text = slotText(made, slot);
    expect(text).toStartWith('POST / HTTP/1.1\r\n');
    const events = bodyOf(text) as { headers: object; body: string }[];
    ids.push(...events.map(({ body }) => JSON.parse(body).eventId));
  }
  expect(new Set(ids).size).toBe(400);
});
