/** A sync that hangs, and one that fails: nobody is told what is not so, and everybody else is served meanwhile. */
import { afterEach, expect, test } from 'bun:test';
import { isRunning } from '@libs/runtime';
import { drain } from './audit.ts';
import type { SentEvent } from './events.ts';
import type { Rewrite } from './fault-source.preload.ts';
import type { MaybeAnswer } from './http-client.ts';
import { pendingEvents } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp } from './service.ts';
import { type Pending, type SlowSync, startSlowSync } from './slow-sync.ts';
import { connectSocket, type SocketClient } from './socket-client.ts';
import { until } from './until.ts';
import { UNANSWERED_MAX } from './writer-socket.ts';
import { ROOMY_SEGMENT_BYTES, startWriters } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
/** More than one connection and all writers over HTTP have under way: both connections wait. Of what they send some are copies. */
const WAITING_MIN = UNANSWERED_MAX + 250;
/** So often in a row nobody had sent anything: all wait for answers. */
const STILL_POLLS = 25;

afterEach(cleanUp);

interface Hanging {
  /** Its frame is written; the sync of it hangs. */
  readonly written: SentEvent;
  /** It waits in memory for the frame before it. */
  readonly waiting: SentEvent;
  readonly first: readonly Pending[];
  /** Answers to second copies of both, on other connections. */
  readonly copies: readonly { readonly told: () => MaybeAnswer | 'ack' }[];
  /** The connection over which the last copies came. */
  readonly socket: SocketClient;
}

/** Two events that hang, and copies of both by every way in. */
async function hang(slow: SlowSync): Promise<Hanging> {
  await slow.moveToPool();
  expect(await drain(slow.service.url)).toBe(true);
  slow.fault('hang');
  const [written, waiting] = [slow.events.good(), slow.events.good()];
  const first = [await slow.begin(written), await slow.begin(waiting)];
  const copies: { told: () => MaybeAnswer | 'ack' }[] = [];
  const socket = await connectSocket(slow.service.url);
  for (const event of [written, waiting]) {
    const answers: MaybeAnswer[] = [];
    void slow.client.single(event).then((answer) => answers.push(answer));
    void slow.client.batch([event], 'json').then((all) => answers.push(...all));
    void slow.client.batch([event], 'lines').then((all) => answers.push(...all));
    socket.send(event);
    copies.push({ told: () => answers.find((answer) => answer !== undefined) });
  }
  copies.push({ told: () => (socket.messages.some(({ type }) => type === 'event_ack') ? 'ack' : undefined) });
  await othersAreServed(slow, socket);
  return { written, waiting, first, copies, socket };
}

/** Health, heartbeats and refusals need no disk; and when they have all been answered, the copies have long been read. */
async function othersAreServed(slow: SlowSync, socket: SocketClient): Promise<void> {
  for (let n = 1; n <= 10; n++) {
    socket.heartbeat();
    await socket.heard('heartbeat_ack', n);
    for (const path of ['/health/live', '/health/ready', '/health', '/metrics']) {
      const response = await fetch(`${slow.service.url}${path}`);
      expect([path, response.status]).toEqual([path, 200]);
      await response.arrayBuffer();
    }
    expect(await slow.client.single(slow.events.bad())).toEqual({ kind: 'rejected' });
  }
}

const told = ({ first, copies }: Hanging) => [...first, ...copies].map((one) => one.told());

