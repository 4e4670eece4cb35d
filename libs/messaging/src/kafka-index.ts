export {
  createKafkaAudit,
  type KafkaAudit,
  type KafkaAuditDeps,
  type KafkaAuditOptions,
  type KafkaAuditQuery,
  type KafkaCount,
  type KafkaCounts,
} from './kafka-audit.ts';
export { type KafkaPage, type KafkaReader, openKafkaJsReader, type PartitionSpan } from './kafka-audit-reader.ts';
export type {
  KafkaBatch,
  KafkaClient,
  KafkaErrorKind,
  KafkaMessage,
  KafkaProducer,
  NewTopicSettings,
  TopicState,
} from './kafka-client.ts';
export { KafkaError } from './kafka-client.ts';
export { createKafkaJsClient, type KafkaJsClientDeps } from './kafka-kafkajs.ts';
export type { KafkaStored } from './kafka-lane.ts';
export type { KafkaLogger } from './kafka-log.ts';
export {
  KAFKA_COMPRESSIONS,
  KAFKA_SASL_MECHANISMS,
  type KafkaCompression,
  type KafkaConnectionOptions,
  type KafkaSaslMechanism,
  type KafkaTls,
} from './kafka-options.ts';
export { createKafkaSink, type KafkaSink, type KafkaSinkDeps, type KafkaSinkOptions } from './kafka-sink.ts';
export { silenceNegativeTimers } from './kafka-timers.ts';
