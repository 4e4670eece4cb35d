/** The generator process against real servers: the bench's own, and ones that answer what they should not. */
import { afterAll, expect, test } from 'bun:test';
import { createChildren } from '../src/children.ts';
import { SEQ_FIRST } from '../src/cumulative.ts';
import type { LoadJob } from '../src/job.ts';
import { PLAIN_MIX } from '../src/mix.ts';
import { NO_PINNING } from '../src/pinning.ts';
import { createRunGenerator } from '../src/run-generator.ts';
import { startSmallServer } from '../src/server-under-test.ts';

const children = createChildren();
const runGenerator = createRunGenerator(children, NO_PINNING);
afterAll(() => children.stopAll(5_000));

function job(port: number, more: Partial<LoadJob>): LoadJob {
  return {
    answers: 'plain',
    kind: 'single',
    host: '127.0.0.1',
    port,
    connections: 4,
    eventsPerRequest: 1,
    pace: { inFlight: 1 },
    warmupSeconds: 0.05,
    seconds: 0.2,
    answerTimeoutSeconds: 10,
    seed: 1,
    titles: 'mixed',
    watch: [],
    ...more,
  };
}

const CASES: readonly (readonly [string, Partial<LoadJob>])[] = [
  ['single events', {}],
  ['batches', { kind: 'batch', eventsPerRequest: 1_000 }],
  ['frames', { kind: 'ws' }],
  ['many frames in flight', { kind: 'ws', pace: { inFlight: 50 } }],
  ['frames that hold arrays', { kind: 'ws', eventsPerRequest: 100, pace: { inFlight: 2 } }],
  ['cumulative acks', { kind: 'ws', acks: 'cumulative', pace: { inFlight: 32 } }],
  ['cumulative acks of arrays', { kind: 'ws', acks: 'cumulative', eventsPerRequest: 100, pace: { inFlight: 2 } }],
  ['lines', { kind: 'ndjson', eventsPerRequest: 500 }],
  ['batches with duplicates', { kind: 'batch', eventsPerRequest: 100, mix: { ...PLAIN_MIX, duplicates: 0.5 } }],
  ['batches with invalid events', { kind: 'batch', eventsPerRequest: 100, mix: { ...PLAIN_MIX, invalid: 0.1 } }],
  ['large events', { kind: 'batch', eventsPerRequest: 10, mix: { ...PLAIN_MIX, eventBytes: 20_000 } }],
  ['gzip', { kind: 'batch', eventsPerRequest: 100, mix: { ...PLAIN_MIX, encoding: 'gzip' } }],
  ['zstd', { kind: 'batch', eventsPerRequest: 100, mix: { ...PLAIN_MIX, encoding: 'zstd' } }],
  ['an open loop', { pace: { requestsPerSecond: 500 } }],
];

for (const name of ['bare', 'fixed'] as const) {
  test.each(CASES)(`%s reach the ${name} server and are all answered`, async (_what, more) => {
    const server = await startSmallServer(name, children, NO_PINNING);
    const watch = server.processes();
    const result = await runGenerator(job(server.port, { ...more, watch }));
    await server.stop();
    expect(result).toMatchObject({ problems: {}, unanswered: 0 });
    expect(result.events).toBeGreaterThan(0);
    expect(result.eventsSent).toBeGreaterThanOrEqual(result.events);
    // Of an open loop, requests due while it was measured may be answered later.
    if (more.pace === undefined || 'inFlight' in more.pace)
      expect(result.latency.count * (more.eventsPerRequest ?? 1)).toBe(result.events);
    expect(Object.keys(result.cpu.cpuSeconds).toSorted()).toEqual([name, 'generator'].toSorted());
  });
}

test('an open loop sends what its rate asks for, no more and no less', async () => {
  const server = await startSmallServer('bare', children, NO_PINNING);
  const result = await runGenerator(
    job(server.port, { pace: { requestsPerSecond: 400 }, warmupSeconds: 0.25, seconds: 0.5 }),
  );
  await server.stop();
  expect(result.eventsSent).toBe(300);
  expect(result.latency.count).toBe(200);
});

