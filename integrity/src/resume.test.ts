/**
 * A client that counts its events goes on after accept was killed, or stopped: nothing is recovered then, it sends again
 * what has no answer, and every event is there once.
 */
import { afterEach, expect, test } from 'bun:test';
import { drain, select } from './audit.ts';
import { createEventMaker, type SentEvent } from './events.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp, createService, type Service } from './service.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
/** Events without an answer, at most. */
const WINDOW = 50;

afterEach(cleanUp);

type Message = Readonly<Record<string, unknown>>;

/** Streams events with cumulative acks, and comes back with its token when the connection ends. */
function startClient(service: Service) {
  const maker = createEventMaker(createSeeded(SEED), 'resumed', 'resumed');
  const unanswered = new Map<number, SentEvent>();
  const sent: SentEvent[] = [];
  const hellos: Message[] = [];
  /** What it was told when it had to go. */
  const partings: Message[] = [];
  let throughSeq = -1;
  let token: string | undefined;
  let finishing = false;

  function fill(socket: WebSocket): void {
    while (!finishing && unanswered.size < WINDOW) {
      const seq = sent.length;
      const event = maker.good();
      sent.push(event);
      unanswered.set(seq, event);
      send(socket, seq, event);
    }
  }

  function send(socket: WebSocket, seq: number, { text }: SentEvent): void {
    socket.send(`{"type":"cart_event","seq":${seq},"payload":${text}}`);
  }

  function hear(socket: WebSocket, message: Message): void {
    if (message['type'] === 'hello') {
      hellos.push(message);
      token = String(message['resume']);
      socket.send('{"type":"subscribe","payload":{"acks":"cumulative"}}');
      for (const [seq, event] of unanswered) send(socket, seq, event);
    } else if (message['throughSeq'] !== undefined) {
      throughSeq = Number(message['throughSeq']);
      for (const seq of unanswered.keys()) if (seq <= throughSeq) unanswered.delete(seq);
    } else if (message['status'] === 'duplicate') unanswered.delete(Number(message['seq']));
    else if (message['type'] === 'going_away') partings.push(message);
    fill(socket);
  }

  async function connect(): Promise<void> {
    const resume = token === undefined ? '' : `?resume=${token}`;
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/events/stream${resume}`);
    const over = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      hear(socket, JSON.parse(String(data)) as Message);
      if (finishing && unanswered.size === 0) over.resolve();
    };
    socket.onclose = () => over.resolve();
    socket.onerror = () => over.resolve();
    await over.promise;
    socket.terminate();
  }

  async function run(): Promise<void> {
    while (!finishing || unanswered.size > 0) {
      await connect();
      await Bun.sleep(20);
    }
  }

  const done = run();
  return {
    hellos,
    partings,
    sent,
    throughSeq: () => throughSeq,
    finish() {
      finishing = true;
      return done;
    },
  };
}

test(
  'killed and stopped under a client that resumes: recovered is false, and what it sends again is there once',
  async () => {
    const service = createService();
    await service.start();
    const client = startClient(service);
    const promised = new Set<string>();
    for (const how of ['SIGKILL', 'SIGKILL', 'SIGTERM'] as const) {
      const before = client.throughSeq();
      await until(() => client.throughSeq() > before + 2 * WINDOW, 'events are acknowledged');
      const hellos = client.hellos.length;
      if (how === 'SIGKILL') await service.signal('accept', 'SIGKILL');
      else {
        await service.stop();
        await service.start();
      }
      for (const event of client.sent.slice(0, client.throughSeq() + 1)) promised.add(event.key);
      await until(
        () => client.hellos.length > hellos,
        () => `the client is back:\n${service.output()}`,
      );
      expect(client.hellos.at(-1)).toMatchObject({ recovered: false });
      expect(client.hellos.at(-1)).not.toHaveProperty('throughSeq');
    }
    expect(client.partings).toMatchObject([{ retryAfterMs: expect.any(Number) }]);
    await client.finish();

    expect(await drain(service.url)).toBe(true);
    const rows = await select<[string, number]>(
      service.url,
      "SELECT concat(storeId, '/', eventId) AS key, toUInt32(count()) FROM raw_events GROUP BY key",
    );
    const copies = new Map(rows);
    expect([...promised].filter((key) => !copies.has(key))).toEqual([]);
    expect(client.sent.filter(({ key }) => copies.get(key) !== 1)).toEqual([]);
    expect(copies.size).toBe(client.sent.length);
    expect(await service.stop()).toBe(0);
  },
  TIMEOUT_MS,
);
