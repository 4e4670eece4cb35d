/**
 * The commit of an event hangs at one process while a copy of it is sent to another one, and then the first one is killed:
 * nobody may have been told `duplicate`, for the event may be gone. And a process that dies between an event's becoming
 * durable and telling so: the copy is recognised once the process is back.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { lacks } from '@libs/services';
import { drain } from './audit.ts';
import type { SentEvent } from './events.ts';
import type { Rewrite } from './fault-source.preload.ts';
import type { MaybeAnswer } from './http-client.ts';
import { cleanUpInstances, type Instances, type InstancesOptions, order, startInstances } from './instances.ts';
import { journalOf } from './ledger.ts';
import { pendingEvents } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { temporaryFolder } from './service.ts';
import { switchFault } from './slow-sync.ts';
import { connectSocket } from './socket-client.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
const COPIES = 3;
const DIES_UNCONFIRMED = 'dies-unconfirmed';

afterEach(cleanUpInstances);

/** Nobody wants to wait half a minute for the claims of a dead process. */
const SHORT_CLAIMS: Rewrite = {
  file: 'apps/ingestion/src/settings.ts',
  find: 'const CLAIM_MS = 30_000;',
  replace: 'const CLAIM_MS = 10_000;',
};
const LONG_CLAIMS: Rewrite = { ...SHORT_CLAIMS, replace: 'const CLAIM_MS = 600_000;' };
const BUSY_IS_DUPLICATE: Rewrite = {
  file: 'apps/ingestion/src/accept.ts',
  find: "verdict.kind === 'duplicate' ? duplicateElsewhere(verdict.copy)",
  replace: "verdict.kind !== 'claimed' ? duplicateElsewhere()",
};
const DIE_UNCONFIRMED: Rewrite = {
  file: 'apps/ingestion/src/accept.ts',
  find: '    if (claimed.length > 0) confirm(batch, claimed);\n',
  replace: `    if (batch.good.some((one) => one?.key.includes('${DIES_UNCONFIRMED}'))) process.kill(process.pid, 'SIGKILL');\n    if (claimed.length > 0) confirm(batch, claimed);\n`,
};
const NOTHING_CONFIRMED_AT_START: Rewrite = {
  file: 'apps/ingestion/src/shared-dedupe.ts',
  find: 'confirming = confirmRecent();',
  replace: 'isReading = false;',
};

interface Changes extends InstancesOptions {
  readonly all?: readonly Rewrite[];
  readonly first?: readonly Rewrite[];
  readonly claims?: Rewrite;
}

interface Hanging extends Instances {
  fault(fault: '' | 'slow' | 'hang'): void;
}

/** `first`: also changed at the first instance, whose disk can be made to hang. */
async function start({ all = [], first = [], claims = SHORT_CLAIMS, ...more }: Changes = {}): Promise<Hanging> {
  const switchFile = join(temporaryFolder(), 'fault');
  const rewrite = (...rewrites: readonly Rewrite[]) => ({ INTEGRITY_REWRITE: JSON.stringify(rewrites) });
  const instances = await startInstances(createSeeded(SEED), {
    ...more,
    preloads: ['fault-sync.preload.ts', 'fault-source.preload.ts'],
    settings: { REDIS_TIMEOUT_MS: '10000', ...rewrite(claims, ...all), ...more.settings },
    firstSettings: { INTEGRITY_SYNC_FAULT: switchFile, ...rewrite(claims, ...all, ...first) },
  });
  return { ...instances, fault: (name) => switchFault(switchFile, name) };
}

/** Two events whose commit hangs at the first instance: of the first one the sync, the second one waits for the first. */
async function hang({ fault, clients, events, urls }: Hanging) {
  const [url = ''] = urls;
  fault('slow');
  for (let n = 0; n < 3; n++) await clients[0]?.single(events.good());
  expect(await drain(url)).toBe(true);
  fault('hang');
  const both = [events.good(), events.good()] as const;
  const answers: Promise<MaybeAnswer>[] = [];
  for (const event of both) {
    const before = await pendingEvents(url);
    answers.push(clients[0]?.single(event) as Promise<MaybeAnswer>);
    await until(async () => (await pendingEvents(url)) > before, `the journal has taken ${event.key}`);
  }
  return { both, answers };
}

