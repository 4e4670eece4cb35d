import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Retryable } from '@libs/pipeline';
import { type Certificates, createCertificates, type Kafka, lacks, startKafka } from '@libs/services';
import { KAFKA_SASL_MECHANISMS, type KafkaTls } from '../src/kafka-index.ts';
import {
  CREATE,
  deliver,
  FIRST,
  never,
  range,
  readSeqs,
  sorted,
  TEST_MS,
  testSink,
  topicName,
  upTo,
} from './kafka-harness.ts';

const USER = { username: 'weir', password: 'river' };

describe.skipIf(lacks({ start: ['kafka', 'kcat', 'openssl'] }))('encryption and login', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-kafka-security-'));
  let certificates: Certificates;
  let tls: KafkaTls;
  let kafka: Kafka;
  beforeAll(async () => {
    certificates = createCertificates(folder);
    tls = { ca: readFileSync(certificates.caFile, 'utf8') };
    kafka = await startKafka({ sasl: USER, tls: certificates, tlsClientRequired: true });
  }, TEST_MS);
  afterAll(async () => {
    await kafka?.close();
    rmSync(folder, { recursive: true, force: true });
  }, TEST_MS);

  const clientCertificate = (): KafkaTls => ({
    ...tls,
    cert: readFileSync(certificates.client.certFile, 'utf8'),
    key: readFileSync(certificates.client.keyFile, 'utf8'),
  });

  test.each([...KAFKA_SASL_MECHANISMS])(
    'login by %s, with and without encryption',
    async (mechanism) => {
      const sasl = { mechanism, ...USER };
      const topic = topicName('login');
      await using plain = testSink({ brokers: kafka.saslBrokers, sasl, topic, ...CREATE });
      await deliver(plain.sink, range(1, 50), 20_000);
      await using both = testSink({ brokers: kafka.saslTlsBrokers, sasl, tls: clientCertificate(), topic });
      await deliver(both.sink, range(51, 100), 20_000);
      expect(sorted(await readSeqs(kafka.brokers, topic))).toEqual(upTo(1, 100));
    },
    TEST_MS,
  );

  test(
    'a client certificate',
    async () => {
      const topic = topicName('certificate');
      await using one = testSink({ brokers: kafka.tlsBrokers, tls: clientCertificate(), topic, ...CREATE });
      await deliver(one.sink, range(1, 50), 20_000);
      expect(sorted(await readSeqs(kafka.brokers, topic))).toEqual(upTo(1, 50));
    },
    TEST_MS,
  );

  test.each([...KAFKA_SASL_MECHANISMS])(
    'a wrong password (%s) is retried, says what it is, and shows no password',
    async (mechanism) => {
      const sasl = { mechanism, username: 'weir', password: 'secret-4711' };
      await using one = testSink({ brokers: kafka.saslBrokers, sasl, topic: 'unused' });
      for (const call of [() => one.sink.connect(never), () => one.sink.write(range(1, 5), FIRST)]) {
        const error = await call().catch((caught: unknown) => caught);
        expect(error).toBeInstanceOf(Retryable);
        expect((error as Retryable).code).toStartWith('kafka_sasl');
        expect(`${error}${JSON.stringify(one.log)}${JSON.stringify(one.sink.health())}`).not.toContain('secret-4711');
      }
      expect(one.sink.health().state).toBe('unhealthy');
    },
    TEST_MS,
  );

  test(
    'a broker that nobody we trust vouches for, and no encryption where it is asked for: refused',
    async () => {
      await using stranger = testSink({ brokers: kafka.tlsBrokers, tls: {}, topic: 'unused' });
      await using plain = testSink({
        brokers: kafka.tlsBrokers,
        topic: 'unused',
        requestTimeoutMs: 1_000,
        connectionTimeoutMs: 1_000,
      });
      for (const { sink } of [stranger, plain]) {
        expect(await sink.connect(never).catch((caught: unknown) => caught)).toBeInstanceOf(Retryable);
      }
    },
    TEST_MS,
  );
});
