/** The service with writers on it while its sinks are taken away: what the tests of Kafka and downstream services share. */
import { isRunning } from '@libs/runtime';
import { askJson, compare, compareCounters, drain, readStored, type Stored } from './audit.ts';
import type { Rewrite } from './fault-source.preload.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { type LatencyProbe, startLatencyProbe } from './outage-latency.ts';
import { createSeeded, type Seeded } from './seeded.ts';
import { createService, type Role, type Service } from './service.ts';
import { until } from './until.ts';
import { startWriters, type Writers } from './writers.ts';

export interface OutageRunOptions {
  readonly seed: number;
  readonly settings: Readonly<Record<string, string>>;
  /** Lines of the service's own code that are changed on the way in. */
  readonly rewrites?: readonly Rewrite[];
}

/** As `GET /sinks` shows it. */
export interface SinkView {
  readonly name: string;
  readonly removed: boolean;
  readonly state?: string;
  readonly stopped?: string;
  readonly lastError?: string;
  readonly pendingEvents?: number;
  readonly oldestPendingAgeMs?: number;
  readonly deadLetters?: number;
}

export interface BalanceView {
  readonly acknowledged: number;
  readonly stored: number;
  readonly deadLettered: number;
  readonly deleted: number;
  readonly pending: number;
  readonly duplicates: number;
  readonly difference: number;
}

export interface ReconcileView {
  readonly balanced: boolean;
  readonly discrepancies: readonly { readonly eventType: string; readonly sink: string; readonly message: string }[];
  readonly total: { readonly acknowledged: number; readonly sinks: Readonly<Record<string, BalanceView>> };
  readonly caveats: readonly string[];
}

export type Victim = 'deliver' | 'accept' | 'all';

export interface OutageRun {
  readonly seed: number;
  readonly random: Seeded;
  readonly service: Service;
  readonly ledger: Ledger;
  /** Writers (singles, batches, sockets) and the probe start. */
  load(): void;
  /** Undefined before `load`, and after `quiet`. */
  probe(): LatencyProbe | undefined;
  /** No new events; resolves once everything that was sent has its answer. */
  quiet(): Promise<void>;
  /** Waits until so many more events have been answered for good. */
  acknowledged(count: number): Promise<void>;
  /** SIGKILL; resolves once it is gone. `all`: the supervisor, too, which is then started again. */
  kill(victim: Victim): Promise<void>;
  hasKilled(): boolean;
  /** GET, asked again while deliver is being started. Throws for any other answer than 200. */
  ask<T>(path: string): Promise<T>;
  sinks(): Promise<readonly SinkView[]>;
  /** Waits until `/sinks` shows it so. */
  sinkIs(name: string, isSo: (sink: SinkView) => boolean, what: string): Promise<SinkView>;
  reconcile(): Promise<ReconcileView>;
  /** Waits until no sink has anything left to do. */
  drained(): Promise<void>;
  /** Broken promises of accept and the store, as sentences: after `quiet` and `drained`. */
  broken(stored: Stored): string[];
  /** Ends it in order; what its counters say against the store. */
  stop(stored: Stored): Promise<string[]>;
  stored(): Promise<Stored>;
}

/** What a process that is about to be killed, or ends in order, may still say. */
const ENDING = new Set(['shutting_down']);
const DRAIN_TIMEOUT_MS = 90_000;

