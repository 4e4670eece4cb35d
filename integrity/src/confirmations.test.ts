/**
 * Who subscribed hears `event_confirmed` of a duplicate once its first copy is stored, whichever process has that, and never
 * before: two instances and two accept processes of one, whose deliver is held, killed or cut off while somebody waits.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import type { SentEvent } from './events.ts';
import type { Rewrite } from './fault-source.preload.ts';
import { cleanUpInstances, type Instances, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import { connectSocket, type SocketClient } from './socket-client.ts';
import { until } from './until.ts';

const TIMEOUT_MS = 120_000;
/** Long enough for a busy machine, so that a Redis that answers is never taken for one that does not. */
const SETTINGS = { REDIS_TIMEOUT_MS: '10000', ACK_TIMEOUT_MS: '4000' };

describe.skipIf(lacks({ start: ['redis'] }))('confirmations across instances', () => {
  let instances: Instances;
  let analytics: Analytics;

  beforeAll(async () => {
    analytics = startAnalytics();
    instances = await startInstances(createSeeded(1), {
      settings: { ...SETTINGS, ANALYTICS_URL: `http://127.0.0.1:${analytics.port}/` },
    });
    await instances.untilRedis(({ state }) => state === 'healthy', 'Redis is healthy');
  }, TIMEOUT_MS);
  afterEach(() => analytics.letGo());
  afterAll(async () => {
    await cleanUpInstances();
    await analytics.stop();
  });

  const storedCount = async ({ eventId }: SentEvent): Promise<number> => {
    const query = `SELECT count() FROM raw_events WHERE eventId = '${eventId}'`;
    return Number(await (await fetch(`${instances.urls[1]}/query`, { method: 'POST', body: query })).text());
  };

  /** Accepted by the first instance, told to be a duplicate by the second; a subscriber there waits for it. */
  async function copyElsewhere(type: string): Promise<{ event: SentEvent; socket: SocketClient }> {
    const event = newEvent(type);
    const socket = await subscriber(instances.urls[1] as string);
    expect((await postTo(instances.urls[0] as string, event)).status).toBe(202);
    expect(await told(socket, event)).toBe('duplicate');
    return { event, socket };
  }

  test(
    'a duplicate is confirmed by the other instance once the first one has stored it, and not before, over a restart of Redis',
    async () => {
      const [first] = instances.services;
      await first?.signal('deliver', 'SIGSTOP');
      const { event, socket } = await copyElsewhere('item_added');
      await others(socket, 3);
      await instances.redis.kill();
      await instances.untilRedis(({ state }) => state !== 'healthy', 'Redis is missed');
      await others(socket, 1);
      await instances.redis.restart();
      await instances.untilRedis(({ state }) => state === 'healthy', 'Redis is back');
      await others(socket, 3);
      expect(levelsOf(socket, event)).toEqual([]);
      expect(await storedCount(event)).toBe(0);
      await first?.signal('deliver', 'SIGCONT');
      await until(
        () => levelsOf(socket, event).length > 0,
        () => `${event.eventId} is confirmed:\n${first?.output()}`,
      );
      expect(levelsOf(socket, event)).toEqual(['stored']);
      expect(await storedCount(event)).toBe(1);
      socket.close();
    },
    TIMEOUT_MS,
  );

  test(
    'the first instance dies, all of it, before it has stored the event: confirmed after its next start has',
    async () => {
      const [first] = instances.services;
      await first?.signal('deliver', 'SIGSTOP');
      const { event, socket } = await copyElsewhere('item_added');
      await first?.signal('accept', 'SIGKILL');
      await first?.signal('deliver', 'SIGKILL');
      await first?.killSupervisor();
      await others(socket, 3);
      expect(levelsOf(socket, event)).toEqual([]);
      await first?.start();
      await until(() => levelsOf(socket, event).length > 0, `${event.eventId} is confirmed`);
      expect(await storedCount(event)).toBe(1);
      socket.close();
    },
    TIMEOUT_MS,
  );

  test(
    'an event that goes further is confirmed as routed once every sink of the instance that has it is done with it',
    async () => {
      analytics.hold();
      const { event, socket } = await copyElsewhere('cart_updated');
      const own = newEvent('cart_updated');
      expect(await told(socket, own)).toBe('received');
      await until(() => [event, own].every((one) => levelsOf(socket, one).length === 1), 'both are stored');
      const waits = newEvent('cart_updated');
      const reply = await postTo(instances.urls[0] as string, waits, 'routed');
      expect([reply.status, reply.durability]).toEqual([202, 'stored']);
      expect([event, own].map((one) => levelsOf(socket, one))).toEqual([['stored'], ['stored']]);
      expect(analytics.taken.has(event.eventId)).toBe(false);
      analytics.letGo();
      await until(() => [event, own].every((one) => levelsOf(socket, one).length === 2), 'both are routed');
      expect([event, own].map((one) => levelsOf(socket, one))).toEqual([
        ['stored', 'routed'],
        ['stored', 'routed'],
      ]);
      expect([event, own].map(({ eventId }) => analytics.taken.has(eventId))).toEqual([true, true]);
      const routed = newEvent('cart_updated');
      expect((await postTo(instances.urls[0] as string, routed, 'routed')).durability).toBe('routed');
      expect(analytics.taken.has(routed.eventId)).toBe(true);
      const plain = newEvent('item_added');
      expect((await postTo(instances.urls[0] as string, plain, 'routed')).durability).toBe('routed');
      socket.close();
    },
    TIMEOUT_MS,
  );
});

