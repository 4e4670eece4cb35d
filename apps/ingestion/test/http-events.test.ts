import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Origin, Outcome } from '@libs/pipeline';
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

const url = (query = '') => `${service.url}/events${query}`;
const ISO_TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

function answerWith(outcome: Outcome): void {
  service.ingestion.answer = () => [outcome];
}

/** The fields of an origin that are only found out when they are asked for. */
function read(origin: Origin | undefined) {
  const { requestId, ipAddress, userAgent, referrer } = origin ?? {};
  return { requestId, ipAddress, userAgent, referrer };
}

describe('POST /events', () => {
  test('202: accepted, with the position and the level', async () => {
    const sent = event();
    const { status, body, headers } = await post(url(), JSON.stringify(sent));
    expect(status).toBe(202);
    expect(body).toEqual({
      eventId: sent['eventId'],
      status: 'accepted',
      timestamp: ISO_TIME,
      durability: 'journal',
      position: expect.stringMatching(new RegExp(`^${JOURNAL}:[0-9]+$`)),
    });
    expect(headers.get('content-type')).toBe('application/json');
  });

  test('hands over the value as it was sent, with where it comes from', async () => {
    const sent = event();
    await post(url('?ack=stored'), JSON.stringify(sent), {
      'x-request-id': 'request-7',
      'user-agent': 'shop/1.0',
      referer: 'https://shop.example/cart',
    });
    const [call] = service.ingestion.calls;
    expect(call?.records).toEqual([sent]);
    expect(call?.options.ack).toBe('stored');
    expect(call?.options.atomic ?? false).toBe(false);
    expect(read(call?.options.origins?.[0])).toEqual({
      requestId: 'request-7',
      ipAddress: '127.0.0.1',
      userAgent: 'shop/1.0',
      referrer: 'https://shop.example/cart',
    });
  });

  test('200: a duplicate', async () => {
    const sent = JSON.stringify(event({ eventId: 'twice' }));
    await post(url(), sent);
    const { status, body } = await post(url(), sent);
    expect(status).toBe(200);
    expect(body).toEqual({
      eventId: 'twice',
      status: 'accepted',
      timestamp: ISO_TIME,
      duplicate: true,
      message: expect.any(String),
      durability: 'journal',
    });
  });

  test('200: a duplicate whose first copy was still in flight names its position', async () => {
    answerWith({ kind: 'duplicate', level: 'journal', position: { journal: JOURNAL, seq: 9 } });
    const { status, body } = await post(url(), JSON.stringify(event()));
    expect(status).toBe(200);
    expect(body).toMatchObject({ duplicate: true, position: `${JOURNAL}:9` });
  });

  test('422: rejected, with code, field and request id', async () => {
    const { status, body, headers } = await post(url(), JSON.stringify(event({ eventId: 'bad', storeId: 7 })), {
      'x-request-id': 'request-8',
    });
    expect(status).toBe(422);
    expect(body).toEqual({
      error: 'invalid_type',
      eventId: 'bad',
      status: 'rejected',
      timestamp: ISO_TIME,
      message: expect.any(String),
      durability: 'none',
      code: 'invalid_type',
      field: 'storeId',
      requestId: 'request-8',
    });
    expect(headers.get('x-request-id')).toBe('request-8');
  });

  test('503: try again, with Retry-After in whole seconds', async () => {
    for (const [afterMs, seconds] of [
      [1, '1'],
      [0, '1'],
      [1001, '2'],
    ] as const) {
      answerWith({ kind: 'retry', code: 'journal_full', message: 'The journal is full.', afterMs });
      const { status, body, headers } = await post(url(), JSON.stringify(event({ eventId: 'later' })));
      expect(status).toBe(503);
      expect(body).toEqual({
        error: 'journal_full',
        message: 'The journal is full.',
        details: { eventId: 'later', retryAfterMs: afterMs },
        requestId: expect.any(String),
      });
      expect(headers.get('retry-after')).toBe(seconds);
    }
  });

  test('the reply names the level that was reached, not the one that was asked for', async () => {
    answerWith({ kind: 'accepted', level: 'journal', journal: JOURNAL, seq: 3 });
    expect((await post(url('?ack=stored'), JSON.stringify(event()))).body.durability).toBe('journal');
    answerWith({ kind: 'accepted', level: 'stored', journal: JOURNAL, seq: 3 });
    expect((await post(url('?ack=stored'), JSON.stringify(event()))).body.durability).toBe('stored');
  });

  test('waiting for stored ends when the client has gone', async () => {
    const waiting = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    service.ingestion.answer = (_, { signal }) =>
      new Promise((resolve) => {
        signal?.addEventListener('abort', () => {
          ended.resolve();
          resolve([{ kind: 'accepted', level: 'journal', journal: JOURNAL, seq: 1 }]);
        });
        waiting.resolve();
      });
    const client = new AbortController();
    const body = JSON.stringify(event());
    const reply = fetch(url('?ack=stored'), { method: 'POST', body, signal: client.signal }).catch(() => 'gone');
    await waiting.promise;
    client.abort();
    expect(await reply).toBe('gone');
    await ended.promise;
  });

  test('an unknown level is refused before anything is read; other parameters are ignored', async () => {
    const { status, body } = await post(url('?ack=everywhere'), JSON.stringify(event()));
    expect(status).toBe(400);
    expect(body).toMatchObject({
      error: 'invalid_parameter',
      details: { parameter: 'ack', allowed: ['journal', 'stored', 'routed'] },
      requestId: expect.any(String),
    });
    expect(service.ingestion.calls).toHaveLength(0);
    expect((await post(url('?utm_source=x&%ff=%'), JSON.stringify(event()))).status).toBe(202);
  });

  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'text/plain',
    'text/plain;charset=UTF-8',
  ])('takes %p', async (type) => {
    expect((await post(url(), JSON.stringify(event()), { 'content-type': type })).status).toBe(202);
  });

  test('takes a body without a content type', async () => {
    const response = await fetch(url(), { method: 'POST', body: new TextEncoder().encode(JSON.stringify(event())) });
    expect(response.status).toBe(202);
  });

  test.each([
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/x-ndjson',
    'x',
  ])('415 for %p, saying what is accepted', async (type) => {
    const { status, body } = await post(url(), JSON.stringify(event()), { 'content-type': type });
    expect(status).toBe(415);
    expect(body).toMatchObject({
      error: 'unsupported_media_type',
      details: { accepted: ['application/json', 'text/plain'] },
    });
  });

  test.each(['gzip', 'deflate', 'br', 'zstd'] as const)('takes a body in %s', async (encoding) => {
    const bytes = new TextEncoder().encode(JSON.stringify(event()));
    const compressed = await compress(encoding, bytes);
    expect((await post(url(), compressed, { 'content-encoding': encoding })).status).toBe(202);
  });

  test('an array is told where arrays go', async () => {
    for (const text of [JSON.stringify([event(), event()]), '[]', '[1]']) {
      const { status, body } = await post(url(), text);
      expect(status).toBe(422);
      expect(body).toMatchObject({ code: 'invalid_type', field: '', eventId: null, status: 'rejected' });
      expect(body.message).toContain('/events/batch');
    }
    expect(service.ingestion.calls).toHaveLength(0);
  });

  test.each(['null', '1', '"text"', 'true'])('422 invalid_type for %s', async (text) => {
    const { status, body } = await post(url(), text);
    expect(status).toBe(422);
    expect(body).toMatchObject({ code: 'invalid_type', field: '', eventId: null });
  });

  test('an eventId that cannot be read or repeated is null', async () => {
    for (const eventId of [7, null, {}, 'x'.repeat(257), 'a\ud800']) {
      const { status, body } = await post(url(), JSON.stringify(event({ eventId })));
      expect(status).toBe(422);
      expect(body.eventId).toBeNull();
      expect(body.field).toBe('eventId');
    }
  });

  test('requests that arrive together share accept calls; each gets its own answer and keeps its own origin', async () => {
    const ids = Array.from({ length: 40 }, () => crypto.randomUUID());
    const bodies = ids.map((eventId, at) => (at % 10 === 3 ? '{"eventId":' : JSON.stringify(event({ eventId }))));
    const replies = await Promise.all(bodies.map((body, at) => post(url(), body, { 'user-agent': `shop/${at}` })));
    for (const [at, { status, body }] of replies.entries()) {
      if (at % 10 === 3) expect(body).toMatchObject({ error: 'malformed_json', details: { offset: 11 } });
      else expect({ status, eventId: body['eventId'] }).toEqual({ status: 202, eventId: ids[at] as string });
    }
    const { calls } = service.ingestion;
    expect(calls.length).toBeLessThan(36);
    const agents = calls.flatMap(({ records, options }) =>
      records.map((record, at) => [(record as { eventId: string }).eventId, options.origins?.[at]?.userAgent]),
    );
    const expected = ids.map((id, at) => [id, `shop/${at}`]).filter((_, at) => at % 10 !== 3);
    expect(new Map(agents as [string, string][])).toEqual(new Map(expected as [string, string][]));
  });

  test('counts what happened', async () => {
    await using fresh = await startHttpService();
    const sent = JSON.stringify(event());
    for (const body of [sent, sent, '{}', 'no json', '[]']) await post(`${fresh.url}/events`, body);
    expect(fresh.counters.events).toMatchObject({ received: 5, accepted: 1, duplicates: 1, rejected: 3, retries: 0 });
    expect(fresh.counters.failuresByCode.get('malformed_json')).toBe(1);
  });
});

async function compress(
  encoding: 'gzip' | 'deflate' | 'br' | 'zstd',
  bytes: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const zlib = await import('node:zlib');
  const by = {
    gzip: () => zlib.gzipSync(bytes),
    deflate: () => zlib.deflateSync(bytes),
    br: () => zlib.brotliCompressSync(bytes),
    zstd: () => zlib.zstdCompressSync(bytes),
  };
  return new Uint8Array(by[encoding]());
}
