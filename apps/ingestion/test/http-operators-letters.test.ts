import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { JOURNAL } from './http-service.ts';
import { call as ask, letter, type OperatorsService, type Reply, startOperators } from './operators-service.ts';

let operators: OperatorsService;
beforeAll(async () => {
  operators = await startOperators();
});
afterAll(() => operators[Symbol.asyncDispose]());
beforeEach(() => {
  operators.backend.calls.length = 0;
  operators.backend.letters = [];
});

const call = (method: string, path: string, body?: unknown) => ask(operators.url, method, path, body);
const get = (path: string) => call('GET', path);

describe('GET /dead-letters', () => {
  test('shows what was refused, with the event as JSON', async () => {
    operators.backend.letters = [
      letter(3),
      letter(4, { event: '{"broken', byteLength: 8 }),
      {
        ...letter(5, { kind: 'range', lastSeq: 9, rows: 5, eventId: '', eventType: '', storeId: '', byteLength: 0 }),
        event: undefined,
      } as never,
    ];
    const { status, body } = await get('/dead-letters');
    expect(status).toBe(200);
    expect(body.next).toBeNull();
    expect(body.deadLetters[0]).toEqual({
      id: 3,
      kind: 'row',
      sink: 'kafka',
      position: `${JOURNAL}:3`,
      eventId: 'e-3',
      eventType: 'cart_updated',
      storeId: 's',
      code: 'message_too_large',
      message: 'too large',
      attempts: 1,
      firstFailedAt: '2023-11-14T22:13:20.000Z',
      lastFailedAt: '2023-11-14T22:14:20.000Z',
      state: 'waiting',
      event: { eventId: 'e-3', storeId: 's', data: { n: 3 } },
    });
    expect(body.deadLetters[1]).toMatchObject({ id: 4, eventText: '{"broken' });
    expect(body.deadLetters[2]).toMatchObject({ kind: 'range', events: 5, lastPosition: `${JOURNAL}:9` });
    for (const name of ['event', 'eventText', 'eventId', 'eventType', 'storeId']) {
      expect(body.deadLetters[2]).not.toHaveProperty(name);
    }
  });

  test('passes every filter on', async () => {
    const filters = 'sink=http%3Aa&eventType=t&storeId=%C3%A9&code=c&state=waiting';
    await get(`/dead-letters?${filters}&from=2026-03-14T09:26:53%2B01:00&to=1800000000000&after=7&limit=3`);
    expect(operators.backend.calls).toEqual([
      [
        'listDeadLetters',
        {
          sink: 'http:a',
          eventType: 't',
          storeId: 'é',
          code: 'c',
          fromMs: Date.parse('2026-03-14T08:26:53Z'),
          toMs: 1_800_000_000_000,
          state: 'waiting',
        },
        { afterId: 7, limit: 4 },
      ],
    ]);
  });

  test('comes in pages that lose and repeat nothing, by count and by bytes', async () => {
    operators.backend.letters = Array.from({ length: 25 }, (_, at) => letter(at * 3 + 1));
    // Large ones end a page early.
    operators.backend.letters[7] = letter(22, { byteLength: 3 * 1024 * 1024 });
    operators.backend.letters[8] = letter(25, { byteLength: 3 * 1024 * 1024 });
    const seen: number[] = [];
    let pages = 0;
    for (let after: number | null = 0; after !== null; pages += 1) {
      const { body }: Reply = await get(`/dead-letters?limit=10&after=${after}`);
      seen.push(...body.deadLetters.map(({ id }: { id: number }) => id));
      after = body.next;
    }
    expect(seen).toEqual(operators.backend.letters.map(({ id }) => id));
    expect(pages).toBe(3);
    expect((await get('/dead-letters?limit=25')).body.deadLetters).toHaveLength(9);
  });

  test('leaves out what is deleted while the page is made', async () => {
    operators.backend.letters = [letter(1), letter(2), letter(3)];
    const { getDeadLetter } = operators.backend;
    operators.backend.getDeadLetter = (id) => (id === 2 ? undefined : getDeadLetter(id));
    const { body } = await get('/dead-letters?limit=2');
    operators.backend.getDeadLetter = getDeadLetter;
    expect([body.deadLetters.map(({ id }: { id: number }) => id), body.next]).toEqual([[1], 2]);
  });

  test.each([
    ['stroeId=a', 'stroeId'],
    ['__proto__=a', '__proto__'],
    ['sink=', 'sink'],
    ['sink=a&sink=b', 'sink'],
    ['from=yesterday', 'from'],
    ['from=2026-02-30T00:00:00', 'from'],
    ['from=-1', 'from'],
    ['to=99999999999999999', 'to'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1e2', 'limit'],
    ['after=-1', 'after'],
    ['state=gone', 'state'],
    [`code=${'x'.repeat(300)}`, 'code'],
    ['ids=1', 'ids'],
  ])('refuses %s by name', async (query, parameter) => {
    const { status, body } = await get(`/dead-letters?${query}`);
    expect([status, body.error, body.details.parameter]).toEqual([400, 'invalid_parameter', parameter]);
    expect(body.details.allowed).toContain('sink');
    expect(operators.backend.calls).toEqual([]);
  });
});

test('GET /dead-letters/{id} shows one, or says that it is not there', async () => {
  operators.backend.letters = [letter(3)];
  expect((await get('/dead-letters/3')).body).toMatchObject({ id: 3, event: { eventId: 'e-3' } });
  for (const id of ['4', '0', 'x', '-1', '1e3', '99999999999999999999', '%00', 'replay']) {
    const { status, body } = await get(`/dead-letters/${id}`);
    expect([id, status, body.error]).toEqual([id, 404, 'dead_letter_not_found']);
  }
});

describe('POST /dead-letters/replay', () => {
  test('replays by ids, by filter, or all', async () => {
    operators.backend.letters = [letter(1), letter(2)];
    expect((await call('POST', '/dead-letters/replay', { ids: [2] })).body).toEqual({
      replayed: 1,
      failed: 0,
      results: [{ id: 2, outcome: 'replayed' }],
    });
    await call('POST', '/dead-letters/replay', { sink: 'kafka', from: '2026-03-14T09:26:53Z', limit: 5 });
    await call('POST', '/dead-letters/replay', { all: true });
    expect(operators.backend.calls).toEqual([
      ['replay', { ids: [2] }, 1000],
      ['replay', { filter: { sink: 'kafka', fromMs: Date.parse('2026-03-14T09:26:53Z') } }, 5],
      ['replay', { filter: {} }, 1000],
    ]);
  });

  test('answers 207 when some were refused again, and 200 when there was nothing to do', async () => {
    const { replay } = operators.backend;
    operators.backend.replay = async () => [
      { id: 1, outcome: 'replayed' },
      { id: 2, outcome: 'failed', code: 'message_too_large', message: 'still too large' },
      { id: 3, outcome: 'not_found' },
    ];
    const mixed = await call('POST', '/dead-letters/replay', { ids: [1, 2, 3] });
    expect([mixed.status, mixed.body.replayed, mixed.body.failed]).toEqual([207, 1, 2]);
    operators.backend.replay = async () => [];
    expect((await call('POST', '/dead-letters/replay', { sink: 'kafka' })).status).toBe(200);
    operators.backend.replay = replay;
  });

  test.each([
    [{}, 400, 'selection_required'],
    [{ limit: 5 }, 400, 'selection_required'],
    [{ all: false }, 400, 'selection_required'],
    [{ ids: [1], sink: 'kafka' }, 400, 'selection_required'],
    [{ ids: [1], all: true }, 400, 'selection_required'],
    [{ ids: [] }, 422, 'invalid_parameter'],
    [{ ids: ['x'] }, 422, 'invalid_parameter'],
    [{ ids: [0] }, 422, 'invalid_parameter'],
    [{ ids: 1 }, 422, 'invalid_parameter'],
    [{ ids: Array.from({ length: 1001 }, (_, at) => at + 1) }, 422, 'invalid_parameter'],
    [{ stroeId: 'a' }, 422, 'invalid_parameter'],
    [{ sink: null }, 422, 'invalid_parameter'],
    [[], 422, 'invalid_parameter'],
    [null, 422, 'invalid_parameter'],
    ['{', 400, 'malformed_json'],
    ['', 400, 'malformed_json'],
  ])('refuses %j', async (body, status, error) => {
    const reply = await call('POST', '/dead-letters/replay', body);
    expect([reply.status, reply.body.error]).toEqual([status, error]);
    expect(operators.backend.calls).toEqual([]);
  });

  test('wants JSON, and not too much of it', async () => {
    const init = { method: 'POST', body: 'x=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    expect((await fetch(`${operators.url}/dead-letters/replay`, init)).status).toBe(415);
    expect((await call('POST', '/dead-letters/replay', ' '.repeat(70_000))).status).toBe(413);
  });
});

describe('DELETE /dead-letters', () => {
  test('deletes by ids, by filter, or all', async () => {
    expect((await call('DELETE', '/dead-letters?id=1&id=2')).body).toEqual({ deleted: 2 });
    await call('DELETE', '/dead-letters?sink=kafka&code=c');
    await call('DELETE', '/dead-letters?all=true');
    expect(operators.backend.calls).toEqual([
      ['deleteDeadLetters', { ids: [1, 2] }],
      ['deleteDeadLetters', { filter: { sink: 'kafka', code: 'c' } }],
      ['deleteDeadLetters', { filter: {} }],
    ]);
    expect(operators.log.join('\n')).toContain('an operator deleted dead letters');
  });

  test.each(['', '?all=false', '?stroeId=a', '?id=x', '?id=1&sink=a', '?ids=1', '?all=yes'])(
    'refuses %j',
    async (query) => {
      expect((await call('DELETE', `/dead-letters${query}`)).status).toBe(400);
      expect(operators.backend.calls).toEqual([]);
    },
  );
});
