import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { EXAMPLE_EVENT } from './cart-event.ts';
import { createFrameParser } from './client-frame.ts';
import { clientFrameSchema } from './frames.ts';

const parseFrame = createFrameParser({ eventsMax: 3 });
const parse = (value: unknown) => parseFrame(JSON.stringify(value));

describe('cart_event', () => {
  test('carries one event or an array, as text or as bytes', () => {
    const frame = { type: 'cart_event', events: [EXAMPLE_EVENT], isArray: false };
    expect(parse({ type: 'cart_event', payload: EXAMPLE_EVENT })).toEqual({ ok: true, frame } as never);
    const bytes = new TextEncoder().encode(JSON.stringify({ type: 'cart_event', payload: [EXAMPLE_EVENT] }));
    expect(parseFrame(bytes)).toEqual({ ok: true, frame: { ...frame, isArray: true } } as never);
  });

  test('keeps seq, eventId and timestamp of the envelope', () => {
    const envelope = { seq: 7, eventId: 'e', timestamp: '2026-03-14T09:26:53Z' };
    expect(parse({ type: 'cart_event', payload: {}, ...envelope })).toMatchObject({ ok: true, frame: envelope });
    expect(parse({ type: 'cart_event', payload: {}, seq: 0 })).toMatchObject({ ok: true, frame: { seq: 0 } });
  });

  test('leaves the events to the event model', () => {
    expect(parse({ type: 'cart_event', payload: [1, null, 'x'] })).toMatchObject({
      ok: true,
      frame: { events: [1, null, 'x'] },
    });
  });

  test.each([
    [{}, 'missing_field', 'payload'],
    [{ payload: null }, 'invalid_type', 'payload'],
    [{ payload: 'x' }, 'invalid_type', 'payload'],
    [{ payload: [] }, 'empty_batch', 'payload'],
    [{ payload: [1, 2, 3, 4] }, 'too_many_events', 'payload'],
    [{ payload: {}, seq: -1 }, 'number_out_of_range', 'seq'],
    [{ payload: {}, seq: 2 ** 53 }, 'number_out_of_range', 'seq'],
    [{ payload: {}, seq: 1.5 }, 'invalid_type', 'seq'],
    [{ payload: {}, seq: '1' }, 'invalid_type', 'seq'],
    [{ payload: {}, eventId: 1 }, 'invalid_type', 'eventId'],
    [{ payload: {}, eventId: 'x'.repeat(129) }, 'too_long', 'eventId'],
    [{ payload: {}, timestamp: 'x'.repeat(65) }, 'too_long', 'timestamp'],
    [{ payload: {}, extra: 1 }, 'unknown_field', 'extra'],
  ])('with %j is refused', (fields, code, field) => {
    expect(parse({ type: 'cart_event', ...fields })).toMatchObject({ ok: false, code, field });
  });

  test('repeats in a problem what can be repeated', () => {
    expect(parse({ type: 'cart_event', payload: [], seq: 5, eventId: 'e1' })).toMatchObject({ seq: 5, eventId: 'e1' });
    expect(parse({ type: 'nope', seq: 5, eventId: 'e1' })).toMatchObject({ seq: 5, eventId: 'e1' });
    const problem = parse({ type: 'cart_event', payload: {}, seq: 'x', eventId: 'x'.repeat(1_000) });
    expect(problem).not.toHaveProperty('seq');
    expect(problem).not.toHaveProperty('eventId');
  });
});

describe('control messages', () => {
  test.each(['heartbeat', 'subscribe', 'unsubscribe'] as const)('%s needs no payload', (type) => {
    expect(parse({ type })).toEqual({ ok: true, frame: { type, confirmations: true, cumulativeAcks: false } });
    const frame = { type, confirmations: true, cumulativeAcks: false, seq: 3 };
    expect(parse({ type, payload: {}, seq: 3 })).toEqual({ ok: true, frame });
  });

  test('subscribe names what it wants', () => {
    expect(parse({ type: 'subscribe', payload: { confirmations: false } })).toMatchObject({
      frame: { confirmations: false },
    });
    expect(parse({ type: 'subscribe', payload: { confirmations: 'yes' } })).toMatchObject({
      code: 'invalid_type',
      field: 'payload.confirmations',
    });
    expect(parse({ type: 'subscribe', payload: { topic: 'x' } })).toMatchObject({
      code: 'unknown_field',
      field: 'payload.topic',
    });
    expect(parse({ type: 'subscribe', payload: { acks: 'cumulative', more: 1 } })).toMatchObject({
      code: 'unknown_field',
      field: 'payload.more',
    });
    expect(parse({ type: 'subscribe', payload: [] })).toMatchObject({ code: 'invalid_type', field: 'payload' });
  });
});

