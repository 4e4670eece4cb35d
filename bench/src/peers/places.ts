/** Where events end, counted there: a service that acknowledged what it did not keep is found out. */
import { createClient } from '@clickhouse/client';
import { silenceNegativeTimers } from '@libs/messaging/kafka';
import { Redis } from 'ioredis';
import kafkajs from 'kafkajs';

export const PLACES = ['kafka', 'clickhouse', 'redis'] as const;
/** Messages in topics, rows in a table, keys. */
export type Place = (typeof PLACES)[number];
export type Counts = Readonly<Record<Place, number>>;

export interface PlacesUrls {
  /** `host:port` of one. */
  readonly brokers: string;
  readonly clickhouseUrl: string;
  readonly redisUrl: string;
}

/** Of the peers; Weir makes its own. */
export const PEER_TABLE = 'peer.events';
const PARTITIONS = 12;
const RETRY = { retries: 20, initialRetryTime: 100, maxRetryTime: 1_000 };

/** From the settings that make Weir use them. */
export function placesUrls(settings: Readonly<Record<string, string>>): PlacesUrls {
  const { KAFKA_BROKERS: brokers, CLICKHOUSE_URL: clickhouseUrl, REDIS_URL: redisUrl } = settings;
  if (brokers === undefined || clickhouseUrl === undefined || redisUrl === undefined)
    throw new Error('Redis, Kafka and ClickHouse are needed, all three');
  return { brokers, clickhouseUrl, redisUrl };
}

export interface Places {
  createTopics(names: readonly string[]): Promise<void>;
  /** Empty ones; the table as its own author would make it. */
  createTable(): Promise<void>;
  /** All messages of all topics, all rows of `table` (0 while there is none), all keys. */
  count(table: string): Promise<Counts>;
  close(): Promise<void>;
}

export async function openPlaces({ brokers, clickhouseUrl, redisUrl }: PlacesUrls): Promise<Places> {
  silenceNegativeTimers();
  const admin = new kafkajs.Kafka({ brokers: [brokers], logLevel: kafkajs.logLevel.NOTHING, retry: RETRY }).admin();
  const store = createClient({ url: clickhouseUrl });
  const redis = new Redis(redisUrl);

  async function messages(): Promise<number> {
    let sum = 0;
    for (const topic of await admin.listTopics()) {
      for (const { high, low } of await admin.fetchTopicOffsets(topic)) sum += Number(high) - Number(low);
    }
    return sum;
  }

  async function rows(table: string): Promise<number> {
    const [database = '', name = ''] = table.split('.');
    const query =
      'SELECT sum(total_rows) AS rows FROM system.tables WHERE database = {database:String} AND name = {name:String}';
    const result = await store.query({ query, query_params: { database, name }, format: 'JSONEachRow' });
    const [row] = await result.json<{ readonly rows: string | number | null }>();
    return Number(row?.rows ?? 0);
  }

  await admin.connect();
  return {
    async createTopics(names) {
      // A broker that has just made a topic may say for a moment that there is none, which is tried again.
      await admin.createTopics({ topics: names.map((topic) => ({ topic, numPartitions: PARTITIONS })) });
    },
    async createTable() {
      await store.command({ query: 'CREATE DATABASE IF NOT EXISTS peer' });
      await store.command({ query: CREATE_TABLE });
    },
    async count(table) {
      return { kafka: await messages(), clickhouse: await rows(table), redis: await redis.dbsize() };
    },
    async close() {
      await Promise.all([admin.disconnect(), store.close(), redis.quit()]);
    },
  };
}

const CREATE_TABLE = `CREATE TABLE IF NOT EXISTS ${PEER_TABLE} (
  eventId String,
  eventType LowCardinality(String),
  timestamp DateTime64(3, 'UTC'),
  userId Nullable(String),
  sessionId String,
  storeId LowCardinality(String),
  data String,
  metadata String
) ENGINE = MergeTree ORDER BY (storeId, eventType, timestamp)`;
