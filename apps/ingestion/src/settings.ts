/** From the configuration to what each part takes: names and units only. */
import { join } from 'node:path';
import type { QueryLimits, StoreOptions } from '@libs/database';
import type { Journal, JournalOptions } from '@libs/journal';
import type { KafkaConnectionOptions, KafkaSinkOptions } from '@libs/messaging/kafka';
import type { EventLimits } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import { journalTag } from '@libs/pipeline';
import type { Config } from './config.ts';
import type { DeliverLink } from './deliver-link.ts';
import type { Gate } from './gate.ts';
import type { Ingestion } from './ingestion.ts';
import type { OtherJournals } from './other-journals.ts';
import { deliverFolder } from './paths.ts';
import type { RouteLimits } from './routes/deps.ts';
import type { SharedDedupe } from './shared-dedupe.ts';
import type { StoredProgress } from './stored-watch.ts';

/** Events in a JSON batch, and in an array on a socket. */
const BATCH_EVENTS_MAX = 1_000;
/** Of an event's data. */
const DATA_DEPTH_MAX = 32;
const DATA_KEYS_MAX = 1_000;
const QUERY_BYTES_MAX = 1 << 20;
/** Fewer than the threads that deliver has (supervisor-process.ts): the others are for inserts and files. */
const QUERIES_AT_ONCE_MAX = 4;
/** The engine's own limit ends a query first; then its message reaches the caller. */
const QUERY_SLACK_MS = 5_000;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 10_000;
const WRITE_TIMEOUT_MS = 120_000;

export function eventLimits(config: Config): EventLimits {
  return {
    eventBytesMax: config.EVENT_BYTES_MAX,
    dataDepthMax: DATA_DEPTH_MAX,
    dataKeysMax: DATA_KEYS_MAX,
    timestampFutureMaxMs: config.TIMESTAMP_FUTURE_MAX_MS,
    ...(config.TIMESTAMP_AGE_MAX_MS === undefined ? {} : { timestampAgeMaxMs: config.TIMESTAMP_AGE_MAX_MS }),
  };
}

export function storedProgress(config: Config) {
  return {
    otherSinks: otherSinks(config),
    timeoutMs: config.ACK_TIMEOUT_MS,
    monotonicMs: () => performance.now(),
  };
}

export function otherJournals(config: Config) {
  return { otherSinks: otherSinks(config), monotonicMs: () => performance.now() };
}

export function journal(
  config: Config,
  worker: number,
  logger: Logger,
): Omit<JournalOptions, 'disk' | 'onDurable' | 'onFailed'> {
  return {
    dataFolder: config.dataFolder,
    worker,
    workers: config.WEIR_WORKERS,
    limits: {
      segmentBytes: config.JOURNAL_SEGMENT_BYTES,
      bytesMax: config.JOURNAL_BYTES_MAX,
      diskReserveBytes: config.DISK_RESERVE_BYTES,
      windowMs: config.DEDUPE_WINDOW_MS,
      idsMax: config.DEDUPE_IDS_MAX,
    },
    log: (message, fields) => logger.warn(fields, message),
  };
}

/** How long a claim in the shared window lives when its process dies before it is confirmed. */
const CLAIM_MS = 30_000;
/** Ids in one question to it, which the window cuts into calls: so many an answer's time is what a distant Redis lets in. */
const CLAIM_KEYS_MAX = 10_000;

export function sharedDedupe(config: Config) {
  return {
    timeoutMs: config.REDIS_TIMEOUT_MS,
    windowMs: config.DEDUPE_WINDOW_MS,
    claimMs: CLAIM_MS,
    claimKeysMax: CLAIM_KEYS_MAX,
    dataFolder: config.dataFolder,
  };
}

export function streamLimits(config: Config) {
  return {
    creditEvents: config.WS_CREDIT_EVENTS,
    creditBytes: config.WS_CREDIT_BYTES,
    frameBytesMax: config.WS_FRAME_BYTES_MAX,
    heartbeatIntervalMs: config.WS_HEARTBEAT_INTERVAL_MS,
    connectionsMax: config.CONNECTIONS_MAX,
  };
}

export function routeLimits(config: Config): RouteLimits {
  return {
    eventBytesMax: config.EVENT_BYTES_MAX,
    batchBytesMax: config.BATCH_BYTES_MAX,
    batchEventsMax: BATCH_EVENTS_MAX,
    queryBytesMax: QUERY_BYTES_MAX,
    queryTimeoutMs: config.QUERY_TIMEOUT_MS + QUERY_SLACK_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    ackTimeoutMs: config.ACK_TIMEOUT_MS,
  };
}