describe('cumulative acks', () => {
  test.each(['subscribe', 'unsubscribe'] as const)('%s names them, and confirmations only when it says so', (type) => {
    const read = (payload: object) => parse({ type, payload });
    expect(read({ acks: 'cumulative' })).toMatchObject({ frame: { cumulativeAcks: true, confirmations: false } });
    expect(read({ acks: 'cumulative', confirmations: true })).toMatchObject({
      frame: { cumulativeAcks: true, confirmations: true },
    });
    expect(read({ acks: 'each' })).toMatchObject({ ok: false, code: 'unsupported', field: 'payload.acks' });
  });
});

describe('the numbers of a message that was refused', () => {
  test.each<[object, { seqs: number } | undefined]>([
    [{ type: 'cart_event', seq: 5, payload: [1, 2, 3, 4] }, { seqs: 4 }],
    [{ type: 'cart_event', seq: 5, payload: {}, extra: 1 }, { seqs: 1 }],
    [{ type: 'cart_event', seq: 5 }, { seqs: 1 }],
    [{ type: 'cart_event', seq: 5, payload: [] }, undefined],
    [{ type: 'cart_event', seq: -1, payload: {} }, undefined],
    [{ type: 'cart_event', seq: '5', payload: {} }, undefined],
    [{ type: 'cart_event', seq: Number.MAX_SAFE_INTEGER, payload: [1, 2] }, undefined],
    [{ type: 'heartbeat', seq: 5, extra: 1 }, undefined],
  ])('%j', (value, seqs) => {
    const problem = parse(value);
    expect(problem.ok).toBe(false);
    if (seqs === undefined) expect(problem).not.toHaveProperty('seqs');
    else expect(problem).toMatchObject(seqs);
  });

  test('an array whose last number would not be exact is refused', () => {
    const value = { type: 'cart_event', seq: Number.MAX_SAFE_INTEGER - 1, payload: [1, 2, 3] };
    expect(parse(value)).toMatchObject({ ok: false, code: 'number_out_of_range', field: 'seq' });
    expect(parse({ ...value, payload: [1, 2] })).toMatchObject({ ok: true });
  });
});

describe('bad messages', () => {
  test.each([
    ['', 'malformed_json', ''],
    ['hello', 'malformed_json', ''],
    ['{"type":"heartbeat"', 'malformed_json', ''],
    ['null', 'invalid_type', ''],
    ['[]', 'invalid_type', ''],
    ['[{"type":"heartbeat"}]', 'invalid_type', ''],
    ['{}', 'missing_field', 'type'],
    ['{"type":null}', 'unknown_message_type', 'type'],
    ['{"type":"event_ack"}', 'unknown_message_type', 'type'],
    ['{"type":"__proto__"}', 'unknown_message_type', 'type'],
    ['{"type":"heartbeat","__proto__":{}}', 'unknown_field', '__proto__'],
  ])('%s', (text, code, field) => {
    expect(parseFrame(text)).toMatchObject({ ok: false, code, field });
  });

  test('say where the text stops being JSON', () => {
    expect(parseFrame('{"é":}')).toMatchObject({ message: 'Found "}", expected a value (byte 6).' });
    expect(parseFrame(new Uint8Array([0x7b, 0xff]))).toMatchObject({
      code: 'malformed_json',
      message: expect.stringContaining('byte 1'),
    });
  });

  test('get a short answer whatever they hold', () => {
    const long = 'x'.repeat(500_000);
    for (const value of [
      { type: long },
      { type: 'cart_event', payload: long },
      { type: 'heartbeat', [long]: 1 },
      long,
    ]) {
      expect(JSON.stringify(parse(value)).length).toBeLessThan(600);
    }
    expect(parseFrame('['.repeat(500_000) + ']'.repeat(500_000))).toMatchObject({ code: 'invalid_type' });
  });
});

test('the compiled path and Zod agree on what a frame is', () => {
  const nearlyFrame = fc
    .record(
      {
        type: fc.constantFrom<unknown>('cart_event', 'heartbeat', 'subscribe', 'unsubscribe', 'hello', 1, null),
        payload: fc.oneof(
          fc.constantFrom<unknown>(
            {},
            [1],
            [{}],
            null,
            'x',
            { confirmations: true },
            { confirmations: 1 },
            { acks: 'cumulative' },
            { acks: 'each' },
          ),
          fc.jsonValue(),
        ),
        seq: fc.oneof(fc.integer(), fc.double(), fc.constant('1')),
        eventId: fc.oneof(fc.string(), fc.constant(null)),
        timestamp: fc.oneof(fc.string(), fc.integer()),
        other: fc.constant(1),
      },
      { requiredKeys: ['type'] },
    )
    .map((frame): unknown => JSON.parse(JSON.stringify(frame)));
  fc.assert(
    fc.property(nearlyFrame, (value) => {
      const parsed = parse(value);
      const counted =
        !parsed.ok &&
        (parsed.code === 'too_many_events' ||
          parsed.code === 'empty_batch' ||
          (parsed.code === 'number_out_of_range' && clientFrameSchema.safeParse(value).success));
      expect(parsed.ok || counted).toBe(clientFrameSchema.safeParse(value).success);
    }),
    { numRuns: 3_000 },
  );
});
