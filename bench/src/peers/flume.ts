/**
 * Apache Flume, as its packages give it: HTTP in, its file channel, Kafka out. It checks nothing of an event and knows no
 * duplicates, but it acknowledges, as Weir does, what is synced to its own disk.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Peer, type PeerPlan, startPeerProcess } from './peer.ts';

export const FLUME_VERSION = '1.11.0';
export const FLUME_INSTALL = 'sh scripts/with-bun.sh bench/src/peers/flume-install.ts';

const AGENT = 'weir';
/** Of the sink's transactions, as of the batches that come in. */
const BATCH_EVENTS = 1_000;
/** What waits for Kafka at most; beyond it, events are refused. */
const CHANNEL_EVENTS_MAX = 5_000_000;
const HEAP_MEGABYTES = 1_024;

/** Where its jars are, once they are installed. */
export function flumeFolder(): string {
  const cache = process.env['XDG_CACHE_HOME']?.trim() || join(homedir(), '.cache');
  return join(cache, 'weir', `flume-${FLUME_VERSION}`);
}

export function hasFlume(): boolean {
  return existsSync(flumeFolder()) && Bun.which('java') !== null;
}

export interface FlumeSettings {
  /** `host:port` of one. */
  readonly brokers: string;
  readonly topic: string;
  /** Where its own folder is made. */
  readonly parentFolder: string | undefined;
}

export async function startFlume(
  settings: FlumeSettings,
  plan: Omit<PeerPlan, 'argv' | 'answers' | 'form'>,
): Promise<Peer> {
  const { children } = plan;
  const folder = children.makeFolder(settings.parentFolder, 'weir-bench-flume-');
  const file = join(folder, 'flume.properties');
  const heap = [`-Xms${HEAP_MEGABYTES}m`, `-Xmx${HEAP_MEGABYTES}m`];
  const command = ['java', ...heap, '-cp', join(flumeFolder(), '*'), 'org.apache.flume.node.Application'];
  return startPeerProcess(
    {
      ...plan,
      answers: 'plain',
      form: 'flume',
      argv(port) {
        writeFileSync(file, propertiesText(folder, port, settings));
        return [...command, '-n', AGENT, '-f', file, '--no-reload-conf'];
      },
    },
    async () => children.removeFolder(folder),
  );
}

function propertiesText(folder: string, port: number, { brokers, topic }: FlumeSettings): string {
  const properties = {
    sources: 'http',
    channels: 'disk',
    sinks: 'kafka',
    'sources.http.type': 'http',
    'sources.http.bind': '127.0.0.1',
    'sources.http.port': port,
    'sources.http.handler': 'org.apache.flume.source.http.JSONHandler',
    'sources.http.channels': 'disk',
    'channels.disk.type': 'file',
    'channels.disk.checkpointDir': join(folder, 'checkpoint'),
    'channels.disk.dataDirs': join(folder, 'data'),
    'channels.disk.capacity': CHANNEL_EVENTS_MAX,
    'channels.disk.transactionCapacity': 10 * BATCH_EVENTS,
    // Each transaction is synced before it is acknowledged: the default.
    'channels.disk.fsyncPerTransaction': true,
    'sinks.kafka.type': 'org.apache.flume.sink.kafka.KafkaSink',
    'sinks.kafka.channel': 'disk',
    'sinks.kafka.flumeBatchSize': BATCH_EVENTS,
    'sinks.kafka.kafka.bootstrap.servers': brokers,
    'sinks.kafka.kafka.topic': topic,
    'sinks.kafka.kafka.producer.acks': 'all',
  };
  return Object.entries(properties)
    .map(([name, value]) => `${AGENT}.${name} = ${value}\n`)
    .join('');
}
