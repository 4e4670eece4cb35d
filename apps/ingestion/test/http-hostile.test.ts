import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { chunkedPost, rawRequest } from './http-raw.ts';
import { event, type HttpService, post, startHttpService } from './http-service.ts';

let service: HttpService;
beforeAll(async () => {
  service = await startHttpService();
});
afterAll(() => service[Symbol.asyncDispose]());

const encoder = new TextEncoder();
const VALID = JSON.stringify(event());

interface Hostile {
  readonly name: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly status: number;
  readonly code: string;
  readonly offset?: number;
  readonly field?: string;
}

function bytes(...parts: (string | number[])[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part)))),
  );
}

/** The event with `field` replaced by raw JSON text. */
function withRaw(field: string, json: string): string {
  return JSON.stringify(event({ [field]: '@@' })).replace('"@@"', json);
}

const MALFORMED: readonly Hostile[] = [
  { name: 'nothing', body: '', status: 400, code: 'malformed_json', offset: 0 },
  { name: 'blanks', body: '  \n', status: 400, code: 'malformed_json', offset: 3 },
  { name: 'a byte order mark', body: bytes([0xef, 0xbb, 0xbf], VALID), status: 400, code: 'malformed_json', offset: 0 },
  {
    name: 'UTF-16',
    body: new Uint8Array(Buffer.from(VALID, 'utf16le')),
    status: 400,
    code: 'malformed_json',
    offset: 1,
  },
  { name: 'bad UTF-8', body: bytes('{"a":"', [0xff], '"}'), status: 400, code: 'malformed_json', offset: 6 },
  {
    name: 'half a character',
    body: bytes('{"a":"', [0xf0, 0x9f, 0x98], '"}'),
    status: 400,
    code: 'malformed_json',
    offset: 6,
  },
  {
    name: 'a surrogate in UTF-8',
    body: bytes('{"a":"', [0xed, 0xa0, 0x80], '"}'),
    status: 400,
    code: 'malformed_json',
    offset: 6,
  },
  {
    name: 'an overlong slash',
    body: bytes('{"a":"', [0xc0, 0xaf], '"}'),
    status: 400,
    code: 'malformed_json',
    offset: 6,
  },
  { name: 'a NUL', body: bytes('{"a":"', [0], '"}'), status: 400, code: 'malformed_json', offset: 6 },
  { name: 'NUL after the end', body: bytes('{}', [0]), status: 400, code: 'malformed_json', offset: 2 },
  { name: 'a trailing comma', body: '{"a":1,}', status: 400, code: 'malformed_json', offset: 7 },
  { name: 'two documents', body: '{}{}', status: 400, code: 'malformed_json', offset: 2 },
  { name: 'NaN', body: '{"a":NaN}', status: 400, code: 'malformed_json', offset: 5 },
  { name: 'single quotes', body: "{'a':1}", status: 400, code: 'malformed_json', offset: 1 },
  { name: 'a comment', body: '{/**/}', status: 400, code: 'malformed_json', offset: 1 },
  { name: 'open braces without end', body: '['.repeat(60_000), status: 400, code: 'malformed_json', offset: 60_000 },
];

const REJECTED: readonly Hostile[] = [
  {
    name: 'deep data',
    body: withRaw('data', `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`),
    status: 422,
    code: 'too_deep',
  },
  {
    name: 'wide data',
    body: withRaw('data', `{${Array.from({ length: 5000 }, (_, i) => `"k${i}":1`).join()}}`),
    status: 422,
    code: 'too_many_keys',
  },
  {
    name: 'a huge number',
    body: withRaw('data', '{"n":1e999}'),
    status: 422,
    code: 'number_out_of_range',
    field: 'data.n',
  },
  {
    name: 'a long integer',
    body: withRaw('data', '{"n":9007199254740993}'),
    status: 422,
    code: 'number_out_of_range',
    field: 'data.n',
  },
  {
    name: '__proto__ in data',
    body: withRaw('data', '{"a":[{"__proto__":{"x":1}}]}'),
    status: 422,
    code: 'forbidden_key',
    field: 'data.a[0].__proto__',
  },
  {
    name: '__proto__ at the top',
    body: '{"__proto__":{"eventId":"x"}}',
    status: 422,
    code: 'forbidden_key',
    field: '__proto__',
  },
  {
    name: 'constructor',
    body: withRaw('data', '{"constructor":1}'),
    status: 422,
    code: 'forbidden_key',
    field: 'data.constructor',
  },
  {
    name: 'a lone surrogate in an id',
    body: withRaw('sessionId', '"a\\ud800"'),
    status: 422,
    code: 'invalid_characters',
    field: 'sessionId',
  },
  {
    name: 'an escaped NUL in an id',
    body: withRaw('storeId', '"a\\u0000b"'),
    status: 422,
    code: 'invalid_characters',
    field: 'storeId',
  },
  { name: 'an unknown field', body: withRaw('extra', '1'), status: 422, code: 'unknown_field', field: 'extra' },
  { name: 'a wrong type', body: withRaw('data', '[]'), status: 422, code: 'invalid_type', field: 'data' },
  {
    name: 'a field of the prototype',
    body: withRaw('toString', '1'),
    status: 422,
    code: 'unknown_field',
    field: 'toString',
  },
];

