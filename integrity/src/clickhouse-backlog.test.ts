/**
 * The ClickHouse server stays away while much arrives; it comes back, or comes back without its disk. INTEGRITY_SEED chooses
 * what the writers send.
 *
 * What a server that comes back empty means: rows that it had confirmed are gone with its disk, for Weir has delivered and
 * released them (replicas and backups are the server's affair). What it had not confirmed is stored there, once.
 */
import { afterEach, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createEventMaker, type EventMaker } from './events.ts';
import { createHttpClient, type HttpClient } from './http-client.ts';
import { createSeeded } from './seeded.ts';
import { cleanUpOutage, expectKept, type StoreOutage, startStoreOutage } from './store-outage.ts';
import { until } from './until.ts';
import { ROOMY_SEGMENT_BYTES } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const MEASURED = 500;
const BATCH_EVENTS = 500;
/** Beside all that the writers send before they wait, so many fit into what may wait for the disk. */
const ROOMY_BATCH_EVENTS = 100;
const BACKLOG_BYTES = 28 << 20;
/** Of the test that fills the journal. */
const SEGMENTS_MAX = 6;
const CAUGHT_UP_EVENTS = 2_000;

afterEach(cleanUpOutage);

interface Side {
  readonly client: HttpClient;
  readonly events: EventMaker;
}

/** A client beside the writers. */
function clientOf({ service, ledger }: StoreOutage): Side {
  return {
    client: createHttpClient(service.url, ledger),
    events: createEventMaker(createSeeded(SEED), 'beside', 'beside'),
  };
}

/** Milliseconds that single events took, one after the other, beside the load. */
async function latencies({ client, events }: Side): Promise<string> {
  const took: number[] = [];
  for (let n = 0; n < MEASURED; n++) {
    const startMs = performance.now();
    const answer = await client.single(events.good());
    took.push(performance.now() - startMs);
    expect(answer?.kind).toBe('accepted');
  }
  took.sort((a, b) => a - b);
  const at = (share: number): string => (took[Math.floor(share * (took.length - 1))] as number).toFixed(2);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

/** Waits until the next segment is made, or `segmentsMax` are there: no batch is refused because it is still being made. */
function untilSpare({ service }: StoreOutage, segmentsMax = Number.POSITIVE_INFINITY): Promise<void> {
  return until(() => {
    const names = readdirSync(join(service.dataFolder, 'journals'), { recursive: true, encoding: 'utf8' });
    const spares = names.filter((name) => /(^|\/)spare-\d+$/.test(name)).length;
    return spares > 0 || names.filter((name) => name.endsWith('.segment')).length === segmentsMax;
  }, 'there is a segment to come');
}

test(
  'a backlog of many segments: accept is as quick as before, and afterwards the journal shrinks to a few segments',
  async () => {
    const outage = await startStoreOutage({ seed: SEED });
    const side = clientOf(outage);
    outage.load();
    await outage.acknowledged(1_000);
    const before = await latencies(side);
    await outage.store.stop();
    await outage.away();
    const during = await latencies(side);
    const batch = () => Array.from({ length: ROOMY_BATCH_EVENTS }, side.events.good);
    await until(async () => {
      await untilSpare(outage);
      const answers = await side.client.batch(batch(), 'lines');
      expect(answers.filter((answer) => answer?.kind !== 'accepted')).toEqual([]);
      return outage.journalBytes() > BACKLOG_BYTES;
    }, 'there is a backlog');
    const behind = await outage.pending();
    await outage.store.restart();
    await until(async () => (await outage.pending()) < behind, 'the first block is stored');
    const startMs = performance.now();
    // The writers go on, so it never is quite at the end.
    await until(async () => (await outage.pending()) < CAUGHT_UP_EVENTS, 'it has caught up');
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
    print(`one event, store up: ${before}; store away: ${during}; ${behind} events behind, caught up in ${seconds} s`);
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'away until the journal is full: refused loudly, and on by itself when it is back',
  async () => {
    const limit = String(SEGMENTS_MAX * ROOMY_SEGMENT_BYTES);
    const outage = await startStoreOutage({ seed: SEED, settings: { JOURNAL_BYTES_MAX: limit } });
    const { client, events } = clientOf(outage);
    await outage.store.kill();
    await until(async () => {
      await untilSpare(outage, SEGMENTS_MAX);
      const [answer] = await client.batch(Array.from({ length: BATCH_EVENTS }, events.good), 'json');
      return answer?.kind === 'retry' && answer.code === 'journal_full';
    }, 'the journal is full');
    // No row is larger.
    await until(async () => (await client.single(events.large()))?.kind === 'retry', 'the journal is full to the end');
    expect((await fetch(`${outage.service.url}/health/ready`)).status).toBe(503);
    expect((await fetch(`${outage.service.url}/health/live`)).status).toBe(200);
    await outage.store.restart();
    await until(async () => (await client.single(events.good()))?.kind === 'accepted', 'it goes on');
    const broken = await outage.finish();
    // Here, and nowhere else, refusals are what should be.
    expect(broken.filter((one) => !/journal_full|has reached its limit/.test(one))).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'back without its disk: what it had not confirmed is stored once, also the block that it had stored and not confirmed',
  async () => {
    const outage = await startStoreOutage({ seed: SEED });
    outage.load();
    await outage.acknowledged(1_000);
    // No `stored` is promised while the disk is exchanged: the writers ask the table at once when they are told so.
    await outage.quiet();
    expect(await outage.drained()).toBe(true);
    const lost = await outage.stored();
    await outage.store.fault('kill_after');
    outage.load();
    await until(() => outage.store.pid() === undefined, 'the server died right behind an insert');
    await outage.acknowledged(1_000);
    await outage.store.restartEmpty();
    await outage.back();
    await outage.acknowledged(500);
    const broken = await outage.finish({ lost });
    expect({ seed: SEED, broken }).toEqual({ seed: SEED, broken: [] });
  },
  TIMEOUT_MS,
);

test(
  'back without its disk while it refused for lack of memory: nothing that waited is missing',
  async () => {
    const outage = await startStoreOutage({ seed: SEED });
    outage.load();
    await outage.acknowledged(1_000);
    await outage.quiet();
    expect(await outage.drained()).toBe(true);
    const lost = await outage.stored();
    await outage.store.fault({ fault: 'code_241', times: null });
    outage.load();
    await outage.away(/241/);
    await outage.kill('deliver');
    await outage.acknowledged(500);
    await outage.store.restartEmpty();
    await outage.acknowledged(500);
    const broken = await outage.finish({ lost });
    expect({ seed: SEED, broken }).toEqual({ seed: SEED, broken: [] });
  },
  TIMEOUT_MS,
);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
