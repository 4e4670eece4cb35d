import { afterEach, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { SEQ_RUNS_MAX } from '../src/routes/stream-seqs.ts';
import { type Client, cartEvent, connect, event, startStream, turn } from './stream-testing.ts';

let started: ReturnType<typeof startStream> | undefined;
afterEach(async () => {
  await started?.stop();
  started = undefined;
});

async function start(...options: Parameters<typeof startStream>) {
  started = startStream(...options);
  const client = await connect(started.url);
  return { ...started, client };
}

const CUMULATIVE = { type: 'subscribe', payload: { acks: 'cumulative' } };
const SINGLE = { type: 'unsubscribe', payload: { acks: 'cumulative' } };

/** Every answer without its time and wording, in order. */
function answers(client: Client): unknown[] {
  const names = ['throughSeq', 'seq', 'status', 'code', 'field', 'retryAfterMs'];
  return client.messages
    .filter(({ type }) => type === 'event_ack' || type === 'event_error')
    .map((message) => Object.fromEntries(names.flatMap((name) => (name in message ? [[name, message[name]]] : []))));
}

/** Everything that was sent before has been answered, cumulative acks too. */
async function settled(client: Client): Promise<void> {
  const before = client.ofType('heartbeat_ack').length;
  for (let round = 1; round <= 3; round++) {
    client.send({ type: 'heartbeat' });
    await client.until('heartbeat_ack', before + round);
    await turn();
  }
}

test('one ack for everything that a commit has made durable', async () => {
  const { client, fake } = await start();
  client.send(CUMULATIVE);
  fake.hold();
  for (let seq = 1; seq <= 50; seq++) client.send(cartEvent(event(`a-${seq}`), { seq }));
  client.send(cartEvent([event('b-1'), event('b-2'), event('b-3')], { seq: 51 }));
  await settled(client);
  expect(fake.calls.length).toBeGreaterThan(1);
  expect(answers(client)).toEqual([]);
  fake.release();
  await settled(client);
  expect(answers(client)).toEqual([{ throughSeq: 53 }]);
  expect(client.ofType('event_ack')[0]).toEqual({
    type: 'event_ack',
    timestamp: expect.any(String),
    throughSeq: 53,
  });
});

test('errors and duplicates are still told one by one, and count', async () => {
  const { client } = await start();
  client.send(CUMULATIVE);
  client.send(cartEvent([event('a'), event('a'), event('b', { reject: 'data' }), event('c')], { seq: 10 }));
  await settled(client);
  expect(answers(client)).toEqual([
    { seq: 11, status: 'duplicate' },
    { seq: 12, code: 'invalid_type', field: 'payload[2].data' },
    { throughSeq: 13 },
  ]);
});

test('throughSeq stops at a retry, and goes on past what was behind it once the event has got in', async () => {
  const { client } = await start();
  client.send(CUMULATIVE);
  client.send(cartEvent([event('a'), event('b', { retry: true }), event('c'), event('d')], { seq: 0 }));
  await settled(client);
  expect(answers(client)).toEqual([{ seq: 1, code: 'journal_full', retryAfterMs: 1500 }, { throughSeq: 0 }]);
  client.send(cartEvent(event('e'), { seq: 4 }));
  await settled(client);
  client.send(cartEvent(event('b'), { seq: 1 }));
  await settled(client);
  expect(answers(client).slice(2)).toEqual([{ throughSeq: 4 }]);
});

test('without seq nothing is taken, and the next event is', async () => {
  const { client, fake } = await start();
  client.send(CUMULATIVE);
  client.send(cartEvent(event('nameless')));
  client.send(cartEvent([event('x')], { eventId: 'not-of-an-array' }));
  client.send(cartEvent(event('named'), { seq: 3 }));
  await settled(client);
  expect(answers(client)).toEqual([
    { code: 'missing_field', field: 'seq' },
    { code: 'missing_field', field: 'seq' },
    { throughSeq: 3 },
  ]);
  expect(client.ofType('event_error').map((error) => error['eventId'])).toEqual(['nameless', undefined]);
  expect(fake.records()).toEqual([event('named')]);
});

test('a message that was refused as a whole leaves no gap where its numbers can be read', async () => {
  const { client } = await start();
  client.send(CUMULATIVE);
  client.send(cartEvent(event('a'), { seq: 0 }));
  client.send(cartEvent(event('b'), { seq: 1, extra: 1 }));
  client.send(
    cartEvent(
      Array.from({ length: 1001 }, () => event('c')),
      { seq: 2 },
    ),
  );
  client.send(cartEvent(event('d'), { seq: 1003 }));
  await settled(client);
  expect(answers(client).at(-1)).toEqual({ throughSeq: 1003 });
});

describe('numbers that are not one more each', () => {
  test('a gap is waited for', async () => {
    const { client } = await start();
    client.send(CUMULATIVE);
    for (const seq of [5, 6, 8, 9]) client.send(cartEvent(event(`g-${seq}`), { seq }));
    await settled(client);
    expect(answers(client).at(-1)).toEqual({ throughSeq: 6 });
    client.send(cartEvent(event('g-7'), { seq: 7 }));
    await settled(client);
    expect(answers(client).at(-1)).toEqual({ throughSeq: 9 });
  });

  test('what is settled already is answered by itself', async () => {
    const { client } = await start();
    client.send(CUMULATIVE);
    client.send(cartEvent([event('a'), event('b')], { seq: 10 }));
    await settled(client);
    client.send(cartEvent(event('a'), { seq: 10 }));
    client.send(cartEvent(event('another'), { seq: 11 }));
    await settled(client);
    expect(answers(client)).toEqual([
      { throughSeq: 11 },
      { seq: 10, status: 'duplicate' },
      { seq: 11, status: 'received' },
    ]);
  });

  test('below the first: no throughSeq may seem to hold it, so there is none any more', async () => {
    const { client, url } = await start();
    client.send(CUMULATIVE);
    client.send(cartEvent(event('a'), { seq: 10 }));
    await settled(client);
    client.send(cartEvent(event('early', { retry: true }), { seq: 3 }));
    client.send(cartEvent(event('b'), { seq: 11 }));
    await settled(client);
    expect(answers(client)).toEqual([
      { throughSeq: 10 },
      { code: 'seq_below_first', field: 'seq' },
      { seq: 3, code: 'journal_full', retryAfterMs: 1500 },
      { seq: 11, status: 'received' },
    ]);
    client.send(CUMULATIVE);
    await settled(client);
    expect(answers(client).at(-1)).toEqual({ code: 'seq_below_first', field: 'seq' });
    const again = await connect(`${url}?resume=${client.messages[0]?.['resume']}`);
    expect(again.messages[0]).toMatchObject({ recovered: false });
  });

  test('too many gaps end it aloud; every event is acknowledged by itself then', async () => {
    const { client, stream } = await start();
    client.send(CUMULATIVE);
    for (let gap = 0; gap <= SEQ_RUNS_MAX; gap++) client.send(cartEvent(event(`o-${gap}`), { seq: 2 * gap }));
    await settled(client);
    expect(answers(client)).toEqual([{ throughSeq: 0 }]);
    client.send(cartEvent(event('one too many'), { seq: 1_000 }));
    await settled(client);
    expect(answers(client).slice(1)).toEqual([{ code: 'acks_overflow', field: 'seq' }]);
    client.send(cartEvent(event('after'), { seq: 1_001 }));
    await settled(client);
    client.send(CUMULATIVE);
    await settled(client);
    client.send(cartEvent(event('later'), { seq: 1_002 }));
    await settled(client);
    expect(answers(client).slice(2)).toEqual([
      { seq: 1_001, status: 'received' },
      { code: 'acks_overflow', field: 'seq' },
      { seq: 1_002, status: 'received' },
    ]);
    client.socket.close();
    await client.closed;
    expect(stream.stats().resumable).toBe(0);
  });
});

describe('going over from one kind to the other', () => {
  test('in the middle: what was acknowledged singly is below the first throughSeq', async () => {
    const { client } = await start();
    client.send(cartEvent(event('a'), { seq: 1 }));
    await settled(client);
    client.send(CUMULATIVE);
    client.send(cartEvent(event('b'), { seq: 2 }));
    await settled(client);
    client.send(SINGLE);
    client.send(cartEvent(event('c'), { seq: 3 }));
    client.send(cartEvent(event('d')));
    await settled(client);
    expect(answers(client)).toEqual([
      { seq: 1, status: 'received' },
      { throughSeq: 2 },
      { seq: 3, status: 'received' },
      { status: 'received' },
    ]);
  });

  test('what waits behind a retry when they end is still told', async () => {
    const { client } = await start();
    client.send(CUMULATIVE);
    client.send(cartEvent([event('a', { retry: true }), event('b')], { seq: 1 }));
    await settled(client);
    client.send(SINGLE);
    client.send(cartEvent(event('a'), { seq: 1 }));
    client.send(cartEvent(event('c'), { seq: 3 }));
    await settled(client);
    expect(answers(client)).toEqual([
      { seq: 1, code: 'journal_full', retryAfterMs: 1500 },
      { seq: 1, status: 'received' },
      { seq: 3, status: 'received' },
      { throughSeq: 3 },
    ]);
  });

  test('with confirmations: each event still has its own', async () => {
    const { client, fake } = await start();
    client.send({ type: 'subscribe', payload: { acks: 'cumulative', confirmations: true } });
    client.send(cartEvent([event('a'), event('b')], { seq: 1 }));
    await settled(client);
    fake.store(fake.lastSeq());
    expect(await client.until('event_confirmed', 2)).toMatchObject([
      { eventId: 'a', seq: 1 },
      { eventId: 'b', seq: 2 },
    ]);
  });
});

test('the last ack leaves before the connection is closed, also when its client was told to go before', async () => {
  const { client, fake, stream } = await start();
  client.send(CUMULATIVE);
  fake.hold();
  client.send(cartEvent(event('a'), { seq: 1 }));
  await settled(client);
  const closing = stream.closeAll(1001, 'bye');
  await client.until('going_away');
  // Not before its event has been answered.
  expect(client.ofType('event_ack')).toEqual([]);
  client.send(cartEvent(event('too late'), { seq: 2 }));
  fake.release();
  expect((await client.closed).code).toBe(1001);
  expect(client.messages.slice(-2)).toMatchObject([{ type: 'going_away' }, { type: 'event_ack', throughSeq: 1 }]);
  expect(fake.records()).toEqual([event('a')]);
  await closing;
});

type Kind = 'new' | 'retry' | 'reject' | 'repeat';
const frames = fc.array(
  fc.record({
    kinds: fc.array(fc.constantFrom<Kind>('new', 'new', 'retry', 'reject', 'repeat'), { minLength: 1, maxLength: 6 }),
    next: fc.constantFrom('hold', 'release', 'turn', 'go on', 'go on', 'subscribe', 'unsubscribe'),
  }),
  { maxLength: 25 },
);

test('whatever comes: throughSeq rises, never lies, never passes a retry, and in the end everything is answered', async () => {
  const { url, fake } = await start();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(frames, async (steps) => {
      run += 1;
      const client = await connect(url);
      const sent: { record: Record<string, unknown>; kind: Kind }[] = [];
      for (const { kinds, next } of steps) {
        const seq = sent.length;
        for (const kind of kinds) {
          const id = `${run}-${kind === 'repeat' ? 0 : sent.length}`;
          const verdict = kind === 'retry' ? { retry: true } : kind === 'reject' ? { reject: 'data' } : {};
          sent.push({ record: event(id, verdict), kind });
        }
        client.send(
          cartEvent(
            sent.slice(seq).map(({ record }) => record),
            { seq },
          ),
        );
        if (next === 'hold') fake.hold();
        else if (next === 'release') fake.release();
        else if (next === 'turn') await turn();
        else if (next === 'subscribe') client.send(CUMULATIVE);
        else if (next === 'unsubscribe') client.send(SINGLE);
      }
      fake.release();
      await settled(client);
      const firstRetry = sent.findIndex(({ kind }) => kind === 'retry');
      const through = client
        .ofType('event_ack')
        .flatMap((ack) => ('throughSeq' in ack ? [Number(ack['throughSeq'])] : []));
      expect(through).toEqual([...new Set(through)].sort((a, b) => a - b));
      expect(Math.max(-1, ...through)).toBeLessThan(firstRetry < 0 ? sent.length : firstRetry);

      for (const [seq, { kind, record }] of sent.entries())
        if (kind === 'retry') client.send(cartEvent({ ...record, retry: false }, { seq }));
      await settled(client);
      const covered = Math.max(
        -1,
        ...client.ofType('event_ack').flatMap((ack) => ('throughSeq' in ack ? [Number(ack['throughSeq'])] : [])),
      );
      const single = [...client.ofType('event_ack'), ...client.ofType('event_error')]
        .filter((answer) => answer['retryAfterMs'] === undefined)
        .map((answer) => answer['seq']);
      for (let seq = covered + 1; seq < sent.length; seq++) expect(single).toContain(seq);
      client.socket.terminate();
    }),
    { numRuns: 150 },
  );
}, 60_000);
