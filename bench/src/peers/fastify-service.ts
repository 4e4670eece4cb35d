/**
 * Event ingestion as people write it by hand: Fastify, zod, ioredis, kafkajs and @clickhouse/client, one round trip per
 * request to each server, in the form in which these packages are quickest. Argument: `FastifySettings` as JSON.
 */
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import createFastify from 'fastify';
import { Redis } from 'ioredis';
import kafkajs from 'kafkajs';
import { z } from 'zod';
import type { FastifySettings } from './fastify.ts';

const HOST = '127.0.0.1';
const BODY_BYTES_MAX = 16 * 1024 * 1024;
const BATCH_EVENTS_MAX = 5_000;
const WINDOW_SECONDS = 3_600;
/** Of every replica. */
const ACKS_ALL = -1;

const cartEvent = z.strictObject({
  eventId: z.string().min(1).max(128),
  eventType: z.enum([
    'cart_created',
    'cart_updated',
    'cart_abandoned',
    'item_added',
    'item_removed',
    'purchase_completed',
  ]),
  timestamp: z.iso.datetime({ offset: true }),
  userId: z.string().min(1).max(128).optional(),
  sessionId: z.string().min(1).max(128),
  storeId: z.string().min(1).max(64),
  data: z.looseObject({}),
  metadata: z.looseObject({ userAgent: z.string().max(1_024).optional() }).optional(),
});
const cartEvents = z.strictObject({ events: z.array(cartEvent).min(1).max(BATCH_EVENTS_MAX) });
type CartEvent = z.infer<typeof cartEvent>;

const { port, brokers, topic, redisUrl, clickhouse } = JSON.parse(process.argv[2] ?? '') as FastifySettings;

const redis = redisUrl === undefined ? undefined : new Redis(redisUrl, { enableAutoPipelining: true });
const kafka = new kafkajs.Kafka({ brokers: [brokers], logLevel: kafkajs.logLevel.ERROR });
const producer = kafka.producer({
  allowAutoTopicCreation: false,
  createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
});
const store =
  clickhouse === undefined
    ? undefined
    : createClient({
        url: clickhouse.url,
        max_open_connections: 64,
        clickhouse_settings: { date_time_input_format: 'best_effort' },
      });

const keyOf = ({ storeId, eventId }: CartEvent) => `event:${storeId}:${eventId}`;

async function isNew(event: CartEvent): Promise<boolean> {
  return redis === undefined || (await redis.set(keyOf(event), '1', 'EX', WINDOW_SECONDS, 'NX')) === 'OK';
}

async function newOnes(events: readonly CartEvent[]): Promise<readonly CartEvent[]> {
  if (redis === undefined) return events;
  const pipeline = redis.pipeline();
  for (const event of events) pipeline.set(keyOf(event), '1', 'EX', WINDOW_SECONDS, 'NX');
  const verdicts = await pipeline.exec();
  return events.filter((_, index) => {
    const [error, reply] = verdicts?.[index] ?? [new Error('no reply from Redis')];
    if (error) throw error;
    return reply === 'OK';
  });
}

async function keep(events: readonly CartEvent[]): Promise<void> {
  const messages = events.map((event) => ({ key: event.sessionId, value: JSON.stringify(event) }));
  const sent = producer.send({ topic, acks: ACKS_ALL, messages });
  await Promise.all([sent, store === undefined ? undefined : insert(store, events)]);
}

/**
 * Single events are gathered by ClickHouse (async_insert), and nobody waits for that: Kafka has them by then. A batch is
 * an insert of its own.
 */
async function insert(client: ClickHouseClient, events: readonly CartEvent[]): Promise<void> {
  await client.insert({
    table: clickhouse?.table ?? '',
    format: 'JSONEachRow',
    values: events.map(({ data, metadata, ...event }) => ({
      ...event,
      data: JSON.stringify(data),
      metadata: JSON.stringify(metadata ?? {}),
    })),
    clickhouse_settings: events.length === 1 ? { async_insert: 1, wait_for_async_insert: 0 } : { async_insert: 0 },
  });
}

const app = createFastify({ bodyLimit: BODY_BYTES_MAX });
const text = { type: 'string' } as const;
const number = { type: 'integer' } as const;
const oneReply = { type: 'object', properties: { eventId: text, status: text } } as const;
const refusal = { type: 'object', properties: { error: text, message: text, field: text } } as const;
const batchReply = {
  type: 'object',
  properties: { totalEvents: number, successful: number, failed: number, duplicates: number },
} as const;

app.post(
  '/events',
  { schema: { response: { 200: oneReply, 202: oneReply, 400: refusal } } },
  async (request, reply) => {
    const parsed = cartEvent.safeParse(request.body);
    if (!parsed.success) return reply.code(400).send(invalid(parsed.error));
    const event = parsed.data;
    if (!(await isNew(event))) return reply.code(200).send({ eventId: event.eventId, status: 'duplicate' });
    await keep([event]);
    return reply.code(202).send({ eventId: event.eventId, status: 'accepted' });
  },
);

app.post('/events/batch', { schema: { response: { 202: batchReply, 400: refusal } } }, async (request, reply) => {
  const parsed = cartEvents.safeParse(request.body);
  if (!parsed.success) return reply.code(400).send(invalid(parsed.error));
  const { events } = parsed.data;
  const fresh = await newOnes(events);
  if (fresh.length > 0) await keep(fresh);
  const counts = { totalEvents: events.length, successful: events.length, failed: 0 };
  return reply.code(202).send({ ...counts, duplicates: events.length - fresh.length });
});

function invalid(error: z.ZodError) {
  const [issue] = error.issues;
  return { error: 'invalid_event', message: issue?.message, field: issue?.path.join('.') };
}

await producer.connect();
await app.listen({ host: HOST, port });

process.once('SIGTERM', async () => {
  await app.close();
  await Promise.all([producer.disconnect(), redis?.quit(), store?.close()]);
});