export function deliveryLimits(config: Config) {
  return {
    blockRowsMax: config.BLOCK_ROWS_MAX,
    blockBytesMax: config.BLOCK_BYTES_MAX,
    flushIntervalMs: config.FLUSH_INTERVAL_MS,
    retryMinMs: RETRY_MIN_MS,
    retryMaxMs: RETRY_MAX_MS,
    writeTimeoutMs: WRITE_TIMEOUT_MS,
    deadLetterBytesMax: config.DEAD_LETTER_BYTES_MAX,
  };
}

export function kafkaConnection(config: Config): KafkaConnectionOptions {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: username, KAFKA_SASL_PASSWORD: password } = config;
  return {
    brokers: config.kafkaBrokers,
    tls: config.kafkaTls,
    sasl: mechanism === undefined ? undefined : { mechanism, username, password },
    compression: config.KAFKA_COMPRESSION,
  };
}

export function kafkaSink(config: Config): KafkaSinkOptions {
  const { KAFKA_PARTITIONS: partitions, KAFKA_REPLICATION: replicationFactor } = config;
  return {
    routes: new Map(Object.entries(config.routes)),
    createTopics: config.KAFKA_TOPICS === 'create' ? { partitions, replicationFactor } : undefined,
  };
}

export function storeOptions(config: Config): StoreOptions {
  const { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password } = config;
  const { CLICKHOUSE_CLUSTER: cluster, clickhouseCa: ca } = config;
  const common = {
    database: config.CLICKHOUSE_DATABASE,
    ...(config.RAW_EVENTS_TTL_DAYS === undefined ? {} : { retentionDays: config.RAW_EVENTS_TTL_DAYS }),
  };
  if (url === undefined) return { ...common, kind: 'embedded', folder: join(deliverFolder(config), 'engine') };
  return {
    ...common,
    kind: 'server',
    url,
    username,
    password,
    ...(cluster === undefined ? {} : { cluster }),
    ...(ca === undefined ? {} : { tls: { ca } }),
  };
}

export function queryLimits(config: Config): Partial<QueryLimits> {
  return {
    timeMsMax: config.QUERY_TIMEOUT_MS,
    memoryBytesMax: config.QUERY_MEMORY_BYTES_MAX,
    resultRowsMax: config.QUERY_ROWS_MAX,
    queryBytesMax: QUERY_BYTES_MAX,
    concurrentMax: QUERIES_AT_ONCE_MAX,
  };
}

export function storeFile(config: Config): string {
  return join(deliverFolder(config), 'store.json');
}

/** Without user and password, which may change. */
export function storeName({ CLICKHOUSE_URL: url, CLICKHOUSE_DATABASE: database }: Config): string {
  if (url === undefined) return 'embedded';
  const hosts = url.split(',').map((one) => new URL(one.trim()).host);
  return `${hosts.toSorted().join(',')}/${database}`;
}

export function stateFile(config: Config): string {
  return join(deliverFolder(config), 'state.sqlite');
}

/** The names of the sinks beside the store. */
function otherSinks({ kafkaBrokers, downstreams }: Config): string[] {
  return [...(kafkaBrokers.length === 0 ? [] : ['kafka']), ...Object.keys(downstreams).map((name) => `http:${name}`)];
}

/** The event types that one of them takes. */
function routedTypes({ kafkaBrokers, routes, downstreams }: Config): ReadonlySet<unknown> {
  return new Set([
    ...(kafkaBrokers.length === 0 ? [] : Object.keys(routes)),
    ...Object.values(downstreams).flatMap(({ eventTypes }) => eventTypes),
  ]);
}

/** What routes and sockets see. */
export function ingestion(
  config: Config,
  parts: {
    gate: Gate;
    journal: Journal;
    stored: StoredProgress;
    others: OtherJournals;
    link: DeliverLink;
    shared: SharedDedupe | undefined;
  },
): Ingestion {
  const { gate, journal, stored, others, link, shared } = parts;
  const ownTag = journalTag(journal.id);
  const routed = routedTypes(config);
  return {
    accept: gate.accept,
    journalId: journal.id,
    journalState: journal.state,
    reachedSeq: (level, tag = ownTag) => (tag === ownTag ? stored.seq(level) : others.seq(tag, level)),
    onReached(listener) {
      const ends = [stored.onAdvance(listener), others.onAdvance((other) => listener(journalTag(other)))];
      return () => {
        for (const end of ends) end();
      };
    },
    isSilent: others.isSilent,
    isRouted: (eventType) => routed.has(eventType),
    deliverState: link.state,
    lastDeliverState: link.lastState,
    askDeliver: link.ask,
    draining: gate.isClosed,
    sharedWindow: shared?.health,
  };
}
