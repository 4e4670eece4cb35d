import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Outcome } from '@libs/pipeline';
import { event, type HttpService, JOURNAL, post, startHttpService } from './http-service.ts';

let service: HttpService;
beforeAll(async () => {
  service = await startHttpService();
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(() => {
  service.ingestion.answer = undefined;
  service.ingestion.calls.length = 0;
});

function send(events: unknown, options?: Record<string, unknown>, query = '') {
  return post(`${service.url}/events/batch${query}`, JSON.stringify({ events, ...(options && { options }) }));
}

const RETRY: Outcome = { kind: 'retry', code: 'journal_full', message: 'The journal is full.', afterMs: 2500 };
const REJECTED: Outcome = { kind: 'rejected', code: 'too_long', field: 'storeId', message: 'storeId is too long.' };

function many(count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, () => event());
}

describe('POST /events/batch', () => {
  test('202: everything is new', async () => {
    const events = many(3);
    const { status, body } = await send(events);
    expect(status).toBe(202);
    expect(body).toEqual({
      batchId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      totalEvents: 3,
      successful: 3,
      failed: 0,
      duplicates: 0,
      durability: 'journal',
      errors: [],
      results: [],
      processedAt: expect.stringMatching(/Z$/),
    });
    expect(service.ingestion.calls).toHaveLength(1);
    expect(service.ingestion.calls[0]?.records).toEqual(events);
    expect(service.ingestion.calls[0]?.options).toMatchObject({ ack: 'journal', atomic: false });
  });

  test('207: each item that was not plainly accepted, in the order of the input', async () => {
    const twice = event();
    const { status, body } = await send([
      twice,
      event(),
      twice,
      event({ eventId: 'b', storeId: 1 }),
      5,
      null,
      [event()],
    ]);
    expect(status).toBe(207);
    expect(body).toMatchObject({ totalEvents: 7, successful: 3, failed: 4, duplicates: 1 });
    expect(body.results).toEqual([
      { index: 2, eventId: twice['eventId'], status: 'duplicate' },
      expect.objectContaining({ index: 3, eventId: 'b', status: 'rejected', code: 'invalid_type', field: 'storeId' }),
      ...[4, 5, 6].map((index) =>
        expect.objectContaining({ index, eventId: null, status: 'rejected', code: 'invalid_type', field: '' }),
      ),
    ]);
    expect(body.errors).toHaveLength(4);
    expect(body.errors[0]).toContain('storeId');
  });

  test('200: all were duplicates', async () => {
    const events = many(2);
    await send(events);
    const { status, body } = await send(events);
    expect(status).toBe(200);
    expect(body).toMatchObject({ totalEvents: 2, successful: 2, failed: 0, duplicates: 2 });
    expect(body.results).toHaveLength(2);
  });

  test('422: nothing usable, told as an error too', async () => {
    const { status, body } = await send([{}, 1]);
    expect(status).toBe(422);
    expect(body).toMatchObject({ error: 'batch_rejected', totalEvents: 2, successful: 0, failed: 2 });
    expect(body.requestId).toBeString();
  });

  test('503: all are to be sent again', async () => {
    service.ingestion.answer = (records) => records.map(() => RETRY);
    const { status, body, headers } = await send(many(2));
    expect(status).toBe(503);
    expect(body).toMatchObject({ error: 'journal_full', totalEvents: 2, failed: 2 });
    expect(body.results[0]).toMatchObject({ index: 0, status: 'retry', code: 'journal_full', retryAfterMs: 2500 });
    expect(headers.get('retry-after')).toBe('3');
  });

  test('207 with Retry-After: some are to be sent again', async () => {
    service.ingestion.answer = () => [{ kind: 'accepted', level: 'journal', journal: JOURNAL, seq: 1 }, RETRY];
    const { status, headers } = await send(many(2));
    expect(status).toBe(207);
    expect(headers.get('retry-after')).toBe('3');
  });

  test('failOnError asks for all or nothing', async () => {
    service.ingestion.answer = () => [REJECTED, { ...REJECTED, code: 'batch_rejected', field: '' }];
    const { status, body } = await send(many(2), { failOnError: true });
    expect(service.ingestion.calls[0]?.options.atomic).toBe(true);
    expect(status).toBe(422);
    expect(body).toMatchObject({ error: 'batch_rejected', successful: 0, failed: 2 });
    expect(body.message).toContain('failOnError');
    service.ingestion.answer = () => [RETRY, RETRY];
    expect((await send(many(2), { failOnError: true })).status).toBe(503);
  });

  test('options may stand in the query; those in the body go first', async () => {
    await send(many(1), undefined, '?failOnError=true&ack=stored');
    expect(service.ingestion.calls[0]?.options).toMatchObject({ ack: 'stored', atomic: true });
    await send(many(1), { failOnError: false }, '?failOnError=true');
    expect(service.ingestion.calls[1]?.options.atomic).toBe(false);
    expect((await send(many(2), undefined, '?maxSize=1')).status).toBe(413);
  });

  test('1,000 events are taken, one more is 413', async () => {
    expect((await send(many(1000))).status).toBe(202);
    const { status, body } = await send(many(1001));
    expect(status).toBe(413);
    expect(body).toMatchObject({ error: 'too_many_events', details: { eventsMax: 1000, events: 1001 } });
    expect(service.ingestion.calls).toHaveLength(1);
  });

  test('maxSize lowers the limit', async () => {
    expect((await send(many(2), { maxSize: 2 })).status).toBe(202);
    const { status, body } = await send(many(3), { maxSize: 2 });
    expect(status).toBe(413);
    expect(body.details).toEqual({ eventsMax: 2, events: 3 });
  });

  test.each([
    [{ events: [] }, 'empty_batch', 'events'],
    [{}, 'missing_field', 'events'],
    [{ events: {} }, 'invalid_type', 'events'],
    [{ events: [1], options: { maxSize: 0 } }, undefined, 'options.maxSize'],
    [{ events: [1], options: { maxSize: '5' } }, 'invalid_type', 'options.maxSize'],
    [{ events: [1], options: { failOnError: 'yes' } }, 'invalid_type', 'options.failOnError'],
    [{ events: [1], options: null }, 'invalid_type', 'options'],
    [{ events: [1], extra: 1 }, 'unknown_field', 'extra'],
    [[event()], 'invalid_type', ''],
    [7, 'invalid_type', ''],
    [null, 'invalid_type', ''],
  ] as const)('422 for %j', async (request, code, field) => {
    const { status, body } = await post(`${service.url}/events/batch`, JSON.stringify(request));
    expect(status).toBe(422);
    if (code !== undefined) expect(body.error).toBe(code);
    expect(body.details.field).toBe(field);
    expect(service.ingestion.calls).toHaveLength(0);
  });

  test('400 with the offset for what is no JSON', async () => {
    const { status, body } = await post(`${service.url}/events/batch`, '{"events":[{]}');
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: 'malformed_json', details: { offset: 12 } });
  });

  test.each([
    ['?ack=never', 'ack'],
    ['?maxSize=0', 'maxSize'],
    ['?failOnError=1', 'failOnError'],
  ])('400 for %s', async (query, parameter) => {
    const { status, body } = await send(many(1), undefined, query);
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: 'invalid_parameter', details: { parameter } });
  });

  test('415 names the three types', async () => {
    const { status, body } = await post(`${service.url}/events/batch`, '{}', { 'content-type': 'text/csv' });
    expect(status).toBe(415);
    expect(body.details.accepted).toEqual(['application/json', 'text/plain', 'application/x-ndjson']);
  });

  test('413 beyond the byte limit, also after decompression', async () => {
    await using small = await startHttpService({ batchBytesMax: 10_000 });
    const text = JSON.stringify({ events: [event({ data: { text: 'x'.repeat(20_000) } })] });
    expect((await post(`${small.url}/events/batch`, text)).body).toMatchObject({ error: 'payload_too_large' });
    const zipped = await post(`${small.url}/events/batch`, Bun.gzipSync(text), { 'content-encoding': 'gzip' });
    expect(zipped.status).toBe(413);
    expect(small.ingestion.calls).toHaveLength(0);
  });
});
