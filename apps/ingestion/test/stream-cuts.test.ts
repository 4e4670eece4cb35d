/**
 * Cuts the connection of a client at every byte it sends and is sent, and at every step of a commit; each time the client
 * comes back and goes on. On a real accept and a real journal, whose disk then loses its power.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { type Cut, startCutter } from './stream-cutter.ts';
import { startRealStream } from './stream-real.ts';
import { cartEvent, connect, waitUntil } from './stream-testing.ts';
import { validEvent } from './valid-event.ts';

type Service = Awaited<ReturnType<typeof startRealStream>>;
let service: Service;
afterEach(() => service.stop());

const REJECTED_SEQS = new Set([2]);
/** Frames by the numbers of their events; number 2 is rejected. */
const FRAMES = [[0], [1, 2, 3], [4], [5, 6]] as const;
const LAST_SEQ = 6;

interface Traveller {
  /** What each hello said of an earlier connection. */
  readonly recovered: boolean[];
  /** What was not as it must be. */
  readonly broken: string[];
}

/** Sends all frames and comes back until everything is answered. `name` makes its events its own. */
async function travel(name: string, port: number, isCumulative: boolean): Promise<Traveller> {
  const unanswered = new Set(Array.from({ length: LAST_SEQ + 1 }, (_, seq) => seq));
  const traveller: Traveller = { recovered: [], broken: [] };
  let token: string | undefined;
  let wasAnswered = false;

  function answered(seq: number): void {
    if (!REJECTED_SEQS.has(seq) && !service.isDurable(`${name}-${seq}`))
      traveller.broken.push(`${seq} is not on the disk`);
    unanswered.delete(seq);
  }
  function through(throughSeq: unknown): void {
    if (throughSeq !== undefined) for (let seq = 0; seq <= Number(throughSeq); seq++) answered(seq);
  }

  function hear(socket: WebSocket, message: Record<string, unknown>): void {
    if (message['type'] === 'hello') {
      token = String(message['resume']);
      const { recovered } = message;
      if (recovered !== undefined) traveller.recovered.push(recovered === true);
      if (wasAnswered && recovered !== true) traveller.broken.push('what was answered is not recovered');
      through(message['throughSeq']);
      if (isCumulative) socket.send('{"type":"subscribe","payload":{"acks":"cumulative"}}');
      for (const frame of FRAMES)
        sendLeft(
          socket,
          frame.filter((seq) => unanswered.has(seq)),
        );
      return;
    }
    wasAnswered = true;
    if ('throughSeq' in message) through(message['throughSeq']);
    else answered(Number(message['seq']));
    if (message['type'] === 'event_error' && !REJECTED_SEQS.has(Number(message['seq'])))
      traveller.broken.push(JSON.stringify(message));
  }

  function sendLeft(socket: WebSocket, seqs: readonly number[]): void {
    const [first] = seqs;
    if (first === undefined) return;
    const events = seqs.map((seq) => validEvent(`${name}-${seq}`, REJECTED_SEQS.has(seq) ? { sessionId: '' } : {}));
    socket.send(JSON.stringify(cartEvent(events.length === 1 ? events[0] : events, { seq: first })));
  }

  while (unanswered.size > 0) {
    const resume = token === undefined ? '' : `?resume=${token}`;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/events/stream${resume}`);
    const over = Promise.withResolvers<void>();
    socket.onclose = () => over.resolve();
    socket.onerror = () => over.resolve();
    socket.onmessage = ({ data }) => {
      hear(socket, JSON.parse(String(data)));
      if (unanswered.size === 0) over.resolve();
    };
    await over.promise;
    socket.terminate();
  }
  return traveller;
}

/** Every byte that an uncut journey sends and hears, in steps that differ from run to run. */
async function bytesOfJourney(cutter: Awaited<ReturnType<typeof startCutter>>, isCumulative: boolean) {
  await travel(`whole-${isCumulative}`, cutter.port, isCumulative);
  return { ...cutter.passed() };
}

const STEP_BYTES = 5;

describe.each([
  ['single acks', false],
  ['cumulative acks', true],
])('%s', (_, isCumulative) => {
  test.each<[Cut['direction'], Cut['how']]>([
    ['up', 'closed'],
    ['up', 'reset'],
    ['down', 'closed'],
    ['down', 'reset'],
  ])(
    'cut at every byte %s, %s, and the next one too: nothing is lost, nothing is there twice',
    async (direction, how) => {
      service = await startRealStream();
      await using cutter = await startCutter(service.port);
      const bytes = await bytesOfJourney(cutter, isCumulative);
      const names: string[] = [];
      let recoveries = 0;
      for (let at = 1 + Math.floor(Math.random() * STEP_BYTES); at < bytes[direction]; at += STEP_BYTES) {
        const name = `${direction}-${how}-${at}`;
        const again = 1 + Math.floor(Math.random() * bytes[direction]);
        cutter.cutNext({ direction, how, afterBytes: at }, { direction, how, afterBytes: again });
        const { broken, recovered } = await travel(name, cutter.port, isCumulative);
        cutter.cutNext();
        expect(broken, `${name}, then ${again}`).toEqual([]);
        recoveries += recovered.filter(Boolean).length;
        names.push(name);
      }
      expect(recoveries).toBeGreaterThan(names.length / 4);
      const copies = await service.copiesAfterPowerCut();
      for (const name of names)
        for (let seq = 0; seq <= LAST_SEQ; seq++)
          expect([name, seq, copies.get(`${name}-${seq}`) ?? 0]).toEqual([name, seq, REJECTED_SEQS.has(seq) ? 0 : 1]);
    },
    60_000,
  );
});

describe('around a commit', () => {
  const CUMULATIVE = { type: 'subscribe', payload: { acks: 'cumulative' } };
  const resumeOf = (client: { messages: { [name: string]: unknown }[] }) =>
    `${service.url}?resume=${client.messages[0]?.['resume']}`;

  test('after the frame, before the commit: throughSeq waits for it, on whatever connection', async () => {
    service = await startRealStream();
    const first = await connect(service.url);
    const releaseSyncs = service.disk.holdSyncs();
    first.send(cartEvent([validEvent('a'), validEvent('b')], { seq: 0 }));
    await waitUntil(() => service.journal.state().lastSeq === 3);
    first.socket.terminate();
    await waitUntil(() => service.stream.stats().connections === 0);

    const second = await connect(resumeOf(first));
    second.send(CUMULATIVE);
    second.send({ type: 'heartbeat' });
    await second.until('heartbeat_ack');
    expect(second.messages[0]).toMatchObject({ recovered: true });
    expect(second.messages[0]).not.toHaveProperty('throughSeq');
    expect(service.isDurable('a')).toBe(false);
    releaseSyncs();
    expect(await second.until('event_ack')).toMatchObject([{ throughSeq: 1 }]);
    expect(service.isDurable('b')).toBe(true);
    // One more, so that nothing but the answer to it is on its way.
    second.send(cartEvent(validEvent('c'), { seq: 2 }));
    expect(await second.until('event_ack', 2)).toMatchObject([{ throughSeq: 1 }, { throughSeq: 2 }]);
  });

  test('between the commit and the ack: the event is on the disk, and hello says so', async () => {
    service = await startRealStream();
    const first = await connect(service.url);
    first.send(CUMULATIVE);
    first.send(cartEvent(validEvent('a'), { seq: 5 }));
    await first.until('event_ack');
    // The stream's own end goes, in the middle of the commit.
    let isCut = false;
    service.onCommit(() => {
      isCut = true;
      service.dropAll();
    });
    first.send(cartEvent([validEvent('b'), validEvent('c', { sessionId: '' }), validEvent('d')], { seq: 6 }));
    await first.closed;
    expect(isCut).toBe(true);
    expect(first.ofType('event_ack')).toMatchObject([{ throughSeq: 5 }]);
    service.onCommit(() => undefined);

    const second = await connect(resumeOf(first));
    expect(await second.until('event_error')).toMatchObject([{ seq: 7, field: 'payload[1].sessionId' }]);
    expect(second.messages[0]).toMatchObject({ recovered: true, throughSeq: 8 });
    expect([service.isDurable('b'), service.isDurable('d')]).toEqual([true, true]);
  });

  test('a failed sync: nothing counts, and the power cut that follows loses nothing that did', async () => {
    service = await startRealStream();
    const first = await connect(service.url);
    first.send(cartEvent(validEvent('a'), { seq: 0 }));
    await first.until('event_ack');
    service.disk.failSyncs();
    first.send(cartEvent([validEvent('b'), validEvent('c')], { seq: 1 }));
    await first.until('event_error', 2);
    const second = await connect(resumeOf(first));
    await second.until('event_error', 2);
    expect(second.messages[0]).toMatchObject({ recovered: true, throughSeq: 0 });
    expect(second.messages.slice(1)).toMatchObject([
      { seq: 1, code: 'journal_failed', retryAfterMs: 1_000 },
      { seq: 2, code: 'journal_failed', retryAfterMs: 1_000 },
    ]);
    expect((await service.copiesAfterPowerCut()).get('a')).toBe(1);
  });

  test('a line that has gone dead: the new connection takes over, and the stream lets go of the old one', async () => {
    service = await startRealStream();
    await using cutter = await startCutter(service.port);
    const first = await connect(`ws://127.0.0.1:${cutter.port}/events/stream`);
    first.send(cartEvent(validEvent('a'), { seq: 0 }));
    await first.until('event_ack');
    const releaseSyncs = service.disk.holdSyncs();
    first.send(cartEvent(validEvent('b'), { seq: 1 }));
    await waitUntil(() => service.journal.state().lastSeq === 3);
    cutter.freeze();
    first.send(cartEvent(validEvent('never arrives'), { seq: 2 }));
    expect(service.stream.stats().connections).toBe(1);
    const second = await connect(resumeOf(first));
    expect(second.messages[0]).toMatchObject({ recovered: true, throughSeq: 0 });
    await waitUntil(() => service.stream.stats().connections === 1);
    expect(service.stream.stats().closed).toEqual({ 4001: 1 });
    // Sent again while the first attempt is in flight: both are answered, and it is there once.
    second.send(cartEvent(validEvent('b'), { seq: 1 }));
    second.send(cartEvent(validEvent('c'), { seq: 2 }));
    releaseSyncs();
    await second.until('event_ack', 3);
    first.socket.terminate();
    const third = await connect(resumeOf(second));
    expect(third.messages[0]).toMatchObject({ recovered: true, throughSeq: 2 });
    const copies = await service.copiesAfterPowerCut();
    expect(['a', 'b', 'c', 'never arrives'].map((id) => copies.get(id) ?? 0)).toEqual([1, 1, 1, 0]);
  });
});