test('what an open loop is answered too late is in its latencies, and in no rate', async () => {
  const isOver = Promise.withResolvers<void>();
  let asked = 0;
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch() {
      asked += 1;
      // Long after the last request was due, and never before.
      if (asked === 4) setTimeout(isOver.resolve, 2_000);
      await isOver.promise;
      return new Response('{}', { status: 202 });
    },
  });
  const pace = { requestsPerSecond: 400 };
  const result = await runGenerator(job(server.port as number, { pace, warmupSeconds: 0.1, seconds: 0.5 }));
  await server.stop(true);
  expect(result).toMatchObject({ events: 0, eventsPerSecond: 0, eventsSent: 240, unanswered: 0, problems: {} });
  expect(result.latency.count).toBe(200);
  expect(result.latency.p50Ms).toBeGreaterThan(1_000);
});

test('no id is sent twice, over all connections and kinds of load', async () => {
  const ids: string[] = [];
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const body = (await request.json()) as { eventId?: string; events?: { eventId: string }[] };
      ids.push(...(body.events ?? [body as { eventId: string }]).map(({ eventId }) => eventId));
      return Response.json({}, { status: 202 });
    },
  });
  const port = server.port as number;
  const batches = { kind: 'batch', eventsPerRequest: 100 } as const;
  const results = [
    await runGenerator(job(port, {})),
    await runGenerator(job(port, batches)),
    await runGenerator(job(port, {})),
  ];
  await server.stop(true);
  expect(ids.length).toBe(results.reduce((sum, { eventsSent }) => sum + eventsSent, 0));
  expect(new Set(ids).size).toBe(ids.length);
});

test('any answer but 202 is counted as what it is', async () => {
  let served = 0;
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: () =>
      ++served % 2 === 0
        ? Response.json({ error: 'overloaded', message: 'Later.', requestId: crypto.randomUUID() }, { status: 503 })
        : new Response('{}', { status: 202 }),
  });
  const { problems } = await runGenerator(job(server.port as number, {}));
  await server.stop(true);
  expect(Object.keys(problems)).toEqual(['status 503 overloaded: Later.']);
});

test('a connection that is lost, and what it still owed, are reported', async () => {
  let served = 0;
  const server = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      data(socket) {
        if (++served < 50) socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
        else if (served === 50) socket.terminate();
        else socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
      },
    },
  });
  const { problems, unanswered } = await runGenerator(job(server.port, { connections: 2, answerTimeoutSeconds: 0.2 }));
  server.stop(true);
  expect(Object.values(problems)).toEqual([1]);
  expect(unanswered).toBe(1);
});

test('an event_error instead of an ack is a problem, and so is a refused handshake', async () => {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('no', { status: 400 })),
    websocket: {
      message: (socket) =>
        void socket.send('{"type":"event_error","eventId":"x","code":"journal_full","message":"Later."}'),
    },
  });
  const { problems } = await runGenerator(job(server.port as number, { kind: 'ws' }));
  expect(Object.keys(problems)).toEqual(['frame 1 journal_full: Later.']);
  await server.stop(true);
  const refusing = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('no', { status: 403 }) });
  const refused = runGenerator(job(refusing.port as number, { kind: 'ws' }));
  expect(await refused.catch(String)).toContain('the WebSocket handshake was answered 403');
  await refusing.stop(true);
});

test('a batch whose counts are not exactly the expected ones is a problem, whatever its status', async () => {
  let served = 0;
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch() {
      served += 1;
      const duplicates = served % 3 === 0 ? 1 : 0;
      return Response.json(
        { totalEvents: 100, successful: 100, failed: 0, duplicates, results: 'x'.repeat(2_000) },
        { status: 202 },
      );
    },
  });
  const { problems, events } = await runGenerator(
    job(server.port as number, { kind: 'batch', eventsPerRequest: 100, answers: 'exact' }),
  );
  await server.stop(true);
  expect(events).toBeGreaterThan(0);
  const found = '100 events, 100 successful, 0 failed, 1 duplicates';
  expect(Object.keys(problems)).toEqual([
    `a batch was answered "${found}" instead of "${found.replace('1 dup', '0 dup')}"`,
  ]);
});

