/** server.properties of a broker that is its own controller (KRaft). */
import { join } from 'node:path';
import type { Certificates } from './certificates.ts';

export interface KafkaPorts {
  readonly plain: number;
  readonly controller: number;
  readonly sasl: number;
  readonly tls: number;
  readonly saslTls: number;
  readonly proxied: number;
}

export interface KafkaSecurity {
  /** A user that may log in by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. */
  readonly sasl?: { readonly username: string; readonly password: string };
  /** What the broker shows, and whose client certificates it takes. */
  readonly tls?: Certificates;
  /** The broker refuses clients without a certificate. */
  readonly tlsClientRequired?: boolean;
}

interface Listener {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  /** What clients are told to connect to; default: the port itself. */
  readonly advertisedPort?: number;
}

export function kafkaProperties(
  folder: string,
  ports: KafkaPorts,
  security: KafkaSecurity,
  proxyPort: number | undefined,
): Record<string, string> {
  const listeners = listenersOf(ports, security, proxyPort);
  const controller: Listener = { name: 'CONTROLLER', protocol: 'PLAINTEXT', port: ports.controller };
  const list = (all: readonly Listener[], text: (listener: Listener) => string) => all.map(text).join(',');
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAIN',
    listeners: list([...listeners, controller], ({ name, port }) => `${name}://127.0.0.1:${port}`),
    'advertised.listeners': list(
      listeners,
      ({ name, port, advertisedPort }) => `${name}://127.0.0.1:${advertisedPort ?? port}`,
    ),
    'listener.security.protocol.map': list([...listeners, controller], ({ name, protocol }) => `${name}:${protocol}`),
    'log.dirs': join(folder, 'data'),
    // One broker: nothing can be kept twice.
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    // After SIGKILL the controller takes the broker back once its last session is over: 9 s by default.
    'broker.heartbeat.interval.ms': '500',
    'broker.session.timeout.ms': '4000',
    // Small and quick to start: a consumer group or an idempotent producer would otherwise open 50 partitions.
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.num.partitions': '1',
    'group.initial.rebalance.delay.ms': '0',
    'num.network.threads': '2',
    'num.io.threads': '2',
    'num.partitions': '3',
    'auto.create.topics.enable': 'false',
    ...saslProperties(security),
    ...tlsProperties(security),
  };
}

export function propertiesText(properties: Readonly<Record<string, string>>): string {
  return `${Object.entries(properties)
    .map(([name, value]) => `${name}=${value.replaceAll('\\', '\\\\')}`)
    .join('\n')}\n`;
}

function listenersOf(ports: KafkaPorts, { sasl, tls }: KafkaSecurity, proxyPort: number | undefined): Listener[] {
  const listeners: Listener[] = [{ name: 'PLAIN', protocol: 'PLAINTEXT', port: ports.plain }];
  if (sasl !== undefined) listeners.push({ name: 'SASL', protocol: 'SASL_PLAINTEXT', port: ports.sasl });
  if (tls !== undefined) listeners.push({ name: 'TLS', protocol: 'SSL', port: ports.tls });
  if (sasl !== undefined && tls !== undefined) {
    listeners.push({ name: 'SASLTLS', protocol: 'SASL_SSL', port: ports.saslTls });
  }
  if (proxyPort !== undefined) {
    listeners.push({ name: 'PROXIED', protocol: 'PLAINTEXT', port: ports.proxied, advertisedPort: proxyPort });
  }
  return listeners;
}

function saslProperties({ sasl, tls }: KafkaSecurity): Record<string, string> {
  if (sasl === undefined) return {};
  const plain = `org.apache.kafka.common.security.plain.PlainLoginModule required user_${sasl.username}="${sasl.password}";`;
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  const listeners = tls === undefined ? ['sasl'] : ['sasl', 'sasltls'];
  return {
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    ...Object.fromEntries(
      listeners.flatMap((name) => [
        [`listener.name.${name}.plain.sasl.jaas.config`, plain],
        [`listener.name.${name}.scram-sha-256.sasl.jaas.config`, scram],
        [`listener.name.${name}.scram-sha-512.sasl.jaas.config`, scram],
      ]),
    ),
  };
}

function tlsProperties({ tls, tlsClientRequired }: KafkaSecurity): Record<string, string> {
  if (tls === undefined) return {};
  return {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': tls.server.bundleFile,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': tls.caFile,
    'ssl.client.auth': tlsClientRequired === true ? 'required' : 'requested',
  };
}
