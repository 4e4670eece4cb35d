/** `KafkaClient` by kafkajs 2.2.4: the only file, with those that it imports, that knows this library. */
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip, zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs, { type Admin, type Kafka as KafkaJs, type Producer, type RetryOptions } from 'kafkajs';
import { unlessAborted } from './kafka-abort.ts';
import { createRequestBuffers, type RequestBuffers } from './kafka-buffers.ts';
import {
  type KafkaBatch,
  type KafkaClient,
  KafkaError,
  type KafkaProducer,
  type NewTopicSettings,
  type TopicState,
} from './kafka-client.ts';
import { type Connections, createConnections } from './kafka-connections.ts';
import { kafkaError } from './kafka-errors.ts';
import { createKafkaLog, type KafkaLogger } from './kafka-log.ts';
import type { KafkaCompression, KafkaConnectionOptions } from './kafka-options.ts';
import { type EncodedBatch, takeEncodedBatches } from './kafka-produce.ts';
import { compressedRecords, type Records, recordsOf, sequenceAfter } from './kafka-record-batch.ts';
import { silenceNegativeTimers } from './kafka-timers.ts';

const CONNECTION_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 15_000;

/**
 * The caller tries again with a longer breath; these bridge a moment: a leader that moves, a coordinator that loads. All
 * five are written out because kafkajs has other defaults when NODE_ENV is `test`.
 */
const RETRY: RetryOptions = { retries: 3, initialRetryTime: 100, maxRetryTime: 1_000, factor: 0.2, multiplier: 2 };
/** The least that kafkajs allows an idempotent producer. */
const SEND_RETRY: RetryOptions = { ...RETRY, retries: 1 };

const LEADER_ATTEMPTS_MAX = 10;
const LEADER_PAUSE_MS = 100;

type Compress = (records: Records) => Promise<Records>;

const COMPRESS: Readonly<Record<KafkaCompression, Compress>> = {
  none: async (records) => records,
  gzip: compressWith(promisify(gzip), kafkajs.CompressionTypes.GZIP),
  zstd: compressWith(promisify(zstdCompress), kafkajs.CompressionTypes.ZSTD),
};

function compressWith(compress: (bytes: Buffer) => Promise<Buffer>, codec: number): Compress {
  return async (records) => {
    const bytes = Buffer.allocUnsafe(records.bytesMax);
    const compressed = await compress(bytes.subarray(0, records.write(bytes, 0)));
    return compressedRecords(compressed, codec, records.count);
  };
}

export interface KafkaJsClientDeps {
  readonly logger: KafkaLogger;
  /** A monotonic clock in milliseconds. */
  readonly nowMs: () => number;
  /** Where requests get their memory; absent: the client has buffers of its own. */
  readonly buffers?: RequestBuffers;
}

/** A client of kafkajs and the sockets that it makes; nothing connects yet. */
export interface OpenKafkaJs {
  readonly kafka: KafkaJs;
  readonly connections: Connections;
}

/** Each call opens one of its own. Throws `TypeError` when a broker is not `host:port`. */
export function createKafkaJsOpener(options: KafkaConnectionOptions, deps: KafkaJsClientDeps): () => OpenKafkaJs {
  silenceNegativeTimers();
  const wrong = options.brokers.find((broker) => !/^[^\s:/]+:\d{1,5}$/.test(broker));
  if (wrong !== undefined || options.brokers.length === 0)
    throw new TypeError(`not a broker: ${wrong ?? 'none given'}`);
  const logCreator = createKafkaLog(deps.logger, deps.nowMs);

  return () => {
    const connections = createConnections();
    const kafka = new kafkajs.Kafka({
      brokers: [...options.brokers],
      clientId: options.clientId ?? 'weir',
      ...(options.tls === undefined ? {} : { ssl: definedOnly(options.tls) }),
      ...(options.sasl === undefined ? {} : { sasl: options.sasl as kafkajs.SASLOptions }),
      connectionTimeout: options.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
      authenticationTimeout: options.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
      requestTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      enforceRequestTimeout: true,
      retry: RETRY,
      socketFactory: connections.socketFactory,
      logLevel: kafkajs.logLevel.INFO,
      logCreator,
    });
    return { kafka, connections };
  };
}

/** Builds the client; nothing connects yet. Throws `TypeError` when a broker is not `host:port`. */
export function createKafkaJsClient(options: KafkaConnectionOptions, deps: KafkaJsClientDeps): KafkaClient {
  takeEncodedBatches();
  const open = createKafkaJsOpener(options, deps);
  const compress = COMPRESS[options.compression ?? 'none'];
  const buffers = deps.buffers ?? createRequestBuffers();
  const timeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;

  async function findTopics(names: readonly string[], create: NewTopicSettings | undefined, signal: AbortSignal) {
    const { kafka, connections } = open();
    const admin = kafka.admin({ retry: SEND_RETRY });
    try {
      await unlessAborted(admin.connect(), signal, givenUp);
      const found = new Map<string, TopicState>();
      for (const name of names) found.set(name, await unlessAborted(findTopic(admin, name, create), signal, givenUp));
      return found;
    } catch (error) {
      throw kafkaError(error);
    } finally {
      await closeConnections(admin.disconnect(), connections, AbortSignal.any([signal, AbortSignal.timeout(timeout)]));
    }
  }

  return {
    findTopics,
    createProducer: () => createProducer({ ...open(), compress, buffers, timeout }),
  };
}

