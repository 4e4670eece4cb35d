/**
 * The service beside a ClickHouse server that a test takes away and gives back, with writers on it all the time. The server is
 * the real engine behind a small HTTP front, in a process of its own: real HTTP, not a real server.
 */
import { expect } from 'bun:test';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type ClickHouseProcess, type ClickHouseProcessOptions, startClickHouseProcess } from '@libs/database/testing';
import { isRunning } from '@libs/runtime';
import { compare, compareCounters, drain, readStored, type Stored } from './audit.ts';
import type { Rewrite } from './fault-source.preload.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { pendingEvents } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp, createService, type Role, type Service } from './service.ts';
import { type StoreWatch, startStoreWatch } from './store-watch.ts';
import { until } from './until.ts';
import { ROOMY_SEGMENT_BYTES, startWriters, type Writers } from './writers.ts';

export interface StoreOutageOptions {
  readonly seed: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of the service's own code that are changed on the way in. */
  readonly rewrites?: readonly Rewrite[];
  readonly server?: ClickHouseProcessOptions;
}

export interface StoreOutage extends Pick<StoreWatch, 'away' | 'back'> {
  readonly seed: number;
  readonly store: ClickHouseProcess;
  readonly service: Service;
  readonly ledger: Ledger;
  /** Writers start to send; what they send is answered before `quiet` or `finish` resolves. */
  load(): void;
  quiet(): Promise<void>;
  /** Waits until so many more events have been answered for good. */
  acknowledged(count?: number): Promise<void>;
  /** SIGKILL; resolves once it is gone. `all`: the supervisor, too, which is then started again. */
  kill(victim: Victim): Promise<void>;
  /** Waits until every fault has met its statements; a server that was killed by one is started again. */
  served(): Promise<void>;
  /** What stands in the table, read from the server itself. */
  stored(): Promise<Stored>;
  /** Bytes of all files of the journals. */
  journalBytes(): number;
  /** Events that are journalled and not stored. */
  pending(): Promise<number>;
  /** Waits until everything that is journalled is stored. */
  drained(): Promise<boolean>;
  /** Broken promises, after everything is stored and the service has ended. */
  finish(options?: FinishOptions): Promise<string[]>;
}

export interface FinishOptions {
  /** What a disk held that the server has lost since. */
  readonly lost?: Stored;
  readonly drainTimeoutMs?: number;
  /** False: nobody asks whether everything is well again, because nothing can be. */
  readonly recovers?: boolean;
}

export type Victim = 'deliver' | 'accept' | 'all';

/** The segment that is written, three to come, one more that was being made meanwhile, and the id columns. */
const JOURNAL_REST_BYTES = 6 * ROOMY_SEGMENT_BYTES;
/** What a process that is about to be killed may still say. */
const ENDING = new Set(['shutting_down']);

/** What a resolution asks the table: for faults in it. */
export const LOOKUP = 'SELECT seq FROM weir.raw_events';
/** A request to the server may take a minute: too long for a test. */
export const HASTY: Rewrite = {
  file: 'libs/database/src/store-hosts.ts',
  find: 'REQUEST_TIMEOUT_MS = 60_000',
  replace: 'REQUEST_TIMEOUT_MS = 1_000',
};
const ACCEPTED_MIN = 1_000;

const servers = new Set<ClickHouseProcess>();

