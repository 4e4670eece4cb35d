/** What reading topics back needs of a client library, and kafkajs 2.2.4 offering it. */
import { setTimeout as sleep } from 'node:timers/promises';

import { KafkaError } from './kafka-client.ts';
import { kafkaError } from './kafka-errors.ts';
import { createKafkaJsOpener, type KafkaJsClientDeps, registerZstd } from './kafka-kafkajs.ts';
import type { KafkaConnectionOptions } from './kafka-options.ts';

/** The offsets of a partition that can be read now: from `firstOffset` on, and not `endOffset`. */
export interface PartitionSpan {
  readonly partition: number;
  readonly firstOffset: number;
  readonly endOffset: number;
}

export const OFFSET_OUT_OF_RANGE = 'kafka_offset_out_of_range';

export interface KafkaPage {
  /** The values of messages from the offset that was asked for on, in order; null is a tombstone. */
  readonly messages: readonly { readonly offset: number; readonly value: Buffer | null }[];
  /** Where the next page begins. The offset that was asked for: the broker gave nothing. */
  readonly nextOffset: number;
}

/**
 * Reads without a consumer group, so that nothing is left behind on the cluster and permission to read the topics is
 * enough. Everything throws `KafkaError`: `no_topic` when the topic is not there, `partition` when no leader is found.
 */
export interface KafkaReader {
  spans(topic: string): Promise<readonly PartitionSpan[]>;
  /** By partition: the first offset with this timestamp (ms since 1970) or a later one; absent when there is none. */
  offsetsAt(topic: string, timeMs: number): Promise<ReadonlyMap<number, number>>;
  /** Throws `KafkaError` with the code `OFFSET_OUT_OF_RANGE` when the offset has been removed. */
  read(topic: string, partition: number, offset: number): Promise<KafkaPage>;
  /** Cuts the connections: what is waited for fails at once. */
  close(): void;
}

/** Decoded without a pause, so this is what delivery waits for: 15 to 20 ms, of 4 µs a message. */
const PAGE_BYTES = 524_288;
const FETCH_WAIT_MS = 1_000;
/** Three seconds in all: longer than an election. */
const ATTEMPTS_MAX = 10;
const ATTEMPT_PAUSE_MS = 300;
const CONSUMER = -1;
const READ_UNCOMMITTED = 0;
const FROM_BEGINNING = true;

interface Broker {
  fetch(request: object): Promise<{ readonly responses: readonly FetchedTopic[] }>;
}

interface FetchedTopic {
  readonly partitions: readonly { readonly messages: readonly FetchedMessage[] }[];
}

interface FetchedMessage {
  readonly offset: string;
  readonly value: Buffer | null;
  readonly isControlRecord?: boolean;
}

interface OffsetQuery {
  readonly topic: string;
  readonly partitions: readonly { readonly partition: number }[];
  readonly fromBeginning?: boolean;
  readonly fromTimestamp?: number;
}

interface TopicOffsets {
  readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
}

/** https://github.com/tulios/kafkajs/blob/v2.2.4/src/cluster/index.js */
interface Cluster {
  connect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  refreshMetadata(): Promise<void>;
  refreshMetadataIfNecessary(): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Readonly<Record<string, readonly number[]>>;
  findBroker(query: { readonly nodeId: string }): Promise<Broker>;
  fetchTopicsOffset(queries: readonly OffsetQuery[]): Promise<readonly TopicOffsets[]>;
}

/**
 * kafkajs's consumer joins a group and commits; what is below it, the cluster with its connections and leaders, does not,
 * but only `Kafka` itself makes one, under this symbol: https://github.com/tulios/kafkajs/blob/v2.2.4/src/index.js
 */
const CREATE_CLUSTER = 'private:Kafka:createCluster';

function createCluster(kafka: object): Cluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === CREATE_CLUSTER);
  const create = symbol && (kafka as Record<symbol, (options: object) => Cluster>)[symbol];
  if (create === undefined) throw new Error('this version of kafkajs makes its clusters elsewhere');
  return create({ metadataMaxAge: 300_000, allowAutoTopicCreation: false, isolationLevel: READ_UNCOMMITTED });
}

