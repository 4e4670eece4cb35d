/** A Kafka broker of one's own: KRaft, one node, controller included. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatData, kafkaCommand } from './kafka-install.ts';
import { type KafkaPorts, type KafkaSecurity, kafkaProperties, propertiesText } from './kafka-properties.ts';
import { exchange, freePort } from './ports.ts';
import { type Server, startServer } from './server.ts';

/** Two to five seconds on two free cores; many times that while other tests run. */
const READY_TIMEOUT_MS = 90_000;
const PROBE_TIMEOUT_MS = 5_000;
const HEAP_MEGABYTES = 512;

export interface KafkaOptions extends KafkaSecurity {
  /** Of `brokers`. Default: a free one. */
  readonly port?: number;
  readonly folder?: string;
  /**
   * Lines of server.properties beyond or instead of ours, such as `{ 'message.max.bytes': '1000' }`. Topics are not created
   * by being named unless `auto.create.topics.enable` is `true`; a new one has 3 partitions.
   */
  readonly properties?: Readonly<Record<string, string>>;
  /** The port of a proxy through which clients come, see `Kafka.proxyTarget`. */
  readonly proxyPort?: number;
}

export interface Kafka extends Server {
  /** `127.0.0.1:<port>`, without encryption or login; always there. */
  readonly brokers: string;
  /** With `sasl`: login, no encryption. */
  readonly saslBrokers: string;
  /** With `tls`: encryption. */
  readonly tlsBrokers: string;
  /** With both. */
  readonly saslTlsBrokers: string;
  /** With `proxyPort`: where the proxy passes bytes on to. This listener tells clients to come back to the proxy's port. */
  readonly proxyTarget: { readonly host: string; readonly port: number };
}

/** Resolves once it takes requests. Throws when Java or the jars are missing: ask `available` first. */
export async function startKafka(options: KafkaOptions = {}): Promise<Kafka> {
  let ports = await choosePorts(options.port);
  let isFirst = true;

  const server = await startServer({
    name: 'Kafka',
    folder: options.folder,
    readyTimeoutMs: READY_TIMEOUT_MS,
    async choosePorts() {
      if (!isFirst) ports = await choosePorts(options.port);
      isFirst = false;
    },
    async prepare(folder, dataFolder) {
      const propertiesFile = join(folder, 'server.properties');
      const properties = kafkaProperties(folder, ports, options, options.proxyPort);
      writeFileSync(propertiesFile, propertiesText({ ...properties, ...options.properties }));
      if (!existsSync(dataFolder)) await formatData(folder, dataFolder, scramUsers(options));
      return kafkaCommand(HEAP_MEGABYTES, propertiesFile);
    },
    isReady: () => isAnswering(ports.plain),
  });
  const at = (port: number) => `127.0.0.1:${port}`;
  return {
    ...server,
    brokers: at(ports.plain),
    saslBrokers: at(ports.sasl),
    tlsBrokers: at(ports.tls),
    saslTlsBrokers: at(ports.saslTls),
    proxyTarget: { host: '127.0.0.1', port: ports.proxied },
  };
}

async function choosePorts(given: number | undefined): Promise<KafkaPorts> {
  const chosen = new Set<number>(given === undefined ? [] : [given]);
  while (chosen.size < 6) chosen.add(await freePort());
  const [plain = 0, controller = 0, sasl = 0, tls = 0, saslTls = 0, proxied = 0] = chosen;
  return { plain, controller, sasl, tls, saslTls, proxied };
}

function scramUsers({ sasl }: KafkaSecurity): string[] {
  if (sasl === undefined) return [];
  return ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map(
    (mechanism) => `${mechanism}=[name=${sasl.username},password=${sasl.password}]`,
  );
}

/**
 * ApiVersions, version 0 (KIP-35): the broker answers once it is registered with its controller and takes requests. Length,
 * API key 18, version 0, correlation id 1, no client id; the answer begins with its length and repeats the correlation id.
 */
async function isAnswering(port: number): Promise<boolean> {
  const request = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
  const isWhole = (reply: Buffer) => reply.length >= 10 && reply.length >= 4 + reply.readInt32BE(0);
  const reply = await exchange(port, request, isWhole, PROBE_TIMEOUT_MS);
  return reply !== undefined && reply.readInt32BE(4) === 1 && reply.readInt16BE(8) === 0;
}
