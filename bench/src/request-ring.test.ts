import { expect, test } from 'bun:test';
import { createIdStamp, newNonce } from './events.ts';
import { createRequestRing, type LoadKind } from './request-ring.ts';

function ring(kind: LoadKind, slots: number, eventsPerRequest = 1) {
  const nonce = newNonce();
  const stamp = createIdStamp();
  const options = { kind, slots, eventsPerRequest, host: 'localhost:1', seed: 3, nowMs: Date.now(), nonce };
  return createRequestRing({ ...options, titles: 'mixed' }, stamp);
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