/** A duplicate that somebody else has is taken for one of our own. */
const ELSEWHERE_IS_HERE: Rewrite = {
  file: 'apps/ingestion/src/routes/stream-confirmations.ts',
  find: 'if (elsewhere !== undefined) return',
  replace: 'if (elsewhere === null) return',
};

describe.skipIf(lacks({ start: ['redis'] }))('confirmations across the accept processes of one service', () => {
  afterEach(cleanUpInstances);

  test(
    'whichever of them has the event, all confirm it once deliver has stored it; Redis is not needed for that',
    async () => {
      const instances = await startInstances(createSeeded(2), { count: 1, workers: 2, settings: SETTINGS });
      const [service] = instances.services;
      const url = instances.urls[0] as string;
      await instances.untilRedis(({ state }) => state === 'healthy', 'Redis is healthy');
      const sockets = await socketOfEach(url, 2);
      await service?.signal('deliver', 'SIGSTOP');
      const event = newEvent('item_added');
      const answers: string[] = [];
      for (const socket of sockets) answers.push(await told(socket, event));
      expect(answers).toEqual(['received', 'duplicate']);
      await instances.redis.kill();
      for (const socket of sockets) {
        socket.heartbeat();
        await socket.heard('heartbeat_ack');
        expect(levelsOf(socket, event)).toEqual([]);
      }
      await service?.signal('deliver', 'SIGCONT');
      for (const socket of sockets)
        await until(() => levelsOf(socket, event).join() === 'stored', `${event.eventId} is confirmed everywhere`);
    },
    TIMEOUT_MS,
  );

  test(
    'the checks notice when a duplicate is confirmed by what the wrong journal has',
    async () => {
      const instances = await startInstances(createSeeded(3), {
        preloads: ['fault-source.preload.ts'],
        settings: { ...SETTINGS, INTEGRITY_REWRITE: JSON.stringify([ELSEWHERE_IS_HERE]) },
      });
      await instances.untilRedis(({ state }) => state === 'healthy', 'Redis is healthy');
      await instances.services[0]?.signal('deliver', 'SIGSTOP');
      const event = newEvent('item_added');
      const socket = await subscriber(instances.urls[1] as string);
      await postTo(instances.urls[0] as string, event);
      expect(await told(socket, event)).toBe('duplicate');
      await until(() => levelsOf(socket, event).length > 0, 'it is confirmed, and is nowhere stored');
    },
    TIMEOUT_MS,
  );

  /** A subscribed connection to each accept process, told apart by the journal that takes what is sent. */
  async function socketOfEach(url: string, processes: number): Promise<SocketClient[]> {
    const found = new Map<string, SocketClient>();
    await until(async () => {
      const socket = await subscriber(url);
      await told(socket, newEvent('item_added'));
      const journal =
        String(socket.messages.find(({ type }) => type === 'event_ack')?.['position']).split(':')[0] ?? '';
      if (found.has(journal)) socket.close();
      else found.set(journal, socket);
      return found.size === processes;
    }, 'every process has taken a connection');
    return [...found.values()];
  }
});

