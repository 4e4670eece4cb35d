import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka as KafkaClient, type KafkaConfig, logLevel } from 'kafkajs';
import {
  type Certificates,
  consume,
  countMessages,
  createCertificates,
  type Kafka,
  lacks,
  readTopic,
  startKafka,
  startTcpProxy,
  type TcpProxy,
} from '../src/index.ts';
import { processState } from './process-state.ts';

const USER = { username: 'weir', password: 'river' };
const TEST_MS = 120_000;

describe.skipIf(lacks({ start: ['kafka', 'kcat', 'openssl'] }))('a Kafka of one’s own', () => {
  let folder: string;
  let certificates: Certificates;
  let proxy: TcpProxy;
  let kafka: Kafka;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weir-kafka-test-'));
    certificates = createCertificates(folder);
    proxy = await startTcpProxy();
    kafka = await startKafka({
      sasl: USER,
      tls: certificates,
      proxyPort: proxy.port,
      properties: { 'auto.create.topics.enable': 'true', 'message.max.bytes': '2000' },
    });
    proxy.target = kafka.proxyTarget;
  }, TEST_MS);

  afterAll(async () => {
    await kafka?.close();
    await proxy?.close();
    rmSync(folder, { recursive: true, force: true });
  }, TEST_MS);

  async function produce(topic: string, text: string, options: readonly string[] = []) {
    const child = Bun.spawn(['kcat', '-P', '-b', kafka.brokers, '-t', topic, '-K:', '-E', ...options], {
      stdio: [new Blob([text]), 'ignore', 'pipe'],
    });
    const [error, code] = await Promise.all([child.stderr.text(), child.exited]);
    return { error, code };
  }

  const topicOf = (name: string) => ({ brokers: kafka.brokers, topic: name });

  test(
    'what was written is read back with key, headers, partition and offset',
    async () => {
      expect(await produce('read-back', 'a:1\nb:2\na:3\n', ['-H', 'eventId=7', '-H', 'other=x'])).toMatchObject({
        code: 0,
      });
      const messages = await readTopic(topicOf('read-back'));
      expect(messages.filter(({ key }) => key === 'a').map(({ value }) => value)).toEqual(['1', '3']);
      expect(messages.find(({ key }) => key === 'b')).toMatchObject({
        value: '2',
        offset: 0,
        headers: [
          ['eventId', '7'],
          ['other', 'x'],
        ],
      });
      expect(await countMessages(topicOf('read-back'))).toBe(3);
      for await (const message of consume(topicOf('read-back'))) {
        expect(message.offset).toBe(0);
        break;
      }
    },
    TEST_MS,
  );

  test(
    'the properties that were given hold',
    async () => {
      await produce('small', 'a:1\n');
      const refused = await produce('small', `a:${'x'.repeat(3_000)}\n`);
      expect(refused.error).toContain('too large');
      expect(await countMessages(topicOf('small'))).toBe(1);
    },
    TEST_MS,
  );

  test(
    'login and encryption, each alone and together',
    async () => {
      await produce('secret', 'a:1\n');
      const tls = { 'ssl.ca.location': certificates.caFile };
      const login = {
        'sasl.mechanisms': 'PLAIN',
        'sasl.username': USER.username,
        'sasl.password': USER.password,
      };
      const count = (brokers: string, config: Record<string, string>) =>
        countMessages({ brokers, topic: 'secret', config, timeoutMs: 20_000 });
      expect(await count(kafka.tlsBrokers, { 'security.protocol': 'ssl', ...tls })).toBe(1);
      expect(await count(kafka.saslBrokers, { 'security.protocol': 'sasl_plaintext', ...login })).toBe(1);
      expect(await count(kafka.saslTlsBrokers, { 'security.protocol': 'sasl_ssl', ...tls, ...login })).toBe(1);
      expect(await failure(count(kafka.tlsBrokers, { 'security.protocol': 'ssl' }))).toContain('certificate');
    },
    TEST_MS,
  );

  // Debian's kcat cannot: librdkafka before 2.6.1 sends a SCRAM nonce that Kafka 4 refuses (confluentinc/librdkafka#4895).
  test.each(['scram-sha-256', 'scram-sha-512'] as const)(
    'login by %s',
    async (mechanism) => {
      const connect = (password: string) => {
        const user = { username: USER.username, password };
        const sasl = mechanism === 'scram-sha-256' ? { mechanism, ...user } : { mechanism, ...user };
        return advertised({ brokers: [kafka.saslBrokers], sasl });
      };
      expect(await connect(USER.password)).toEqual([kafka.saslBrokers]);
      expect(await failure(connect('wrong'))).toContain('invalid credentials');
    },
    TEST_MS,
  );

  test(
    'through the proxy, clients stay on the proxy',
    async () => {
      await produce('proxied', 'a:1\n');
      const brokers = `127.0.0.1:${proxy.port}`;
      expect(await countMessages({ brokers, topic: 'proxied' })).toBe(1);
      expect(await advertised({ brokers: [brokers] })).toEqual([brokers]);
    },
    TEST_MS,
  );

  test(
    'frozen, killed, stopped: what was written is there again; restarted empty: nothing is',
    async () => {
      await produce('kept', 'a:1\n');
      const first = kafka.pid() ?? 0;
      await kafka.freeze();
      expect(processState(first)).toBe('T');
      const counting = countMessages(topicOf('kept'));
      await kafka.thaw();
      expect(await counting).toBe(1);
      await kafka.kill();
      expect(processState(first)).toBeUndefined();
      await kafka.restart();
      expect(await countMessages(topicOf('kept'))).toBe(1);
      await kafka.stop();
      await kafka.restart();
      expect(await countMessages(topicOf('kept'))).toBe(1);
      await kafka.restartEmpty();
      expect(await failure(countMessages(topicOf('kept')))).toContain('Unknown topic');
    },
    TEST_MS,
  );
});

/** Where clients are told to go. */
async function advertised(config: Pick<KafkaConfig, 'brokers' | 'sasl'>): Promise<string[]> {
  const admin = new KafkaClient({ ...config, logLevel: logLevel.NOTHING, retry: { retries: 0 } }).admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    return brokers.map(({ host, port }) => `${host}:${port}`);
  } finally {
    await admin.disconnect();
  }
}

/** What the promise was rejected with. */
async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing was thrown',
    (error) => String(error),
  );
}
