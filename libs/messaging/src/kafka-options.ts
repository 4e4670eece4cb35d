/** How to reach a Kafka cluster. Times are milliseconds. */

export const KAFKA_COMPRESSIONS = ['none', 'gzip', 'zstd'] as const;
export type KafkaCompression = (typeof KAFKA_COMPRESSIONS)[number];

export const KAFKA_SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;
export type KafkaSaslMechanism = (typeof KAFKA_SASL_MECHANISMS)[number];

export interface KafkaTls {
  /** PEM; absent: the system's authorities. */
  readonly ca?: string | undefined;
  /** PEM: what we show when the broker asks for a certificate. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export interface KafkaConnectionOptions {
  /** `host:port`, at least one. */
  readonly brokers: readonly string[];
  /** Names us in the brokers' logs and quotas. Default `weir`. */
  readonly clientId?: string | undefined;
  /** Present: encryption. */
  readonly tls?: KafkaTls | undefined;
  readonly sasl?:
    | { readonly mechanism: KafkaSaslMechanism; readonly username: string; readonly password: string }
    | undefined;
  /** How long a broker may take to accept a connection. Default 5,000. */
  readonly connectionTimeoutMs?: number | undefined;
  /** How long a broker may take to answer, its wait for other replicas included. Default 15,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** Default `none`. `zstd` needs brokers and consumers of Kafka 2.1 or later. */
  readonly compression?: KafkaCompression | undefined;
}