/** What the second instance says of copies that come by every way in. */
async function sendCopies({ clients, urls }: Hanging, events: readonly SentEvent[]): Promise<string[]> {
  const told: string[] = [];
  const socket = await connectSocket(urls[1] as string);
  for (let n = 1; n <= COPIES; n++)
    for (const event of events) {
      told.push((await clients[1]?.single(event))?.kind ?? 'nothing');
      for (const form of ['json', 'lines'] as const)
        for (const answer of (await clients[1]?.batch([event], form)) ?? []) told.push(answer?.kind ?? 'nothing');
      socket.send(event);
    }
  const all = COPIES * events.length;
  await until(() => socket.messages.length > all, 'the socket has its answers');
  for (const { type, code } of socket.messages.slice(1))
    told.push(type === 'event_error' && code === 'claimed_elsewhere' ? 'retry' : type);
  socket.close();
  return [...new Set(told)];
}

describe.skipIf(lacks({ start: ['redis'] }))('with a shared Redis', () => {
  test(
    'a copy sent elsewhere while the commit hangs is to be sent again, and gets in once the claim has ended',
    async () => {
      const hanging = await start();
      const { both, answers } = await hang(hanging);
      expect(await sendCopies(hanging, both)).toEqual(['retry']);
      await hanging.services[0]?.signal('accept', 'SIGKILL');
      expect(await Promise.all(answers)).toEqual([undefined, undefined]);
      hanging.fault('');
      // The first one's frame was written, so that its process finds it again; the second one was never written.
      const kinds = [await hanging.untilAnswered(both[0], 1), await hanging.untilAnswered(both[1], 1)];
      expect(kinds).toEqual(['duplicate', 'accepted']);
      const { broken, twice } = await hanging.finish();
      expect({ broken, twice }).toEqual({ broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );

  test(
    'its own next process takes the claim over at once',
    async () => {
      const hanging = await start({ claims: LONG_CLAIMS });
      const { both, answers } = await hang(hanging);
      await hanging.services[0]?.signal('accept', 'SIGKILL');
      await Promise.all(answers);
      hanging.fault('');
      expect(await hanging.untilAnswered(both[1], 0)).toBe('accepted');
      expect(await hanging.untilAnswered(both[1], 1)).toBe('duplicate');
      const { broken, twice } = await hanging.finish();
      expect({ broken, twice }).toEqual({ broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );

  test(
    'the checks notice when an id that is only claimed is called a duplicate',
    async () => {
      const hanging = await start({ all: [BUSY_IS_DUPLICATE] });
      const { both, answers } = await hang(hanging);
      expect(await sendCopies(hanging, both)).toContain('duplicate');
      await hanging.services[0]?.signal('accept', 'SIGKILL');
      await Promise.all(answers);
      hanging.fault('');
      // One that is sent afterwards shows that it is back; the two are not sent again.
      await hanging.untilAnswered(hanging.events.good(), 0);
      const { broken } = await hanging.finish();
      expect(broken.join('\n')).toContain(`promised and not stored: ${both[1].key}`);
    },
    TIMEOUT_MS,
  );

  for (const isBroken of [false, true])
    test(
      isBroken
        ? 'the checks notice when nothing is confirmed at the start'
        : 'what was durable and not confirmed when its process died is confirmed by the next one',
      async () => {
        const first = [DIE_UNCONFIRMED, ...(isBroken ? [NOTHING_CONFIRMED_AT_START] : [])];
        const running = await start({ first, claims: isBroken ? SHORT_CLAIMS : LONG_CLAIMS });
        const { clients, events, services, untilAnswered, finish } = running;
        const event = events.named(DIES_UNCONFIRMED);
        expect(await clients[0]?.single(event)).toBeUndefined();
        expect(await untilAnswered(event, 1)).toBe(isBroken ? 'accepted' : 'duplicate');
        await services[0]?.pid('accept');
        const { broken, twice } = await finish();
        expect(twice).toEqual(isBroken ? [event.key] : []);
        if (!isBroken) expect(broken).toEqual([]);
      },
      TIMEOUT_MS,
    );
});

describe.skipIf(lacks({ start: ['redis'] }))('two accept processes of one service', () => {
  test(
    'a copy sent to the other one while the commit hangs is to be sent again, also after SIGKILL, until its fate is known',
    async () => {
      const hanging = await start({ count: 1, workers: 2, settings: { INTEGRITY_SYNC_WORKER: '1' } });
      const [service] = hanging.services;
      const [other, one] = await socketPerWorker(hanging);
      hanging.fault('slow');
      for (let n = 0; n < 3; n++) await one.told(hanging.events.good());
      hanging.fault('hang');
      const event = hanging.events.good();
      one.send(event);
      // The first copy has the claim before the second one is sent: nothing else shows that it has arrived.
      await until(async () => (await order(hanging.redis.url, 'EXISTS', windowKey(event))) === 1, 'it is claimed');
      expect(await other.told(event)).toBe('retry');
      expect(await other.told(hanging.events.good())).toBe('accepted');
      await service?.signal('accept-1', 'SIGKILL');
      expect(await other.told(event)).toBe('retry');
      hanging.fault('');
      await until(async () => ['accepted', 'duplicate'].includes(await other.told(event)), 'the event is answered');
      const { broken, twice } = await hanging.finish();
      expect({ broken, twice }).toEqual({ broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );
});

/** The key of `redis-window.ts`. */
function windowKey({ key, eventId }: SentEvent): string {
  return `weir:d:${key.slice(0, -eventId.length - 1)}\0${eventId}`;
}

interface WorkerSocket {
  /** Sends it; nobody waits for the answer. */
  send(event: SentEvent): void;
  /** Sends it; resolves to what it was told: `accepted`, `duplicate`, `retry`. */
  told(event: SentEvent): Promise<string>;
}

/** A connection to each of the two, told apart by the journal that takes what is sent. */
async function socketPerWorker({ services, urls, events, ledger }: Instances): Promise<[WorkerSocket, WorkerSocket]> {
  const found = new Map<string, WorkerSocket>();
  const journals = readdirSync(join(services[0]?.dataFolder ?? '', 'journals'));
  const journalOfWorker = (worker: number) =>
    journals.find((name) => name.startsWith(`w${worker}-`))?.slice(`w${worker}-`.length) ?? '';
  await until(async () => {
    const socket = await connectSocket(urls[0] as string);
    const send = (event: SentEvent): void => {
      ledger.sent(event);
      socket.send(event);
    };
    const told = async (event: SentEvent): Promise<string> => {
      const before = socket.messages.length;
      send(event);
      await until(() => socket.messages.length > before, `${event.key} is answered`);
      const { type, status, position, code, message } = socket.messages[before] as Record<string, unknown>;
      const kind = type === 'event_error' ? 'retry' : status === 'duplicate' ? 'duplicate' : 'accepted';
      const at = typeof position === 'string' ? { position } : {};
      ledger.answered(event, kind === 'retry' ? { kind, code: `${code}`, message: `${message}` } : { kind, ...at });
      return kind;
    };
    await told(events.good());
    const journal = journalOf(String(socket.messages.at(-1)?.['position']));
    if (found.has(journal)) socket.close();
    else found.set(journal, { send, told });
    return found.size === 2;
  }, 'both processes have taken a connection');
  return [found.get(journalOfWorker(0)) as WorkerSocket, found.get(journalOfWorker(1)) as WorkerSocket];
}
