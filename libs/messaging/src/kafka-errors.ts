/** What an error of kafkajs means: by the broker's error name or the error's class, never by its text. */
import { KafkaError, type KafkaErrorKind } from './kafka-client.ts';

/** https://kafka.apache.org/protocol.html#protocol_error_codes; what is not listed says something about a partition. */
const KINDS_BY_TYPE: Readonly<Record<string, KafkaErrorKind>> = {
  MESSAGE_TOO_LARGE: 'refused',
  RECORD_LIST_TOO_LARGE: 'refused',
  INVALID_RECORD: 'refused',
  INVALID_TIMESTAMP: 'refused',
  UNKNOWN_TOPIC_OR_PARTITION: 'no_topic',
  INVALID_TOPIC_EXCEPTION: 'no_topic',
  OUT_OF_ORDER_SEQUENCE_NUMBER: 'producer',
  DUPLICATE_SEQUENCE_NUMBER: 'producer',
  UNKNOWN_PRODUCER_ID: 'producer',
  INVALID_PRODUCER_EPOCH: 'producer',
  INVALID_PRODUCER_ID_MAPPING: 'producer',
  THROTTLING_QUOTA_EXCEEDED: 'overloaded',
  POLICY_VIOLATION: 'not_authorized',
  TOPIC_AUTHORIZATION_FAILED: 'not_authorized',
  CLUSTER_AUTHORIZATION_FAILED: 'not_authorized',
  SASL_AUTHENTICATION_FAILED: 'not_authorized',
  UNSUPPORTED_SASL_MECHANISM: 'not_authorized',
  ILLEGAL_SASL_STATE: 'not_authorized',
  BROKER_NOT_AVAILABLE: 'unreachable',
  NETWORK_EXCEPTION: 'unreachable',
  UNKNOWN: 'unknown',
  KAFKAJS_UNKNOWN_ERROR_CODE: 'unknown',
};

/** Classes of errors that carry no name from the broker. */
const KINDS_BY_CLASS: Readonly<Record<string, readonly [KafkaErrorKind, string]>> = {
  KafkaJSRequestTimeoutError: ['timeout', 'kafka_request_timed_out'],
  KafkaJSLockTimeout: ['timeout', 'kafka_request_timed_out'],
  KafkaJSTimeout: ['timeout', 'kafka_request_timed_out'],
  KafkaJSConnectionError: ['unreachable', 'kafka_unreachable'],
  KafkaJSConnectionClosedError: ['unreachable', 'kafka_connection_closed'],
  KafkaJSBrokerNotFound: ['unreachable', 'kafka_unreachable'],
  KafkaJSNoBrokerAvailableError: ['unreachable', 'kafka_unreachable'],
  KafkaJSMetadataNotLoaded: ['no_topic', 'kafka_unknown_topic_or_partition'],
  KafkaJSTopicMetadataNotLoaded: ['no_topic', 'kafka_unknown_topic_or_partition'],
  KafkaJSSASLAuthenticationError: ['not_authorized', 'kafka_sasl_authentication_failed'],
};

const CAUSES_MAX = 5;
const MESSAGE_LENGTH_MAX = 300;

interface Found {
  readonly name?: unknown;
  readonly type?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
}

/** Turns what kafkajs threw into our error; the innermost cause that says what happened decides. */
export function kafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  const chain = causes(error);
  const message = text(chain.at(-1)).slice(0, MESSAGE_LENGTH_MAX);
  for (const one of chain.toReversed()) {
    if (typeof one.type === 'string') {
      const kind = KINDS_BY_TYPE[one.type] ?? 'partition';
      return new KafkaError(kind, `kafka_${one.type.toLowerCase()}`, `Kafka: ${text(one)} (${one.type})`, error);
    }
    const [kind, code] = KINDS_BY_CLASS[String(one.name)] ?? [];
    if (kind !== undefined && code !== undefined) return new KafkaError(kind, code, `Kafka: ${message}`, error);
  }
  return new KafkaError('unknown', 'kafka_failed', `Kafka: ${message}`, error);
}

/** The error, its cause, the cause's cause … An error that stands for several is taken for its first. */
function causes(error: unknown): Found[] {
  const chain: Found[] = [];
  let next: unknown = error;
  while (typeof next === 'object' && next !== null && chain.length < CAUSES_MAX) {
    const one: Found = next;
    chain.push(one);
    next = Array.isArray(one.errors) ? one.errors[0] : one.cause;
  }
  return chain;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