interface Analytics {
  readonly port: number;
  /** Ids of the events that it has answered. */
  readonly taken: ReadonlySet<string>;
  /** From now on it answers nothing. */
  hold(): void;
  letGo(): void;
  stop(): Promise<void>;
}

/** A downstream service that can be made to hang. */
function startAnalytics(): Analytics {
  const taken = new Set<string>();
  let gate: PromiseWithResolvers<void> | undefined;
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    development: false,
    async fetch(request) {
      const { eventId } = (await request.json()) as { eventId: string };
      await gate?.promise;
      taken.add(eventId);
      return new Response(null, { status: 204 });
    },
  });
  const letGo = (): void => {
    gate?.resolve();
    gate = undefined;
  };
  return {
    port: server.port ?? 0,
    taken,
    hold() {
      gate ??= Promise.withResolvers();
    },
    letGo,
    stop() {
      letGo();
      return server.stop(true);
    },
  };
}

function newEvent(eventType: string): SentEvent {
  const eventId = crypto.randomUUID();
  const event = {
    eventId,
    eventType,
    timestamp: new Date().toISOString(),
    sessionId: 'session',
    storeId: 'store',
    data: {},
  };
  return { key: `store/${eventId}`, eventId, text: JSON.stringify(event), digest: undefined };
}

async function postTo(
  url: string,
  { text }: SentEvent,
  ack = 'journal',
): Promise<{ status: number; durability: unknown }> {
  const reply = await fetch(`${url}/events?ack=${ack}`, { method: 'POST', body: text });
  const { durability } = (await reply.json()) as { durability?: unknown };
  return { status: reply.status, durability };
}

async function subscriber(url: string): Promise<SocketClient> {
  const socket = await connectSocket(url);
  socket.subscribe();
  return socket;
}

/** Sends it until it is acknowledged; resolves to the status. */
async function told(socket: SocketClient, event: SentEvent): Promise<string> {
  for (;;) {
    const before = socket.messages.length;
    const answer = () =>
      socket.messages
        .slice(before)
        .find(({ type, eventId }) => eventId === event.eventId && (type === 'event_ack' || type === 'event_error'));
    socket.send(event);
    await until(() => answer() !== undefined, `${event.eventId} is answered`);
    const { type, status, retryAfterMs } = answer() as Record<string, unknown>;
    if (type === 'event_ack') return String(status);
    // Its first copy is durable, and that has not come round yet.
    await Bun.sleep(Number(retryAfterMs));
  }
}

/** So many events of the instance's own, one after the other, each confirmed before the next is sent. */
async function others(socket: SocketClient, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const event = newEvent('item_added');
    expect(await told(socket, event)).toBe('received');
    await until(() => levelsOf(socket, event).includes('stored'), `${event.eventId} is confirmed`);
  }
}

function levelsOf(socket: SocketClient, { eventId }: SentEvent): unknown[] {
  return socket.messages
    .filter((message) => message.type === 'event_confirmed' && message['eventId'] === eventId)
    .map(({ level }) => level);
}