describe('hostile bodies of POST /events', () => {
  test.each(MALFORMED)('$name', async ({ body, status, code, offset }) => {
    const reply = await post(`${service.url}/events`, body);
    expect(reply.status).toBe(status);
    expect(reply.body).toMatchObject({ error: code, message: expect.any(String), requestId: expect.any(String) });
    expect(reply.body.details.offset).toBe(offset as number);
  });

  test.each(REJECTED)('$name', async ({ body, status, code, field }) => {
    const reply = await post(`${service.url}/events`, body);
    expect(reply.body).toMatchObject({ code, status: 'rejected', field: field ?? expect.any(String) });
    expect(reply.status).toBe(status);
  });

  test('a valid event cut off at every byte is malformed at its end', async () => {
    const whole = encoder.encode(VALID);
    for (let length = 0; length < whole.length; length += 1) {
      const reply = await post(`${service.url}/events`, whole.slice(0, length));
      expect([reply.status, reply.body.error]).toEqual([400, 'malformed_json']);
      expect(reply.body.details.offset).toBe(length);
    }
  });

  test('a million brackets deep', async () => {
    const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;
    expect((await post(`${service.url}/events`, deep)).status).toBe(413);
    const batch = await post(`${service.url}/events/batch`, `{"events":[${VALID.replace('{', `{"x":${deep},`)}]}`);
    expect(batch.status).toBe(422);
    expect(batch.body.results[0]).toMatchObject({ index: 0, status: 'rejected' });
    const broken = await post(`${service.url}/events/batch`, `{"events":${'['.repeat(1_000_000)}`);
    expect([broken.status, broken.body.details.offset]).toEqual([400, 1_000_010]);
  });

  test('every bad line of a stream gets its own verdict', async () => {
    const all = [...MALFORMED, ...REJECTED].filter(({ body }) => body.length > 0 && !body.includes('\n' as never));
    const parts = all.flatMap(({ body }) => [
      typeof body === 'string' ? encoder.encode(body) : body,
      encoder.encode('\n'),
    ]);
    const lines = new Uint8Array(Buffer.concat(parts));
    const reply = await post(`${service.url}/events/batch`, lines, { 'content-type': 'application/x-ndjson' });
    expect(reply.status).toBe(422);
    expect(reply.body.results.map((item: { code: string }) => item.code)).toEqual(all.map(({ code }) => code));
  });

  test('a body over the limit is 413, one under it is judged as an event', async () => {
    const fat = (chars: number) => JSON.stringify(event({ data: { text: 'x'.repeat(chars) } }));
    const tooLarge = await post(`${service.url}/events`, fat(100_000));
    expect([tooLarge.status, tooLarge.body.error]).toEqual([413, 'payload_too_large']);
    const tooLong = await post(`${service.url}/events`, fat(65_500));
    expect([tooLong.status, tooLong.body.code]).toEqual([422, 'event_too_large']);
    expect((await post(`${service.url}/events`, fat(60_000))).status).toBe(202);
  });
});

describe('hostile encodings', () => {
  const bomb = Buffer.alloc(64 * 1024 * 1024);

  test.each([
    ['gzip', () => gzipSync(bomb)],
    ['deflate', () => deflateSync(bomb)],
    ['br', () => brotliCompressSync(bomb, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
    ['zstd', () => zstdCompressSync(bomb)],
  ] as const)('a bomb in %s is 413 wherever it is sent', async (encoding, make) => {
    const body = new Uint8Array(make());
    for (const path of ['/events', '/events/batch', '/query']) {
      const reply = await post(`${service.url}${path}`, body, { 'content-encoding': encoding });
      expect([reply.status, reply.body.error]).toEqual([413, 'payload_too_large']);
    }
    const headers = { 'content-encoding': encoding, 'content-type': 'application/x-ndjson' };
    const stream = await post(`${service.url}/events/batch`, body, headers);
    expect([413, 422]).toContain(stream.status);
  });

  test.each(['gzip', 'deflate', 'br', 'zstd'])('a body that is not in %s', async (encoding) => {
    for (const type of ['application/json', 'application/x-ndjson']) {
      const headers = { 'content-encoding': encoding, 'content-type': type };
      const { status, body } = await post(`${service.url}/events/batch`, VALID, headers);
      expect(status).toBe(400);
      expect(['malformed_encoding', 'truncated']).toContain(body.error);
    }
  });

  test('an unknown encoding is 415 and says what is accepted', async () => {
    for (const type of ['application/json', 'application/x-ndjson']) {
      const headers = { 'content-encoding': 'compress', 'content-type': type };
      const { status, body } = await post(`${service.url}/events/batch`, VALID, headers);
      expect(status).toBe(415);
      expect(JSON.stringify(body.details)).toContain('gzip');
    }
  });
});

describe('hostile lengths and times', () => {
  const head = (headers: string) =>
    `POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}\r\n`;

  test.each(['abc', '-1', '1e3', '99999999999999999999', '5, 6', ''])('Content-Length %p', async (length) => {
    const reply = await rawRequest(service.port, [head(`Content-Length: ${length}\r\n`), VALID]);
    expect(reply === undefined || (reply.status >= 400 && reply.status < 500)).toBe(true);
  });

  test('a length far beyond the limit is refused before the body is sent', async () => {
    const reply = await rawRequest(service.port, [head('Content-Length: 9000000000\r\n')]);
    expect(reply?.status).toBe(413);
  });

  test('a body shorter than its length, then the end', async () => {
    await using impatient = await startHttpService({ requestTimeoutMs: 1000 });
    const reply = await rawRequest(impatient.port, [head(`Content-Length: ${VALID.length + 10}\r\n`), VALID]);
    expect(reply === undefined || reply.status === 408).toBe(true);
    expect(impatient.ingestion.calls).toHaveLength(0);
  });

  test('bad chunks', async () => {
    const bad = [head('Transfer-Encoding: chunked\r\n'), 'zz\r\nabc\r\n0\r\n\r\n'];
    const reply = await rawRequest(service.port, bad);
    expect(reply === undefined || (reply.status >= 400 && reply.status < 500)).toBe(true);
  });

  test('a body that arrives byte by byte is taken', async () => {
    const slow = Array.from(encoder.encode(JSON.stringify(event())), (byte) => Uint8Array.of(byte));
    const reply = await rawRequest(service.port, chunkedPost('/events', slow));
    expect(reply?.status).toBe(202);
  });

  test('a body that stalls is 408', async () => {
    await using impatient = await startHttpService({ requestTimeoutMs: 1000 });
    const reply = await rawRequest(impatient.port, chunkedPost('/events', [encoder.encode('{"a"')], { ends: false }));
    expect(reply?.status).toBe(408);
    expect(JSON.parse(reply?.text ?? 'null').error).toBe('request_timeout');
  });
});

describe('random bodies', () => {
  test('are answered with a verdict, never with a failure of ours', async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % below;
    };
    const statuses = new Set<number>();
    for (let round = 0; round < 400; round += 1) {
      const body = encoder.encode(JSON.stringify(event()));
      for (let flips = random(4); flips >= 0; flips -= 1) body[random(body.length)] = random(256);
      const path = round % 2 === 0 ? '/events' : '/events/batch';
      const type = round % 4 === 3 ? 'application/x-ndjson' : 'application/json';
      const reply = await post(`${service.url}${path}`, body, { 'content-type': type });
      if (![200, 202, 207, 400, 422].includes(reply.status)) throw new Error(`${reply.status} with SEED=${seed}`);
      statuses.add(reply.status);
    }
    expect(statuses.has(400) || statuses.has(422)).toBe(true);
  });
});

test('after all of this the service works, and nothing went wrong inside', async () => {
  expect((await post(`${service.url}/events`, JSON.stringify(event()))).status).toBe(202);
  expect(service.log).toEqual([]);
});
