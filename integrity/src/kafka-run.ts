/** The service with a Kafka broker that a test takes away and gives back, with writers on it all the time. */
import { expect } from 'bun:test';
import { type Kafka, startKafka, startTcpProxy, type TcpProxy } from '@libs/services';
import type { Rewrite } from './fault-source.preload.ts';
import {
  compareTopics,
  type HeldRow,
  readHeld,
  readTopics,
  type TopicFindings,
  type TopicRules,
} from './kafka-audit.ts';
import { type OutageRun, type OutageRunOptions, startOutageRun, unbalanced } from './outage-run.ts';
import { cleanUp } from './service.ts';

export interface KafkaRunOptions extends Omit<OutageRunOptions, 'settings'> {
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of the broker's server.properties. */
  readonly properties?: Readonly<Record<string, string>>;
  /** True: the service reaches the broker through `proxy`. */
  readonly proxied?: boolean;
}

export interface KafkaRun extends OutageRun {
  readonly kafka: Kafka;
  /** With `proxied` only. */
  readonly proxy: TcpProxy;
  /** Broken promises after everything is drained and the service has ended. */
  finish(options?: KafkaFinish): Promise<{ readonly broken: readonly string[]; readonly topics: TopicFindings }>;
}

export interface KafkaFinish extends Partial<TopicRules> {
  /** Rows that must be on their topics; default: all. */
  readonly due?: (row: HeldRow) => boolean;
}

/** As `service.ts` sets it. */
export const BLOCK_ROWS_MAX = 500;
/** Segments that a busy machine makes in time: a refusal is then about Kafka. */
const KAFKA_SETTINGS = { KAFKA_PARTITIONS: '3', JOURNAL_SEGMENT_BYTES: String(16 << 20) };
/** Breaths of ten seconds between two attempts are too long for a test. */
export const HASTY: Rewrite = {
  file: 'apps/ingestion/src/settings.ts',
  find: 'RETRY_MAX_MS = 10_000',
  replace: 'RETRY_MAX_MS = 1_000',
};
/** A run proves nothing unless much was promised. */
const ACCEPTED_MIN = 1_000;

const open = new Set<{ close(): Promise<void> }>();

export async function startKafkaRun(options: KafkaRunOptions): Promise<KafkaRun> {
  const { seed, settings, properties = {}, proxied = false, rewrites = [HASTY] } = options;
  const proxy = await startTcpProxy();
  open.add(proxy);
  const kafka = await startKafka({ properties, ...(proxied ? { proxyPort: proxy.port } : {}) });
  open.add(kafka);
  if (proxied) proxy.target = kafka.proxyTarget;
  const brokers = proxied ? `127.0.0.1:${proxy.port}` : kafka.brokers;
  const run = await startOutageRun({
    seed,
    rewrites,
    settings: { ...KAFKA_SETTINGS, KAFKA_BROKERS: brokers, ...settings },
  });

  async function finish({ due = () => true, ...rules }: KafkaFinish = {}) {
    const report = run.probe()?.report();
    await run.quiet();
    await run.drained();
    const stored = await run.stored();
    const broken = [...run.broken(stored), ...unbalanced(await run.reconcile(), stored)];
    const held = (await readHeld(run.service.url)).filter(due);
    const topics = compareTopics(held, await readTopics(kafka.brokers), {
      blockRowsMax: BLOCK_ROWS_MAX,
      cutShort: run.hasKilled(),
      ...rules,
    });
    broken.push(...topics.broken, ...(await run.stop(stored)));
    print(`${stored.count} stored, ${topics.messages} on topics, ${topics.repeats} of them repeats; ${report ?? ''}`);
    return { broken, topics };
  }

  return { ...run, kafka, proxy, finish };
}

/** With writers on it, and Kafka connected. */
export async function startUnderLoad(options: KafkaRunOptions): Promise<KafkaRun> {
  const run = await startKafkaRun(options);
  run.load();
  await run.acknowledged(500);
  await back(run);
  return run;
}

/** Waits until `/sinks` says that Kafka is away, and why; accept goes on. */
export async function away(run: KafkaRun): Promise<void> {
  run.probe()?.phase('during');
  await run.sinkIs('kafka', ({ state, lastError }) => state !== 'healthy' && lastError !== undefined, 'away');
  await run.acknowledged(400);
}

/** Waits until `/sinks` says that all is well. */
export async function back(run: KafkaRun): Promise<void> {
  run.probe()?.phase('after');
  await run.sinkIs('kafka', ({ state, lastError }) => state === 'healthy' && lastError === undefined, 'healthy');
}

/** Ends it; every promise must have been kept. */
export async function expectRouted(run: KafkaRun, options: KafkaFinish = {}): Promise<TopicFindings> {
  const { broken, topics } = await run.finish(options);
  expect({ seed: run.seed, broken }).toEqual({ seed: run.seed, broken: [] });
  expect(run.ledger.counts().accepted).toBeGreaterThan(ACCEPTED_MIN);
  return topics;
}

/** For `afterEach`: ends everything that was started here. */
export async function cleanUpKafka(): Promise<void> {
  await cleanUp();
  for (const one of open) await one.close();
  open.clear();
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
