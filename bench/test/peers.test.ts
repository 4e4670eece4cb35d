/** The services that Weir is compared with, on real servers: they do the work that their figures are about. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startClickHouseProcess } from '@libs/database/testing';
import { type Kafka, lacks, readTopic, startKafka, startRedis } from '@libs/services';
import { createChildren } from '../src/children.ts';
import type { Options } from '../src/config.ts';
import { eventText, newNonce } from '../src/events.ts';
import type { Load } from '../src/loads.ts';
import { startFastify } from '../src/peers/fastify.ts';
import { hasFlume, startFlume } from '../src/peers/flume.ts';
import { measurePeerRounds } from '../src/peers/measure.ts';
import type { Peer } from '../src/peers/peer.ts';
import { openPlaces, PEER_TABLE, PLACES, type Places } from '../src/peers/places.ts';
import { NO_PINNING } from '../src/pinning.ts';
import { createRandom } from '../src/random.ts';
import { createRunGenerator } from '../src/run-generator.ts';

const TIMEOUT_MS = 180_000;
const TOPICS = ['by-hand', 'kafka-only', 'flume'];

function event(over: Record<string, unknown> = {}): Record<string, unknown> {
  const options = {
    random: createRandom(1),
    nowMs: Date.now(),
    nonce: newNonce(),
    titles: 'mixed',
    bytes: 330,
  } as const;
  return { ...JSON.parse(eventText(options)), eventId: crypto.randomUUID(), ...over };
}

async function post({ port }: Peer, path: string, body: unknown) {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe.skipIf(lacks({ start: ['redis', 'kafka', 'kcat'] }))('peers', () => {
  const children = createChildren();
  let kafka: Kafka;
  let places: Places;
  let byHand: Peer;
  let kafkaOnly: Peer;
  const flumes: Peer[] = [];
  const plan = { ack: '', companions: () => [], children };

  beforeAll(async () => {
    kafka = await startKafka();
    children.adopt(kafka);
    const redis = await startRedis();
    children.adopt(redis);
    const clickhouse = await startClickHouseProcess();
    children.adopt(clickhouse);
    const { brokers } = kafka;
    places = await openPlaces({ brokers, redisUrl: redis.url, clickhouseUrl: clickhouse.url });
    await places.createTopics(TOPICS);
    await places.createTable();
    byHand = await startFastify(
      { brokers, topic: 'by-hand', redisUrl: redis.url, clickhouse: { url: clickhouse.url, table: PEER_TABLE } },
      { ...plan, name: 'fastify', places: PLACES },
    );
    kafkaOnly = await startFastify(
      { brokers, topic: 'kafka-only' },
      { ...plan, name: 'fastify-kafka', places: ['kafka'] },
    );
    if (hasFlume()) {
      const settings = { brokers, topic: 'flume', parentFolder: undefined };
      flumes.push(await startFlume(settings, { ...plan, name: 'flume', places: ['kafka'] }));
    }
  }, TIMEOUT_MS);

  afterAll(async () => {
    await places?.close();
    await children.stopAll(20_000);
  }, TIMEOUT_MS);

  test(
    'the hand-written service validates, knows duplicates, and keeps what it acknowledges',
    async () => {
      const before = await places.count(PEER_TABLE);
      const one = event({ data: { title: 'café', price: 1.5 } });
      expect(await post(byHand, '/events', one)).toEqual({
        status: 202,
        body: { eventId: one['eventId'], status: 'accepted' },
      });
      expect(await post(byHand, '/events', one)).toMatchObject({ status: 200, body: { status: 'duplicate' } });
      const wrong = await post(byHand, '/events', event({ sessionId: 7 }));
      expect(wrong).toMatchObject({ status: 400, body: { error: 'invalid_event', field: 'sessionId' } });
      const batch = await post(byHand, '/events/batch', { events: [event(), one, event()] });
      expect(batch).toEqual({ status: 202, body: { totalEvents: 3, successful: 3, failed: 0, duplicates: 1 } });
      const wrongBatch = await post(byHand, '/events/batch', { events: [event(), event({ storeId: '' })] });
      expect(wrongBatch).toMatchObject({ status: 400, body: { field: 'events.1.storeId' } });
      // ClickHouse gathers single events for a moment, and nobody waits for that.
      while ((await places.count(PEER_TABLE)).clickhouse < before.clickhouse + 3) await Bun.sleep(20);
      const after = await places.count(PEER_TABLE);
      expect(PLACES.map((place) => after[place] - before[place])).toEqual([3, 3, 3]);
      const [message] = (await readTopic({ brokers: kafka.brokers, topic: 'by-hand' })).filter(({ value }) =>
        value?.includes(String(one['eventId'])),
      );
      expect(message?.key).toBe(String(one['sessionId']));
      expect(JSON.parse(message?.value ?? '')).toEqual(one);
    },
    TIMEOUT_MS,
  );

  test(
    'no acknowledgement comes before Kafka has the event',
    async () => {
      const before = await places.count(PEER_TABLE);
      await kafka.freeze();
      let answered = 0;
      const replies = [byHand, kafkaOnly].map((peer) => post(peer, '/events', event()).finally(() => answered++));
      // Both services live meanwhile, and answer what needs no Kafka.
      for (let request = 0; request < 50; request++) {
        expect((await post(byHand, '/events', {})).status).toBe(400);
        expect((await post(kafkaOnly, '/events', {})).status).toBe(400);
      }
      expect(answered).toBe(0);
      await kafka.thaw();
      expect((await Promise.all(replies)).map(({ status }) => status)).toEqual([202, 202]);
      while ((await places.count(PEER_TABLE)).clickhouse === before.clickhouse) await Bun.sleep(20);
      expect((await places.count(PEER_TABLE)).kafka).toBe(before.kafka + 2);
    },
    TIMEOUT_MS,
  );

  test(
    'under load, all that was acknowledged arrives, once, and the figures are there',
    async () => {
      const closed = { what: '', pace: { inFlight: 1 } } as const;
      const loads: Load[] = [
        { ...closed, name: 'single', kind: 'single', connections: 4, eventsPerRequest: 1 },
        { ...closed, name: 'batch', kind: 'batch', connections: 2, eventsPerRequest: 100 },
      ];
      const services = [byHand, kafkaOnly, ...flumes].map((peer) => ({ peer, table: PEER_TABLE }));
      const options = { rounds: 1, warmupSeconds: 0.2, seconds: 0.5, seed: 1, titles: 'mixed' } as Options;
      const context = {
        options,
        runGenerator: createRunGenerator(children, NO_PINNING),
        progress: () => undefined,
        arrivalTimeoutMs: 30_000,
      };
      const runs = await measurePeerRounds(context, loads, services, places);
      const counted = runs.filter(({ round }) => round > 0);
      expect(counted.map(({ load, server }) => `${load} ${server}`)).toEqual(
        loads.flatMap(({ name }) => services.map(({ peer }) => `${name} ${peer.name}`)),
      );
      for (const { result, mismatches, arrived, ownMicrosPerEvent } of runs) {
        expect(result).toMatchObject({ problems: {}, unanswered: 0 });
        expect(mismatches).toEqual([]);
        expect(arrived.kafka).toBe(result.eventsSent);
        expect(ownMicrosPerEvent).toBeGreaterThan(0);
      }
    },
    TIMEOUT_MS,
  );

  test(
    'a service that acknowledges what it does not keep is found out',
    async () => {
      const liar = Bun.serve({
        hostname: '127.0.0.1',
        port: 0,
        fetch: () => new Response('{}', { status: 202 }),
      });
      const peer: Peer = {
        ...kafkaOnly,
        name: 'liar',
        answers: 'plain',
        port: liar.port as number,
      };
      const load: Load = {
        name: 'single',
        what: '',
        kind: 'single',
        connections: 2,
        eventsPerRequest: 1,
        pace: { inFlight: 1 },
      };
      const options = { rounds: 1, warmupSeconds: 0.05, seconds: 0.1, seed: 1, titles: 'ascii' } as Options;
      const context = {
        options,
        runGenerator: createRunGenerator(children, NO_PINNING),
        progress: () => undefined,
        arrivalTimeoutMs: 100,
      };
      const runs = await measurePeerRounds(context, [load], [{ peer, table: PEER_TABLE }], places);
      await liar.stop(true);
      expect(runs.flatMap(({ mismatches }) => mismatches).join()).toMatch(
        /^liar acknowledged \d+ of \d+ events, and 0 are in kafka/,
      );
    },
    TIMEOUT_MS,
  );
});
