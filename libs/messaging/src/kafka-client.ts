/** What the Kafka sink needs of a client library. Another library takes kafkajs's place by offering this. */

export interface KafkaMessage {
  readonly key: string;
  readonly value: Uint8Array;
  /** The one header. */
  readonly eventId: string;
}

/** Messages for one partition: one record batch, stored whole or not at all. */
export interface KafkaBatch {
  readonly topic: string;
  readonly partition: number;
  readonly messages: readonly KafkaMessage[];
}

export interface NewTopicSettings {
  readonly partitions: number;
  readonly replicationFactor: number;
  /** The topic's own settings, such as `{ 'retention.ms': '604800000' }`. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

/** A topic that is there, with its number of partitions, or why it is not. */
export type TopicState = { readonly partitions: number } | { readonly missing: string };

/** An idempotent producer with acks=all. Never more than one `send` at a time. */
export interface KafkaProducer {
  /** Gets a producer id. Throws `KafkaError`; the producer is of no use then. */
  connect(): Promise<void>;
  /**
   * Resolves with the first message's offset (undefined: the broker did not tell) once every in-sync replica has the batch.
   * Throws `KafkaError`. After `refused` the batch is not stored. After every other error it may be, and sending the same
   * batch again through the same producer stores it once; nothing else may be sent to that partition before.
   */
  send(batch: KafkaBatch): Promise<number | undefined>;
  /** Cuts the connections; the next `send` makes new ones under the same producer id. */
  reconnect(): void;
  /** Waits for what is on its way until the signal aborts, then cuts the connections. Never throws. */
  close(signal: AbortSignal): Promise<void>;
}

export interface KafkaClient {
  /**
   * Asks the cluster for topics and creates those that are not there when `create` is given. Throws `KafkaError` when
   * the cluster does not answer; a topic that it refuses to create is `missing`, with the reason.
   */
  findTopics(
    names: readonly string[],
    create: NewTopicSettings | undefined,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, TopicState>>;
  createProducer(): KafkaProducer;
}

export type KafkaErrorKind =
  /** The broker refuses one of the messages, or the batch's size: half of the batch may pass. */
  | 'refused'
  /** The topic is not there. */
  | 'no_topic'
  /** This producer id can go on no more; a new one can. */
  | 'producer'
  /** This partition does not take anything at the moment: no leader, too few replicas. */
  | 'partition'
  /** The broker asks for less. */
  | 'overloaded'
  /** Login or permission: somebody has to change something, but not the messages. */
  | 'not_authorized'
  /** No answer in time. */
  | 'timeout'
  /** No connection, or it was lost. */
  | 'unreachable'
  /** Anything else. */
  | 'unknown';

/** `code` is `kafka_` and the broker's name of the error in lower case, or ours. */
export class KafkaError extends Error {
  readonly kind: KafkaErrorKind;
  readonly code: string;
  constructor(kind: KafkaErrorKind, code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'KafkaError';
    this.kind = kind;
    this.code = code;
  }
}
