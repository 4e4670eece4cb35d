/**
 * Redis is stopped, killed, frozen, full, slow, silent, refuses, resets connections, comes back empty, while clients send to
 * two instances, a fifth of it copies of what went to the other. Events are accepted all along, none is lost, and each
 * is once in the view; what is twice in the table is there because a reply said that Redis was not asked.
 * INTEGRITY_OUTAGE_MS: how long each outage lasts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { lacks, type ProxyFault, startTcpProxy, type TcpProxy } from '@libs/services';
import { cleanUpInstances, type Instances, order, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import { until } from './until.ts';
import { ROOMY_SEGMENT_BYTES, startWriters, type Writers } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const OUTAGE_MS = Number(process.env['INTEGRITY_OUTAGE_MS'] ?? 700);
const TIMEOUT_MS = 120_000 + OUTAGE_MS;
const COPIES_SHARE = 0.2;
/** More than a busy machine needs to answer, less than the delay of the slow one. */
const REDIS_TIMEOUT_MS = 150;
const SLOW_MS = 400;
const ACCEPTED_MEANWHILE = 100;

interface Outage {
  begin(): Promise<unknown>;
  end(): Promise<unknown>;
}

describe.skipIf(lacks({ start: ['redis'] }))('two instances whose Redis fails', () => {
  let instances: Instances;
  let proxy: TcpProxy;
  let load: Writers;

  beforeAll(async () => {
    const random = createSeeded(SEED);
    instances = await startInstances(random, {
      settings: { REDIS_TIMEOUT_MS: String(REDIS_TIMEOUT_MS), JOURNAL_SEGMENT_BYTES: String(ROOMY_SEGMENT_BYTES) },
      async redisUrl({ port }) {
        proxy = await startTcpProxy({ host: '127.0.0.1', port });
        return `redis://127.0.0.1:${proxy.port}`;
      },
    });
    load = startWriters(instances.urls, instances.ledger, random, { copiesShare: COPIES_SHARE });
  });

  afterAll(async () => {
    await cleanUpInstances();
    await proxy?.close();
  });

  const way = (fault: ProxyFault): Outage => ({
    begin: () => proxy.fault(fault),
    end: () => proxy.fault({ kind: 'none' }),
  });
  const directive = (name: string, during: string, after: string): Outage => ({
    begin: () => order(instances.redis.url, 'CONFIG', 'SET', name, during),
    end: () => order(instances.redis.url, 'CONFIG', 'SET', name, after),
  });

  /** Redis keeps what it knows. */
  const KEEPING: Readonly<Record<string, Outage>> = {
    frozen: { begin: () => instances.redis.freeze(), end: () => instances.redis.thaw() },
    full: directive('maxmemory', '1', '0'),
    'too few replicas': directive('min-replicas-to-write', '1', '0'),
    slow: way({ kind: 'slow', delayMs: SLOW_MS }),
    silent: way({ kind: 'silent' }),
    refusing: way({ kind: 'refusing' }),
    'resetting connections': way({ kind: 'resetting' }),
  };

  /** It writes nothing to disk here, so it forgets everything. */
  const FORGETTING: Readonly<Record<string, Outage>> = {
    stopped: { begin: () => instances.redis.stop(), end: () => instances.redis.restart() },
    killed: { begin: () => instances.redis.kill(), end: () => instances.redis.restart() },
    'restarted empty': { begin: () => instances.redis.restartEmpty(), end: async () => undefined },
  };

  for (const [name, outage] of Object.entries(KEEPING))
    test(`${name}: every event is accepted, the replies say so, and it comes back by itself`, () => survive(outage), {
      timeout: TIMEOUT_MS,
    });

  test(
    'then nothing is lost, and what is stored twice was accepted without Redis',
    async () => {
      await load.finish();
      const { broken, twice, stored } = await instances.audit('local');
      print(`INTEGRITY_SEED=${SEED}: ${twice.length} of ${stored} rows are twice in the table`);
      expect(broken).toEqual([]);
      expect(twice.length).toBeGreaterThan(0);
      load = startWriters(instances.urls, instances.ledger, createSeeded(SEED + 1), {
        copiesShare: COPIES_SHARE,
        prefix: 'later-',
      });
    },
    TIMEOUT_MS,
  );

  for (const [name, outage] of Object.entries(FORGETTING))
    test(`${name}: every event is accepted, and it comes back by itself`, () => survive(outage), {
      timeout: TIMEOUT_MS,
    });

  test(
    'then nothing is lost, and each event is once in the view',
    async () => {
      await load.finish();
      const { broken, twice, stored } = await instances.finish('lost window');
      print(`INTEGRITY_SEED=${SEED}: ${twice.length} of ${stored} rows are twice in the table`);
      expect(broken).toEqual([]);
    },
    TIMEOUT_MS,
  );

  async function survive(outage: Outage): Promise<void> {
    const { ledger, untilRedis } = instances;
    await untilRedis(({ state }) => state === 'healthy', 'Redis is healthy');
    const before = { acks: load.acks(), local: ledger.counts().local };
    await outage.begin();
    // A server that is back at once is not always noticed.
    if (instances.redis.pid() === undefined || outage !== FORGETTING['restarted empty']) await seen(before.local);
    await Bun.sleep(OUTAGE_MS);
    await until(() => load.acks() - before.acks > ACCEPTED_MEANWHILE, 'events are accepted meanwhile');
    await outage.end();
    await untilRedis(({ state, pendingConfirms }) => state === 'healthy' && pendingConfirms < 100, 'Redis is back');
    await claimsWork();
    expect(ledger.refusals(new Set(['claimed_elsewhere']))).toEqual([]);
    expect(ledger.broken()).toEqual([]);
  }

  async function seen(localBefore: number): Promise<void> {
    const { ledger, untilRedis } = instances;
    await until(() => ledger.counts().local > localBefore, 'a reply says that Redis was not asked');
    await untilRedis(({ state, skipping }) => state !== 'healthy' && skipping !== undefined, '/health says so');
  }

  /** What one instance accepted the other one knows again. */
  async function claimsWork(): Promise<void> {
    const { clients, events, untilAnswered } = instances;
    await until(async () => {
      const event = events.good();
      const first = await clients[0]?.single(event);
      return first?.kind === 'accepted' && first.isLocal !== true && (await untilAnswered(event, 1)) === 'duplicate';
    }, 'the second instance knows what the first one has accepted');
  }
});

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
