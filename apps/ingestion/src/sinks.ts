/**
 * Where events go: the store always, Kafka and downstream services by configuration. The libraries of those that are not
 * configured are not even loaded.
 */
import { createStoreSink, type Store } from '@libs/database';
import type { SinkEntry } from '@libs/delivery';
import type { KafkaAudit } from '@libs/messaging/kafka';
import type { Logger } from '@libs/monitoring';
import type { Config } from './config.ts';
import * as settings from './settings.ts';

export async function buildSinks(config: Config, store: Store, logger: Logger): Promise<readonly SinkEntry[]> {
  return [
    {
      sink: createStoreSink(store, { logger }),
      from: 'oldest',
      required: true,
      blockIntervalMs: config.STORE_INTERVAL_MS,
    },
    ...(config.kafkaBrokers.length === 0 ? [] : [await buildKafka(config, logger)]),
    ...(Object.keys(config.downstreams).length === 0 ? [] : await buildDownstreams(config, logger)),
  ];
}

async function buildKafka(config: Config, logger: Logger): Promise<SinkEntry> {
  const { createKafkaJsClient, createKafkaSink } = await import('@libs/messaging/kafka');
  const nowMs = () => performance.now();
  const client = createKafkaJsClient(settings.kafkaConnection(config), { logger, nowMs });
  const sink = createKafkaSink(settings.kafkaSink(config), { client, logger, nowMs });
  return { sink, from: 'now', required: true };
}

/** Undefined where nothing goes to Kafka. Connects when it is asked, and not before. */
export async function buildKafkaAudit(config: Config, logger: Logger): Promise<KafkaAudit | undefined> {
  if (config.kafkaBrokers.length === 0) return undefined;
  const { createKafkaAudit, openKafkaJsReader } = await import('@libs/messaging/kafka');
  const nowMs = () => performance.now();
  const { routes } = settings.kafkaSink(config);
  const connection = settings.kafkaConnection(config);
  return createKafkaAudit(
    { routes },
    { nowMs, openReader: (signal) => openKafkaJsReader(connection, { logger, nowMs }, signal) },
  );
}

async function buildDownstreams({ downstreams }: Config, logger: Logger): Promise<SinkEntry[]> {
  const { createDownstreamSink } = await import('@libs/messaging/downstream');
  return Object.entries(downstreams).map(([name, { from, required, backlogEventsMax, ...options }]) => ({
    sink: createDownstreamSink({ ...options, name }, { logger }),
    from,
    required,
    ...(backlogEventsMax === undefined ? {} : { backlogEventsMax }),
  }));
}
