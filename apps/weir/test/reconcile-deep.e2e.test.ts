/** `weir reconcile --deep` against the real service and a real broker: what is on the topics, not what was believed. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, lacks, readTopic, type UsedKafka, useKafka } from '@libs/services';
import kafkajs, { type Kafka } from 'kafkajs';
import { runCli, spawnCli } from './run-cli.ts';

const TEST_MS = 180_000;
const WAIT_MS_MAX = 60_000;
const EVENTS = 300;
const REMOVED = 7;
const COPIED = 20;
/** The first two share a topic. */
const TYPES = ['cart_created', 'cart_abandoned', 'cart_updated'] as const;
const EACH = EVENTS / TYPES.length;

interface Reconciled {
  readonly balanced: boolean;
  readonly discrepancies: readonly { readonly eventType: string; readonly sink: string; readonly difference: number }[];
  readonly eventTypes: readonly {
    readonly eventType: string;
    readonly sinks: Readonly<
      Record<string, { readonly stored: number; readonly pending: number; readonly duplicates: number }>
    >;
  }[];
  readonly sources: Readonly<Record<string, string>>;
  readonly caveats: readonly string[];
}

describe.skipIf(lacks({ use: ['kafka'], start: ['kcat'] }))('weir reconcile --deep', () => {
  const shared = `carts-${crypto.randomUUID()}`;
  const own = `updates-${crypto.randomUUID()}`;
  let kafka: UsedKafka;
  let direct: Kafka;
  let folder: string;
  let url: string;
  let service: ReturnType<typeof spawnCli>;

  beforeAll(async () => {
    kafka = await useKafka();
    direct = new kafkajs.Kafka({ brokers: [kafka.brokers], logLevel: kafkajs.logLevel.NOTHING });
    folder = await mkdtemp(join(tmpdir(), 'weir-deep-'));
    const config = join(folder, 'weir.json');
    const [created, abandoned, updated] = TYPES;
    const routes = { [created]: { topic: shared }, [abandoned]: { topic: shared }, [updated]: { topic: own } };
    // Topics of other tests, and those that nothing goes to here, are none of ours.
    const unrouted = Object.fromEntries(
      ['item_added', 'item_removed', 'purchase_completed'].map((type) => [type, { topic: null }]),
    );
    await Bun.write(config, JSON.stringify({ routes: { ...routes, ...unrouted } }));
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    service = spawnCli(['start', '--config', config], {
      environment: {
        PORT: String(port),
        WEIR_DATA_DIR: join(folder, 'data'),
        LOG_LEVEL: 'fatal',
        KAFKA_BROKERS: kafka.brokers,
        KAFKA_PARTITIONS: '1',
      },
    });
    await until('the service is ready', async () => {
      if (service.exitCode !== null) throw new Error(`the service ended: ${await service.stderr.text()}`);
      return fetch(`${url}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
    await send();
  }, TEST_MS);
  afterAll(async () => {
    service?.kill('SIGTERM');
    await service?.exited;
    await kafka?.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
  }, TEST_MS);

  async function send(): Promise<void> {
    const events = Array.from({ length: EVENTS }, (_, at) => ({
      storeId: `store-${at % 2}`,
      eventType: TYPES[at % TYPES.length],
      eventId: `event-${at}`,
      sessionId: `session-${at % 7}`,
      timestamp: new Date().toISOString(),
      data: { note: '","eventType":"cart_deleted","' },
    }));
    const reply = await fetch(`${url}/events/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ events }),
    });
    expect(await reply.json()).toMatchObject({ successful: EVENTS, failed: 0 });
  }

  async function reconcile(...flags: string[]): Promise<Reconciled & { readonly exitCode: number }> {
    const { exitCode, out, err } = await runCli(['reconcile', ...flags, '--json', '--url', url]);
    expect(err).toBe('');
    return { exitCode, ...(JSON.parse(out) as Reconciled) };
  }

  const figures = ({ eventTypes }: Reconciled) =>
    Object.fromEntries(
      eventTypes.map(({ eventType, sinks }) => [eventType, [sinks['kafka']?.stored, sinks['kafka']?.duplicates]]),
    );

  test(
    'everything adds up after a load; without --deep the topics are not read, and it says so',
    async () => {
      await until('everything is delivered', async () => {
        // Accept is ready before deliver is, and answers 503 meanwhile.
        const reply = await fetch(`${url}/reconcile`);
        if (!reply.ok) return false;
        const { eventTypes } = (await reply.json()) as Reconciled;
        const waiting = eventTypes.flatMap(({ sinks }) => Object.values(sinks).map(({ pending }) => pending));
        return waiting.length > 0 && waiting.every((pending) => pending === 0);
      });
      const deep = await reconcile('--deep');
      expect(deep).toMatchObject({ exitCode: 0, balanced: true, discrepancies: [], caveats: [] });
      expect(figures(deep)).toEqual({
        cart_created: [EACH, 0],
        cart_abandoned: [EACH, 0],
        cart_updated: [EACH, 0],
      });
      expect(deep.sources['kafka']).toContain('read back from the topics');
      const shallow = await reconcile();
      expect(shallow).toMatchObject({ exitCode: 0, balanced: true });
      expect(shallow.sources['kafka']).toContain('acknowledged by the brokers');
    },
    TEST_MS,
  );

  test(
    'what stands on a topic once more is a copy',
    async () => {
      const messages = await readTopic({ brokers: kafka.brokers, topic: own });
      const producer = direct.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
      await producer.connect();
      const copies = messages.slice(0, COPIED).map(({ key, value }) => ({ key, value }));
      await producer.send({ topic: own, messages: copies });
      await producer.disconnect();
      const deep = await reconcile('--deep');
      expect(deep).toMatchObject({ exitCode: 0, balanced: true, caveats: [] });
      expect(figures(deep)).toMatchObject({ cart_updated: [EACH, COPIED], cart_created: [EACH, 0] });
    },
    TEST_MS,
  );

  test(
    'what was deleted from a topic is missing by name, and the exit code says so',
    async () => {
      const admin = direct.admin();
      await admin.connect();
      // It does not look for the partition's leader by itself.
      await admin.fetchTopicOffsets(shared);
      await admin.deleteTopicRecords({ topic: shared, partitions: [{ partition: 0, offset: String(REMOVED) }] });
      await admin.disconnect();
      const deep = await reconcile('--deep');
      expect(deep).toMatchObject({ exitCode: 1, balanced: false });
      expect(deep.discrepancies.map(({ sink }) => sink)).toEqual(['kafka', 'kafka']);
      expect(deep.discrepancies.reduce((sum, { difference }) => sum + difference, 0)).toBe(REMOVED);
      expect(deep.caveats).toHaveLength(1);
      expect(deep.caveats[0]).toContain(`${shared} now begins at offset ${REMOVED} in partition 0`);
      const text = await runCli(['reconcile', '--deep', '--url', url]);
      expect(text.out).toContain('It does not add up:');
      expect(text.out).toContain(`Note: The Kafka topic ${shared}`);
      expect((await reconcile()).balanced).toBe(true);
    },
    TEST_MS,
  );
});

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${WAIT_MS_MAX} ms: ${what}`);
    await Bun.sleep(100);
  }
}