/** Starts the service; nobody writes yet. */
export async function startOutageRun(options: OutageRunOptions): Promise<OutageRun> {
  const { seed, settings, rewrites = [] } = options;
  const service = createService({
    preloads: rewrites.length === 0 ? [] : ['fault-source.preload.ts'],
    settings: { INTEGRITY_REWRITE: JSON.stringify(rewrites), ...settings },
  });
  await service.start();
  const { url } = service;
  const random = createSeeded(seed);
  const ledger = createLedger();
  let writers: Writers | undefined;
  let probe: LatencyProbe | undefined;
  let loads = 0;
  let killed = false;

  function load(): void {
    if (writers !== undefined) throw new Error('there is load already');
    loads += 1;
    writers = startWriters(url, ledger, random, { prefix: `load${loads}-` });
    probe = startLatencyProbe(url, ledger, createSeeded(random.integer(0, 2 ** 31)), `probe${loads}`);
    probe.phase('before');
  }

  async function quiet(): Promise<void> {
    await Promise.all([writers?.finish(), probe?.finish()]);
    writers = undefined;
    probe = undefined;
  }

  async function acknowledged(count: number): Promise<void> {
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
    await killOne('deliver');
    await service.killSupervisor();
    const orphan = service.signalIfRunning('accept', 'SIGKILL');
    await until(() => orphan === undefined || !isRunning(orphan), 'the orphan is gone');
    await service.start();
  }

  async function ask<T>(path: string): Promise<T> {
    let reply: { status: number; body: unknown } = { status: 0, body: undefined };
    await until(
      async () => {
        const response = await fetch(`${url}${path}`, { keepalive: false }).catch(() => undefined);
        if (response === undefined) return false;
        reply = { status: response.status, body: await response.json() };
        return response.status !== 503;
      },
      () => `${path} is answered; last: ${JSON.stringify(reply)}`,
    );
    if (reply.status !== 200) throw new Error(`${path} answered ${reply.status}: ${JSON.stringify(reply.body)}`);
    return reply.body as T;
  }

  const sinks = async () => (await ask<{ sinks: readonly SinkView[] }>('/sinks')).sinks;

  async function sinkIs(name: string, isSo: (sink: SinkView) => boolean, what: string): Promise<SinkView> {
    let found: SinkView | undefined;
    await until(
      async () => {
        found = (await sinks()).find((sink) => sink.name === name);
        return found !== undefined && isSo(found);
      },
      () => `/sinks says that ${name} is ${what}; it says ${JSON.stringify(found)}\n${service.output()}`,
    );
    return found as SinkView;
  }

  async function drained(): Promise<void> {
    if (await drain(url, DRAIN_TIMEOUT_MS)) return;
    const health = JSON.stringify(await askJson(`${url}/health`));
    throw new Error(`not drained in ${DRAIN_TIMEOUT_MS} ms: ${health}\n${service.output()}`);
  }

  function broken(stored: Stored): string[] {
    return [...ledger.refusals(killed ? ENDING : undefined), ...compare(ledger, stored)];
  }

  async function stop(stored: Stored): Promise<string[]> {
    const code = await service.stop();
    return [
      ...(code === 0 ? [] : [`SIGTERM ended with exit code ${code}:\n${service.output()}`]),
      ...compareCounters([service.dataFolder], stored),
    ];
  }

  return {
    seed,
    random,
    service,
    ledger,
    load,
    probe: () => probe,
    quiet,
    acknowledged,
    kill,
    hasKilled: () => killed,
    ask,
    sinks,
    sinkIs,
    reconcile: () => ask<ReconcileView>('/reconcile'),
    drained,
    broken,
    stop,
    stored: () => readStored(url),
  };
}

/** What is wrong with the sums, as sentences; `pending`: sinks that may still have something to do. */
export function unbalanced(view: ReconcileView, stored: Stored, pending: readonly string[] = []): string[] {
  const { total, discrepancies, caveats } = view;
  return [
    ...discrepancies.map(({ message }) => `reconcile: ${message}`),
    ...caveats.map((caveat) => `reconcile, note: ${caveat}`),
    ...(pending.length > 0 || total.acknowledged === stored.count
      ? []
      : [`reconcile: ${total.acknowledged} acknowledged, ${stored.count} in the table`]),
    ...Object.entries(total.sinks)
      .filter(([name, one]) => one.pending > 0 && !pending.includes(name))
      .map(([name, one]) => `reconcile: ${one.pending} pending for ${name}`),
  ];
}