/** Connects. Throws `KafkaError`. Once the signal aborts, everything fails. */
export async function openKafkaJsReader(
  options: KafkaConnectionOptions,
  deps: KafkaJsClientDeps,
  signal: AbortSignal,
): Promise<KafkaReader> {
  // Somebody may have written with it before, or the topic itself asks for it.
  registerZstd();
  const { kafka, connections } = createKafkaJsOpener(options, deps)();
  const cluster = createCluster(kafka);

  function close(): void {
    signal.removeEventListener('abort', close);
    connections.end();
  }

  /** A partition whose leader has moved, or is not chosen yet, is asked for again. */
  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        signal.throwIfAborted();
        return await work();
      } catch (thrown) {
        const error = kafkaError(thrown);
        const mayPass = error.kind === 'partition' && error.code !== OFFSET_OUT_OF_RANGE;
        if (!mayPass || attempt === ATTEMPTS_MAX || signal.aborted) throw error;
        await sleep(ATTEMPT_PAUSE_MS);
        // If this fails, so does the next attempt.
        await cluster.refreshMetadata().catch(() => undefined);
      }
    }
  }

  async function partitionsOf(topic: string): Promise<{ readonly partition: number }[]> {
    await cluster.addTargetTopic(topic);
    await cluster.refreshMetadataIfNecessary();
    const found = cluster.findTopicPartitionMetadata(topic);
    if (found.length === 0) throw new KafkaError('no_topic', 'kafka_unknown_topic_or_partition', `no topic ${topic}`);
    return found.map(({ partitionId }) => ({ partition: partitionId }));
  }

  async function offsets(query: OffsetQuery): Promise<Map<number, number>> {
    const [answer] = await cluster.fetchTopicsOffset([query]);
    return new Map(answer?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  }

  async function spans(topic: string): Promise<PartitionSpan[]> {
    const partitions = await partitionsOf(topic);
    const ends = await offsets({ topic, partitions, fromBeginning: !FROM_BEGINNING });
    const firsts = await offsets({ topic, partitions, fromBeginning: FROM_BEGINNING });
    return partitions.map(({ partition }) => ({
      partition,
      firstOffset: firsts.get(partition) ?? 0,
      endOffset: ends.get(partition) ?? 0,
    }));
  }

  async function offsetsAt(topic: string, timeMs: number): Promise<Map<number, number>> {
    const found = await offsets({ topic, partitions: await partitionsOf(topic), fromTimestamp: timeMs });
    return new Map([...found].filter(([, offset]) => offset >= 0));
  }

  async function read(topic: string, partition: number, offset: number): Promise<KafkaPage> {
    await cluster.refreshMetadataIfNecessary();
    const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
    if (nodeId === undefined) {
      throw new KafkaError('partition', 'kafka_unknown_partition', `Kafka: ${topic} has no partition ${partition}`);
    }
    const broker = await cluster.findBroker({ nodeId });
    const { responses } = await broker.fetch({
      replicaId: CONSUMER,
      isolationLevel: READ_UNCOMMITTED,
      maxWaitTime: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytes: PAGE_BYTES,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: PAGE_BYTES }] }],
    });
    return pageOf(responses[0]?.partitions[0]?.messages ?? [], offset);
  }

  signal.addEventListener('abort', close, { once: true });
  try {
    await guarded(() => cluster.connect());
  } catch (error) {
    close();
    throw error;
  }
  return {
    spans: (topic) => guarded(() => spans(topic)),
    offsetsAt: (topic, timeMs) => guarded(() => offsetsAt(topic, timeMs)),
    read: (topic, partition, offset) => guarded(() => read(topic, partition, offset)),
    close,
  };
}

/** A batch comes whole, also when what was asked for stands in its middle. */
function pageOf(fetched: readonly FetchedMessage[], from: number): KafkaPage {
  let nextOffset = from;
  const messages: { offset: number; value: Buffer | null }[] = [];
  for (const { offset: text, value, isControlRecord } of fetched) {
    const offset = Number(text);
    if (offset < nextOffset) continue;
    nextOffset = offset + 1;
    if (isControlRecord !== true) messages.push({ offset, value });
  }
  return { messages, nextOffset };
}