/** Brokers refuse to name a topic's partitions for reasons of their own; only a clear `no such topic` makes it missing. */
async function findTopic(admin: Admin, name: string, create: NewTopicSettings | undefined): Promise<TopicState> {
  const before = await readTopic(admin, name);
  if (create === undefined || !('missing' in before)) return before;
  const { partitions: numPartitions, replicationFactor, config = {} } = create;
  const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }));
  try {
    await admin.createTopics({
      topics: [{ topic: name, numPartitions, replicationFactor, configEntries }],
      waitForLeaders: true,
    });
  } catch (error) {
    const { kind, message } = kafkaError(error);
    if (kind === 'timeout' || kind === 'unreachable') throw error;
    return { missing: `it is not there and cannot be created: ${message}` };
  }
  return await readNewTopic(admin, name);
}

/** The cluster names a leader a moment before that broker knows that it is one. */
async function readNewTopic(admin: Admin, name: string): Promise<TopicState> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readTopic(admin, name);
    } catch (error) {
      if (attempt === LEADER_ATTEMPTS_MAX || kafkaError(error).kind !== 'partition') throw error;
      await sleep(LEADER_PAUSE_MS);
    }
  }
}

async function readTopic(admin: Admin, name: string): Promise<TopicState> {
  try {
    // Asks for this topic alone: one that is broken cannot hide the others.
    const offsets = await admin.fetchTopicOffsets(name);
    return { partitions: Math.max(...offsets.map(({ partition }) => partition)) + 1 };
  } catch (error) {
    const known = kafkaError(error);
    if (known.kind !== 'no_topic') throw known;
    return { missing: 'it is not there' };
  }
}

interface ProducerParts extends OpenKafkaJs {
  readonly compress: Compress;
  readonly buffers: RequestBuffers;
  readonly timeout: number;
}

function createProducer({ kafka, connections, compress, buffers, timeout }: ProducerParts): KafkaProducer {
  const producer: Producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    retry: SEND_RETRY,
    createPartitioner: () => givenPartition,
  });
  /** What comes next in each partition. */
  const sequences = new Map<string, number>();

  async function send({ topic, partition, messages }: KafkaBatch): Promise<number | undefined> {
    const records = await compress(recordsOf(messages));
    const place = `${topic} ${partition}`;
    const firstSequence = sequences.get(place) ?? 0;
    let buffer: Buffer | undefined;
    const room = (bytes: number): Buffer => {
      buffer = buffers.take(bytes);
      return buffer;
    };
    const encoded: EncodedBatch = { value: null, partition, records, firstSequence, room };
    const answers = await producer
      .sendBatch({ acks: -1, timeout, topicMessages: [{ topic, messages: [encoded] }] })
      .catch((error: unknown) => {
        throw kafkaError(error);
      });
    // kafkajs leaves out, and says nothing, what belongs to a partition that it does not know.
    const answer = answers.find((one) => one.topicName === topic && one.partition === partition);
    if (answer === undefined) {
      throw new KafkaError('no_topic', 'kafka_unknown_partition', `Kafka: ${topic} has no partition ${partition}`);
    }
    // An attempt that failed may still be on its way out: only what was answered is used again.
    if (buffer !== undefined) buffers.give(buffer);
    sequences.set(place, sequenceAfter(firstSequence, messages.length));
    const offset = Number(answer.baseOffset);
    return Number.isSafeInteger(offset) && offset >= 0 ? offset : undefined;
  }

  return {
    connect: () =>
      producer.connect().catch((error: unknown) => {
        throw kafkaError(error);
      }),
    send,
    reconnect: () => connections.cut('the broker did not answer in time'),
    close: (signal) => closeConnections(producer.disconnect(), connections, signal),
  };
}

function givenPartition({ message }: kafkajs.PartitionerArgs): number {
  return message.partition as number;
}

async function closeConnections(work: Promise<void>, connections: Connections, signal: AbortSignal): Promise<void> {
  // Whatever fails here fails on connections that are about to be cut.
  await unlessAborted(work, signal, givenUp).catch(() => undefined);
  connections.end();
}

function givenUp(cause: unknown): KafkaError {
  return new KafkaError('timeout', 'kafka_given_up', 'Kafka: given up while waiting', cause);
}

function definedOnly<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** To read with: kafkajs brings gzip alone; the runtime has zstd. The list of codecs is the library's own, one for the process. */
export function registerZstd(): void {
  const decompress = promisify(zstdDecompress);
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({ decompress });
}