/** Starts the server and the service; nobody writes yet. */
export async function startStoreOutage(options: StoreOutageOptions): Promise<StoreOutage> {
  const { seed, rewrites = [] } = options;
  const store = await startClickHouseProcess(options.server ?? {});
  servers.add(store);
  const service = createService({
    preloads: rewrites.length === 0 ? [] : ['fault-source.preload.ts'],
    settings: {
      CLICKHOUSE_URL: store.url,
      JOURNAL_SEGMENT_BYTES: String(ROOMY_SEGMENT_BYTES),
      INTEGRITY_REWRITE: JSON.stringify(rewrites),
      ...options.settings,
    },
  });
  await service.start();
  const random = createSeeded(seed);
  const ledger = createLedger();
  const watch = startStoreWatch(service.url);
  let writers: Writers | undefined;
  let loads = 0;
  let killed = false;

  async function quiet(): Promise<void> {
    await writers?.finish();
    writers = undefined;
  }

  async function acknowledged(count = 200): Promise<void> {
    const wanted = (writers?.acks() ?? 0) + count;
    await until(
      () => (writers?.acks() ?? 0) >= wanted,
      () => `${count} more events are acknowledged:\n${service.output()}`,
    );
  }

  async function killOne(role: Role): Promise<void> {
    const identity = await service.signal(role, 'SIGKILL');
    await until(() => !isRunning(identity), `${role} is gone`);
  }

  async function kill(victim: Victim): Promise<void> {
    killed = true;
    if (victim !== 'all') return killOne(victim);
    // The supervisor last: without it the others would end by themselves. What it starts in between, its successor ends.
    await killOne('deliver');
    await killOne('accept');
    await service.killSupervisor();
    await service.start();
  }

  function served(): Promise<void> {
    return until(async () => {
      if (store.pid() === undefined) await store.restart();
      // It may be killed between the question and the answer.
      return (await store.faultsLeft().catch(() => 1)) === 0;
    }, 'every fault has met a statement');
  }

  function journalBytes(): number {
    const folder = join(service.dataFolder, 'journals');
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    return names.reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0);
  }

  const stored = (): Promise<Stored> => readStored(`${store.url}/?database=weir&query_id=audit`);

  async function finish({ recovers = true, ...checks }: FinishOptions = {}): Promise<string[]> {
    await quiet();
    const isDrained = await drain(service.url, checks.drainTimeoutMs);
    if (recovers) await watch.back();
    if (recovers && isDrained) await until(() => journalBytes() <= JOURNAL_REST_BYTES, 'the journal is released');
    const wrong = await watch.end();
    const found = checks.lost === undefined ? await stored() : together(checks.lost, await stored());
    const broken = [
      ...(isDrained ? [] : ['the journal was not drained']),
      ...wrong,
      ...ledger.refusals(killed ? ENDING : undefined),
    ];
    broken.push(...compare(ledger, found));
    const code = await service.stop();
    if (code !== 0) broken.push(`SIGTERM ended with exit code ${code}:\n${service.output()}`);
    return [...broken, ...compareCounters([service.dataFolder], found)];
  }

  return {
    seed,
    store,
    service,
    ledger,
    load() {
      loads += 1;
      writers = startWriters(service.url, ledger, random, { prefix: `load${loads}-` });
    },
    quiet,
    acknowledged,
    kill,
    served,
    away: watch.away,
    back: watch.back,
    stored,
    journalBytes,
    pending: () => pendingEvents(service.url),
    drained: () => drain(service.url),
    finish,
  };
}

/** What two disks hold, as if it were one: so a row that stands on both stands there twice. One journal. */
function together(before: Stored, after: Stored): Stored {
  const rows = new Map(before.rows);
  for (const [key, list] of after.rows) rows.set(key, [...(rows.get(key) ?? []), ...list]);
  const countByType = new Map(before.countByType);
  for (const [type, count] of after.countByType) countByType.set(type, (countByType.get(type) ?? 0) + count);
  const journals = new Map(before.journals);
  for (const [journal, found] of after.journals) {
    const known = before.journals.get(journal);
    const first = Math.min(known?.first ?? found.first, found.first);
    journals.set(journal, {
      rows: (known?.rows ?? 0) + found.rows,
      first,
      last: Math.max(known?.last ?? 0, found.last),
    });
  }
  const view = { rows: before.view.rows + after.view.rows, keys: before.view.keys + after.view.keys };
  return { rows, count: before.count + after.count, journals, view, countByType };
}

/** The same, with writers on it that have got going. */
export async function startUnderLoad(options: StoreOutageOptions): Promise<StoreOutage> {
  const outage = await startStoreOutage(options);
  outage.load();
  await outage.back();
  await outage.acknowledged(500);
  return outage;
}

/** Ends it; every promise must have been kept. It proves nothing unless much was promised. */
export async function expectKept(outage: StoreOutage): Promise<void> {
  const { seed } = outage;
  expect({ seed, broken: await outage.finish() }).toEqual({ seed, broken: [] });
  expect(outage.ledger.counts().accepted).toBeGreaterThan(ACCEPTED_MIN);
}

/** For `afterEach`: ends everything that was started here. */
export async function cleanUpOutage(): Promise<void> {
  await cleanUp();
  for (const server of servers) await server.close();
  servers.clear();
}
