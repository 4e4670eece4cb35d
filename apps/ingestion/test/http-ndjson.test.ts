import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Outcome } from '@libs/pipeline';
import { chunkedPost, rawRequest } from './http-raw.ts';
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

const NDJSON = { 'content-type': 'application/x-ndjson' };
const NDJSON_HEADER = 'Content-Type: application/x-ndjson\r\n';
const encoder = new TextEncoder();

function send(body: RequestInit['body'], query = '', headers: Record<string, string> = {}) {
  return post(`${service.url}/events/batch${query}`, body, { ...NDJSON, ...headers });
}

function lines(count: number): string {
  return Array.from({ length: count }, () => `${JSON.stringify(event())}\n`).join('');
}

function accepted(records: readonly unknown[]): Outcome[] {
  return records.map((_, index) => ({ kind: 'accepted', level: 'journal', journal: JOURNAL, seq: index + 1 }));
}

describe('POST /events/batch as application/x-ndjson', () => {
  test('takes lines with LF or CRLF, skips blank ones, and needs no line break at the end', async () => {
    const texts = [event(), event(), event()].map((record) => JSON.stringify(record));
    const { status, body } = await send(`\n${texts[0]}\r\n \t\n\r\n${texts[1]}\n${texts[2]}`);
    expect(status).toBe(202);
    expect(body).toMatchObject({
      totalEvents: 3,
      successful: 3,
      failed: 0,
      results: [],
      errors: [],
      durability: 'journal',
    });
    expect(service.ingestion.calls.flatMap(({ records }) => records)).toEqual(texts.map((text) => JSON.parse(text)));
  });

  test('a bad line is one rejected item, with the place in it', async () => {
    const { status, body } = await send(`${lines(1)}\n{"a":}\n${lines(1)}[]\n\u0000\n`);
    expect(status).toBe(207);
    expect(body).toMatchObject({ totalEvents: 5, successful: 2, failed: 3 });
    expect(body.results).toEqual([
      { index: 1, eventId: null, status: 'rejected', code: 'malformed_json', field: '', message: expect.any(String) },
      expect.objectContaining({ index: 3, code: 'invalid_type' }),
      expect.objectContaining({ index: 4, code: 'malformed_json' }),
    ]);
    expect(body.results[0].message).toStartWith('Line 3, byte 5: ');
    expect(body.results[2].message).toStartWith('Line 6, byte 0: ');
  });

  test('the same wherever the body is cut in two', async () => {
    const bytes = encoder.encode(`{"eventId":"é😀"}\r\n\n{"x":\nnull\n"😀"`);
    const first = (await send(bytes)).body;
    expect(first.totalEvents).toBe(4);
    for (let at = 1; at < bytes.length; at += 1) {
      const parts = [bytes.slice(0, at), bytes.slice(at)];
      const reply = await rawRequest(service.port, chunkedPost('/events/batch', parts, { headers: NDJSON_HEADER }));
      const body = JSON.parse(reply?.text ?? 'null');
      expect({ ...body, batchId: '', processedAt: '', requestId: '' }).toEqual({
        ...first,
        batchId: '',
        processedAt: '',
        requestId: '',
      });
    }
  });

  test('the same byte by byte', async () => {
    const bytes = encoder.encode(`${JSON.stringify(event({ data: { text: 'é😀' } }))}\r\n{"x":\n`);
    const parts = Array.from(bytes, (byte) => Uint8Array.of(byte));
    const reply = await rawRequest(service.port, chunkedPost('/events/batch', parts, { headers: NDJSON_HEADER }));
    expect(reply?.status).toBe(207);
    expect(JSON.parse(reply?.text ?? 'null')).toMatchObject({ totalEvents: 2, successful: 1, failed: 1 });
  });

  test('has no count limit, and goes to accept in groups, in order', async () => {
    const ids: string[] = [];
    service.ingestion.answer = (records) => {
      for (const record of records) ids.push((record as { eventId: string }).eventId);
      return accepted(records);
    };
    const records = Array.from({ length: 12_000 }, () => event());
    const { status, body } = await send(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    expect(status).toBe(202);
    expect(body).toMatchObject({ totalEvents: 12_000, successful: 12_000 });
    expect(ids).toEqual(records.map(({ eventId }) => eventId as string));
    expect(Math.max(...service.ingestion.calls.map((call) => call.records.length))).toBeLessThanOrEqual(1000);
    expect(service.ingestion.calls.every(({ options }) => options.atomic === false)).toBe(true);
  });

  test('results keep the order of the input when accept settles out of order', async () => {
    const waiting: (() => void)[] = [];
    service.ingestion.answer = (records) =>
      new Promise((resolve) => {
        waiting.push(() => resolve(records.map(() => ({ kind: 'duplicate', level: 'journal' }))));
        if (waiting.length === 3) for (const settle of waiting.toReversed()) settle();
        if (waiting.length > 3) waiting.at(-1)?.();
      });
    const records = Array.from({ length: 3500 }, () => event());
    const { body } = await send(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    expect(body.results.map((item: { eventId: string }) => item.eventId)).toEqual(
      records.map(({ eventId }) => eventId),
    );
    expect(body.results.map((item: { index: number }) => item.index)).toEqual(records.map((_, index) => index));
  });

  test('reading stops while accept is busy: few groups are in flight, and the sender waits', async () => {
    let inFlight = 0;
    let mostInFlight = 0;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const busy = Promise.withResolvers<void>();
    service.ingestion.answer = async (records) => {
      inFlight += 1;
      mostInFlight = Math.max(mostInFlight, inFlight);
      if (inFlight === 4) busy.resolve();
      await held;
      inFlight -= 1;
      return accepted(records);
    };
    const chunk = encoder.encode(lines(200));
    const chunksMax = 1500;
    let sent = 0;
    const stream = new ReadableStream({
      async pull(controller) {
        if (sent === chunksMax) controller.close();
        else {
          sent += 1;
          controller.enqueue(chunk);
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
      },
    });
    const reply = send(stream);
    await busy.promise;
    // The sender has had every chance to go on once its count stands still over many turns of the event loop.
    for (let seen = -1, turns = 0; turns < 300; turns += 1) {
      if (seen !== sent) turns = 0;
      seen = sent;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(sent).toBeLessThan(chunksMax);
    release();
    const { status, body } = await reply;
    expect(status).toBe(202);
    expect(body.totalEvents).toBe(chunksMax * 200);
    expect(mostInFlight).toBeLessThanOrEqual(4);
  });

  test('a slow stream does not hold events back until a group is full', async () => {
    const arrived = Promise.withResolvers<void>();
    service.ingestion.answer = (records) => {
      arrived.resolve();
      return accepted(records);
    };
    async function* slowly() {
      yield encoder.encode(lines(1));
      await arrived.promise;
      yield encoder.encode(lines(1));
    }
    expect((await send(slowly())).body.totalEvents).toBe(2);
    expect(service.ingestion.calls.length).toBe(2);
  });

  test('a line that is too long is one rejected item, in constant memory', async () => {
    const piece = encoder.encode('x'.repeat(1024 * 1024));
    async function* long() {
      yield encoder.encode(`${lines(1)}{"a":"`);
      for (let i = 0; i < 800; i += 1) yield piece;
      yield encoder.encode(`"}\n${lines(1)}`);
    }
    const before = process.memoryUsage.rss();
    const { status, body } = await send(long());
    expect(status).toBe(207);
    expect(body).toMatchObject({ totalEvents: 3, successful: 2 });
    expect(body.results[0]).toMatchObject({
      index: 1,
      code: 'line_too_long',
      message: expect.stringContaining('Line 2'),
    });
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * 1024 * 1024);
  });

  test('a long list of results is cut; the counts stay exact', async () => {
    const { status, body } = await send('1\n'.repeat(30_000));
    expect(status).toBe(422);
    expect(body).toMatchObject({ totalEvents: 30_000, failed: 30_000, successful: 0, resultsTruncated: true });
    expect(body.results).toHaveLength(10_000);
  });

  test('compressed', async () => {
    const { status, body } = await send(Bun.gzipSync(lines(2500)), '', { 'content-encoding': 'gzip' });
    expect(status).toBe(202);
    expect(body.totalEvents).toBe(2500);
  });

  test.each(['', '\n\r\n  \n'])('422 for %j', async (text) => {
    const { status, body } = await send(text);
    expect(status).toBe(422);
    expect(body.error).toBe('empty_batch');
  });
});

describe('options of a stream', () => {
  test('maxSize: more is 413, and what came before it stays accepted', async () => {
    expect((await send(lines(3), '?maxSize=3')).status).toBe(202);
    const { status, body } = await send(lines(5), '?maxSize=3');
    expect(status).toBe(413);
    expect(body).toMatchObject({
      error: 'too_many_events',
      details: { eventsMax: 3, totalEvents: 3, successful: 3, failed: 0, duplicates: 0 },
    });
  });

  test('failOnError: one accept call for all', async () => {
    const { status } = await send(lines(900), '?failOnError=true');
    expect(status).toBe(202);
    expect(service.ingestion.calls.map(({ records, options }) => [records.length, options.atomic])).toEqual([
      [900, true],
    ]);
  });

  test('failOnError: a bad line lets nothing through', async () => {
    service.ingestion.answer = (records) =>
      records.map((record) => ({
        kind: 'rejected',
        code: record === null ? 'invalid_type' : 'batch_rejected',
        field: '',
        message: 'no',
      }));
    const { status, body } = await send(`${lines(1)}{"a"\n${lines(1)}`, '?failOnError=true');
    expect(service.ingestion.calls).toHaveLength(1);
    expect(service.ingestion.calls[0]?.records[1]).toBeNull();
    expect(status).toBe(422);
    expect(body).toMatchObject({ error: 'batch_rejected', totalEvents: 3, successful: 0, failed: 3 });
    expect(body.results[1]).toMatchObject({ index: 1, code: 'malformed_json' });
  });

  test('failOnError: beyond the limits of a batch 413, and nothing is stored', async () => {
    for (const [text, query] of [
      [lines(1001), '?failOnError=true'],
      [lines(3), '?failOnError=true&maxSize=2'],
    ] as const) {
      const { status, body } = await send(text, query);
      expect(status).toBe(413);
      expect(body.error).toBe('too_many_events');
    }
    await using small = await startHttpService({ batchBytesMax: 1000 });
    const tooLong = await post(`${small.url}/events/batch?failOnError=true`, lines(20), NDJSON);
    expect([tooLong.status, tooLong.body.error]).toEqual([413, 'payload_too_large']);
    expect(service.ingestion.calls).toHaveLength(0);
    expect(small.ingestion.calls).toHaveLength(0);
  });

  test.each(['?maxSize=none', '?failOnError=maybe', '?ack=never'])('400 for %s', async (query) => {
    const { status, body } = await send(lines(1), query);
    expect(status).toBe(400);
    expect(body.error).toBe('invalid_parameter');
  });

  test('ack=stored goes with every group, and the reply names the weakest level', async () => {
    let groups = 0;
    service.ingestion.answer = (records, { ack }) => {
      groups += 1;
      expect(ack).toBe('stored');
      return accepted(records).map(
        (outcome) => ({ ...outcome, level: groups === 2 ? 'journal' : 'stored' }) as Outcome,
      );
    };
    expect((await send(lines(2500), '?ack=stored')).body.durability).toBe('journal');
    expect(groups).toBeGreaterThan(2);
  });
});

describe('a stream that breaks', () => {
  test('a full journal in the middle: what follows is to be sent again', async () => {
    let taken = 0;
    service.ingestion.answer = (records) =>
      records.map((_, index): Outcome => {
        taken += 1;
        if (taken <= 1500) return { kind: 'accepted', level: 'journal', journal: JOURNAL, seq: index + 1 };
        return { kind: 'retry', code: 'journal_full', message: 'The journal is full.', afterMs: 3000 };
      });
    const { status, body, headers } = await send(lines(4000));
    expect(status).toBe(207);
    expect(body).toMatchObject({ totalEvents: 4000, successful: 1500, failed: 2500 });
    expect(body.results).toHaveLength(2500);
    expect(body.results[0]).toMatchObject({ index: 1500, status: 'retry', retryAfterMs: 3000 });
    expect(headers.get('retry-after')).toBe('3');
  });

  test('a body that stalls: 408 with the counts of what was accepted', async () => {
    await using impatient = await startHttpService({ requestTimeoutMs: 1000 });
    const parts = [encoder.encode(`${lines(3)}{"unfinished":`)];
    const reply = await rawRequest(
      impatient.port,
      chunkedPost('/events/batch', parts, { headers: NDJSON_HEADER, ends: false }),
    );
    expect(reply?.status).toBe(408);
    expect(JSON.parse(reply?.text ?? 'null')).toMatchObject({
      error: 'request_timeout',
      details: { totalEvents: 3, successful: 3, failed: 0, duplicates: 0 },
    });
    expect(impatient.ingestion.calls.flatMap(({ records }) => records)).toHaveLength(3);
  });

  test('compressed bytes that end too early: 400 with the counts', async () => {
    const whole = Bun.gzipSync(encoder.encode(lines(2000)));
    const { status, body } = await send(whole.slice(0, whole.length - 200), '', { 'content-encoding': 'gzip' });
    expect(status).toBe(400);
    expect(body.details).toMatchObject({ failed: 0, duplicates: 0 });
    expect(body.details.successful).toBe(body.details.totalEvents);
    expect(body.details.totalEvents).toBe(
      service.ingestion.calls.reduce((sum, { records }) => sum + records.length, 0),
    );
  });

  test('our own bug in accept is a 500 for this request only', async () => {
    service.ingestion.answer = (records) => {
      if (service.ingestion.calls.length === 2) throw new Error('a secret of the inside');
      return accepted(records);
    };
    const { status, body } = await send(lines(5000));
    expect(status).toBe(500);
    expect(body.error).toBe('internal_error');
    expect(JSON.stringify(body)).not.toContain('secret');
    expect(service.log.some((line) => line.includes('a secret of the inside'))).toBe(true);
    service.ingestion.answer = undefined;
    expect((await send(lines(1))).status).toBe(202);
  });
});