test(
  'while a sync hangs nobody is told anything of its events, and after SIGKILL nobody was',
  async () => {
    const slow = await startSlowSync(createSeeded(SEED));
    const hanging = await hang(slow);
    expect(told(hanging)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    await slow.service.signal('accept', 'SIGKILL');
    expect(await Promise.all(hanging.first.map(({ answer }) => answer))).toEqual([undefined, undefined]);
    expect(told(hanging)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    slow.fault('');
    for (const event of [hanging.written, hanging.waiting]) await slow.untilAnswered(event);
    expect(await slow.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'when the sync returns, the first copy is accepted and every other one a duplicate',
  async () => {
    const slow = await startSlowSync(createSeeded(SEED));
    const hanging = await hang(slow);
    slow.fault('');
    for (const { answer } of hanging.first) expect((await answer)?.kind).toBe('accepted');
    await until(() => told(hanging).every((one) => one !== undefined), 'the copies are answered');
    expect(hanging.copies.slice(0, 2).map((one) => (one.told() as { kind: string }).kind)).toEqual([
      'duplicate',
      'duplicate',
    ]);
    expect(await slow.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'the check notices when a copy in flight is called a duplicate before the first one is durable',
  async () => {
    const early: Rewrite = {
      file: 'apps/ingestion/src/accept.ts',
      find: 'if (first <= journal.durableSeq()) {',
      replace: 'if (first > 0) {',
    };
    const slow = await startSlowSync(createSeeded(SEED), { rewrites: [early] });
    const hanging = await hang(slow);
    expect(told(hanging).slice(2)).not.toContain(undefined);
    await slow.service.signal('accept', 'SIGKILL');
    await Promise.all(hanging.first.map(({ answer }) => answer));
    slow.fault('');
    // One that is sent afterwards shows that the service is back; the two are not sent again.
    await slow.untilAnswered(slow.events.good());
    expect((await slow.audit()).join('\n')).toMatch(new RegExp(`promised and not stored: ${hanging.waiting.key}`));
  },
  TIMEOUT_MS,
);

test(
  'a disk that stalls under load, again and again: everybody waits, and nothing is refused',
  async () => {
    const random = createSeeded(SEED);
    const slow = await startSlowSync(random, { settings: { JOURNAL_SEGMENT_BYTES: String(ROOMY_SEGMENT_BYTES) } });
    const writers = startWriters(slow.service.url, slow.ledger, random);
    for (let round = 0; round < 3; round++) {
      const before = writers.acks();
      await until(() => writers.acks() > before + 500, 'events are acknowledged');
      await slow.moveToPool();
      slow.fault('hang');
      expect(await stalled(slow)).toBeGreaterThan(WAITING_MIN);
      slow.fault('');
    }
    await writers.finish();
    expect(slow.ledger.refusals()).toEqual([]);
    expect(await slow.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Waits until every writer waits for an answer; resolves to how many events do. */
async function stalled(slow: SlowSync): Promise<number> {
  let last = -1;
  let same = 0;
  await until(() => {
    const { sent } = slow.ledger.counts();
    same = sent === last ? same + 1 : 0;
    last = sent;
    return same === STILL_POLLS;
  }, 'nobody sends any more');
  return pendingEvents(slow.service.url);
}

for (const mode of ['on the event loop', 'in the thread pool'] as const)
  test(
    `a sync that fails ${mode}: everybody who waits is told to come back, and the process ends and comes back by itself`,
    async () => {
      const slow = await startSlowSync(createSeeded(SEED));
      const before = await slow.service.signal('accept', 'SIGCONT');
      const events: SentEvent[] = [];
      const answers: Promise<MaybeAnswer>[] = [];
      if (mode === 'in the thread pool') {
        const hanging = await hang(slow);
        events.push(hanging.written, hanging.waiting);
        answers.push(...hanging.first.map(({ answer }) => answer));
        slow.fault('eio');
        for (const message of await hanging.socket.heard('event_error', 2))
          expect(message).toMatchObject({ code: 'journal_failed', retryAfterMs: expect.any(Number) });
      } else {
        slow.fault('eio');
        events.push(slow.events.good());
        answers.push(...events.map((event) => slow.client.single(event)));
      }
      for (const answer of await Promise.all(answers))
        expect(answer).toEqual({ kind: 'retry', code: 'journal_failed', message: expect.stringMatching(/./) });
      await until(() => !isRunning(before), 'the process has ended');
      expect(slow.service.output()).toContain('The journal could not be written');
      slow.fault('');
      for (const event of events) await slow.untilAnswered(event);
      expect(slow.service.exitCode()).toBeUndefined();
      expect(await slow.audit()).toEqual([]);
    },
    TIMEOUT_MS,
  );