test('ids that are to be duplicates are acknowledged once before anything is measured, and then come again', async () => {
  const seen = new Map<string, number>();
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { events } = (await request.json()) as { events: { eventId: string }[] };
      const before = events.filter(({ eventId }) => seen.has(eventId)).length;
      for (const { eventId } of events) seen.set(eventId, (seen.get(eventId) ?? 0) + 1);
      const counts = { totalEvents: events.length, successful: events.length, failed: 0, duplicates: before };
      return Response.json(counts, { status: before === events.length ? 200 : 202 });
    },
  });
  const port = server.port as number;
  for (const duplicates of [0.5, 1]) {
    const mix = { ...PLAIN_MIX, duplicates };
    const batches = { kind: 'batch', eventsPerRequest: 20, connections: 2, answers: 'exact', mix } as const;
    const { problems, unanswered, eventsSent } = await runGenerator(job(port, batches));
    expect({ problems, unanswered }).toEqual({ problems: {}, unanswered: 0 });
    const repeated = [...seen.values()].reduce((sum, times) => sum + times - 1, 0);
    expect([...seen.values()].reduce((sum, times) => sum + times, 0)).toBe(eventsSent);
    expect(repeated).toBeGreaterThan(0);
    seen.clear();
  }
  await server.stop(true);
});

test('an array of which one event is not acknowledged is not answered', async () => {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('no', { status: 400 })),
    websocket: {
      message(socket, message) {
        const { payload } = JSON.parse(message as string) as { payload: unknown[] };
        for (const _event of payload.slice(1)) socket.send('{"type":"event_ack","status":"received"}');
      },
    },
  });
  const arrays = { kind: 'ws', eventsPerRequest: 10, connections: 1, answerTimeoutSeconds: 0.1 } as const;
  const { events, unanswered } = await runGenerator(job(server.port as number, arrays));
  await server.stop(true);
  expect({ events, unanswered }).toEqual({ events: 0, unanswered: 1 });
});

/** A server whose frame number `at` is answered with `answer`, and every other one as it should be. */
function throughServer(at: number, answer: (seq: number) => string) {
  let frames = 0;
  return Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('no', { status: 400 })),
    websocket: {
      message(socket, message) {
        const { type, seq } = JSON.parse(message as string) as { type: string; seq: number };
        if (type === 'subscribe') return;
        frames += 1;
        socket.send(frames === at ? answer(seq) : `{"type":"event_ack","throughSeq":${seq}}`);
      },
    },
  });
}

const CUMULATIVE = { kind: 'ws', acks: 'cumulative', connections: 1, pace: { inFlight: 4 } } as const;

test('one number answers all frames up to it, and a number that nothing was sent under is a problem', async () => {
  const silent = throughServer(2, () => '{"type":"hello"}');
  const skipped = await runGenerator(job(silent.port as number, CUMULATIVE));
  await silent.stop(true);
  expect(skipped).toMatchObject({ problems: {}, unanswered: 0 });
  const WRONG = [
    (seq: number) => `{"type":"event_ack","throughSeq":${seq + 1_000}}`,
    (seq: number) => `{"type":"event_ack","throughSeq":${seq - 1}}`,
    (seq: number) => `{"type":"event_ack","seq":${seq},"status":"received"}`,
    (seq: number) => `{"type":"event_error","seq":${seq},"code":"journal_full","message":"Later."}`,
  ];
  for (const wrong of WRONG) {
    const server = throughServer(2, wrong);
    const { problems, events } = await runGenerator(job(server.port as number, CUMULATIVE));
    await server.stop(true);
    expect(Object.values(problems)).toEqual([1]);
    expect(events).toBeGreaterThan(0);
  }
});

test('every frame has the next number of its connection, beginning anew with each', async () => {
  const seqs: number[][] = [];
  const server = Bun.serve<{ at: number }>({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, self) =>
      self.upgrade(request, { data: { at: seqs.push([]) - 1 } }) ? undefined : new Response('no', { status: 400 }),
    websocket: {
      message(socket, message) {
        const { type, seq } = JSON.parse(message as string) as { type: string; seq: number };
        if (type === 'subscribe') return;
        seqs[socket.data.at]?.push(seq);
        socket.send(`{"type":"event_ack","throughSeq":${seq}}`);
      },
    },
  });
  await runGenerator(job(server.port as number, { ...CUMULATIVE, connections: 2 }));
  await server.stop(true);
  expect(seqs).toHaveLength(2);
  for (const own of seqs) expect(own).toEqual(own.map((_seq, at) => SEQ_FIRST + at));
});
