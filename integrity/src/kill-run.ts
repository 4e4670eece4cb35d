/** One run: writers write, processes die at random moments and come back, and at the end everything is held against the ledger. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning } from '@libs/runtime';
import { compare, compareCounters, drain, readStored } from './audit.ts';
import type { Rewrite } from './fault-source.preload.ts';
import { createHttpClient } from './http-client.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { createSeeded, type Seeded } from './seeded.ts';
import { createService, type Role, type Service, temporaryFolder } from './service.ts';
import { until } from './until.ts';
import { startWriters } from './writers.ts';

export interface KillRunOptions {
  readonly seed: number;
  /** SIGKILLs, at least. */
  readonly kills: number;
  /** Lines of the service's own code that are changed on the way in. */
  readonly rewrites?: readonly Rewrite[];
  /** How often `dieAt` in such a line kills its process; the run goes on until it has. */
  readonly deaths?: number;
  /** Every sync of the journal takes 15 ms longer, so that commits and new segments go through the thread pool. */
  readonly slowDisk?: boolean;
  /** Who is killed. Default: everybody, alone and together. */
  readonly victims?: readonly Victim[];
  readonly say?: (line: string) => void;
  /** How long the journal may take to drain at the end. */
  readonly drainTimeoutMs?: number;
  readonly settings?: Readonly<Record<string, string>>;
}

export type Victim = Role | 'supervisor' | 'all';

export interface KillReport {
  /** Broken promises, as sentences. Empty: all were kept. */
  readonly broken: readonly string[];
  readonly kills: Readonly<Record<Victim, number>>;
  readonly stops: number;
  readonly stored: number;
  readonly promised: number;
  readonly answers: Ledger['counts'] extends () => infer Counts ? Counts : never;
  /** Answers `retry`, by their code. */
  readonly retries: Readonly<Record<string, number>>;
  /** Blocks that were on their way when deliver died and were sent again. */
  readonly resentBlocks: number;
  /** The highest number that a segment had, and how many files the journal had at the end. */
  readonly segments: number;
  readonly files: number;
}

/** A supervisor restarts a child ever more slowly: before that bores us, the supervisor itself goes. */
const CHILD_KILLS_PER_LIFE = 3;
const KEEPS_DYING_MS = 60_000;
const DEATHS_TIMEOUT_MS = 60_000;
const OLD_BATCH_EVENTS = 200;

export async function runKills(options: KillRunOptions): Promise<KillReport> {
  const random = createSeeded(options.seed);
  const ledger = createLedger();
  const deaths = createDeaths(options);
  const service = createService(deaths.service);
  const load = startWriters(service.url, ledger, random, { givesUp: true });
  const killed: Record<Victim, number> = { accept: 0, deliver: 0, supervisor: 0, all: 0 };
  const killer = createKiller({ service, random, load, killed, victims: options.victims, say: options.say });
  let finished = false;
  try {
    await service.start();
    while (sum(killed) < options.kills) await killer.life(options.kills - sum(killed));
    await until(
      () => deaths.left() === 0 || service.exitCode() !== undefined,
      () => `${deaths.left()} more deaths:\n${service.output()}`,
      DEATHS_TIMEOUT_MS,
    );
    // What is still on its way when the writers stop is answered by a service that nobody kills any more.
    await service.whenReady();
    await load.finish();
    finished = true;
    return await finish(service, ledger, killed, killer.stops(), options.drainTimeoutMs);
  } catch (error) {
    if (finished) throw error;
    return failed(service, ledger, killed, killer.stops(), error as Error);
  } finally {
    if (!finished) void load.finish();
  }
}

/** The service with its disk or its code changed, and the folder in which it counts how often it may still die by itself. */
function createDeaths({ rewrites = [], deaths = 0, slowDisk = false, settings }: KillRunOptions) {
  const folder = temporaryFolder();
  const syncFault = join(folder, 'sync-fault');
  writeFileSync(join(folder, 'left'), String(deaths));
  writeFileSync(syncFault, slowDisk ? 'slow' : '');
  const faults = {
    INTEGRITY_REWRITE: JSON.stringify(rewrites),
    INTEGRITY_DEATHS: folder,
    ...(slowDisk ? { INTEGRITY_SYNC_FAULT: syncFault } : {}),
  };
  const preloads = [
    ...(rewrites.length > 0 ? ['fault-source.preload.ts'] : []),
    ...(slowDisk ? ['fault-sync.preload.ts'] : []),
  ];
  return {
    service: { preloads, settings: { ...settings, ...faults } },
    left: () => Number(readFileSync(join(folder, 'left'), 'utf8')),
  };
}

interface KillerParts {
  readonly service: Service;
  readonly random: Seeded;
  readonly load: { acks(): number };
  readonly killed: Record<Victim, number>;
  readonly victims: readonly Victim[] | undefined;
  readonly say: ((line: string) => void) | undefined;
}

function createKiller({ service, random, load, killed, victims, say = () => undefined }: KillerParts) {
  const may = (victim: Victim): boolean => victims === undefined || victims.includes(victim);
  const roles = (['accept', 'deliver', 'deliver'] as const).filter(may);
  const enders = (['supervisor', 'all'] as const).filter(may);
  let stops = 0;

  /** From a start of the supervisor to its end, and the next start. */
  async function life(killsLeft: number): Promise<void> {
    const children = roles.length === 0 ? 0 : random.integer(1, CHILD_KILLS_PER_LIFE);
    for (let n = 0; n < Math.min(children, killsLeft); n++) await killChild(random.pick(roles));
    if (children >= killsLeft) return;
    await moment();
    if (enders.length === 0 || random.next() < 0.2) {
      say('SIGTERM');
      stops += 1;
      const code = await service.stop();
      if (code !== 0) throw new Error(`SIGTERM ended with exit code ${code}`);
    } else if (random.pick(enders) === 'all') await killAll();
    else await killSupervisor();
    await service.start();
  }

  async function killChild(role: Role): Promise<void> {
    await moment();
    say(`SIGKILL ${role}`);
    const { pid, startTime } = await service.signal(role, 'SIGKILL');
    killed[role] += 1;
    await until(() => !isRunning({ pid, startTime }), `${role} is gone`);
    const code = service.exitCode();
    if (code !== undefined) throw new Error(`the supervisor ended with exit code ${code}`);
  }

  /** The supervisor alone: its children find out by themselves, or the next supervisor finds them. */
  async function killSupervisor(): Promise<void> {
    say('SIGKILL supervisor');
    killed.supervisor += 1;
    const orphans = (['accept', 'deliver'] as const).map(service.find);
    await service.killSupervisor();
    if (random.next() < 0.5) return;
    await until(() => orphans.every((one) => one === undefined || !isRunning(one)), 'the orphans have ended', 20_000);
  }

  async function killAll(): Promise<void> {
    say('SIGKILL all');
    killed.all += 1;
    const supervisorFirst = random.next() < 0.5;
    if (supervisorFirst) await service.killSupervisor();
    for (const role of ['deliver', 'accept'] as const) service.signalIfRunning(role, 'SIGKILL');
    await service.killSupervisor();
  }

  /** Right after a kill (in the middle of a recovery), at any time, or just behind an ack, while its block is on its way. */
  async function moment(): Promise<void> {
    const choice = random.next();
    if (choice < 0.2) return Bun.sleep(random.integer(0, 400));
    await service.pid('deliver');
    const before = load.acks();
    await until(
      () => load.acks() > before || service.exitCode() !== undefined,
      () => `anything is acknowledged again:\n${service.output()}`,
      KEEPS_DYING_MS,
    );
    await Bun.sleep(random.integer(0, choice < 0.7 ? 50 : 2_000));
  }

  return { life, stops: () => stops };
}

async function finish(
  service: Service,
  ledger: Ledger,
  killed: Readonly<Record<Victim, number>>,
  stops: number,
  drainTimeoutMs: number | undefined,
): Promise<KillReport> {
  const forgotten = await sendOldOnes(service, ledger);
  const drained = await drain(service.url, drainTimeoutMs);
  const stored = await readStored(service.url);
  const broken = [...forgotten, ...(drained ? [] : ['the journal was not drained']), ...compare(ledger, stored)];
  const code = await service.stop();
  if (code !== 0) broken.push(`SIGTERM ended with exit code ${code}`);
  broken.push(...compareCounters([service.dataFolder], stored));
  return { broken, stored: stored.count, ...summary(service, ledger, killed, stops) };
}

/** Ids of the whole run, most of them of segments that are long gone, are known after one more start. */
async function sendOldOnes(service: Service, ledger: Ledger): Promise<string[]> {
  await service.stop();
  await service.start();
  const client = createHttpClient(service.url, ledger);
  const forgotten: string[] = [];
  const sample = ledger.sample();
  for (let at = 0; at < sample.length; at += OLD_BATCH_EVENTS) {
    const events = sample.slice(at, at + OLD_BATCH_EVENTS);
    const answers = await client.batch(events, 'json');
    for (const [n, answer] of answers.entries())
      if (answer?.kind !== 'duplicate') forgotten.push(`${events[n]?.key}, sent again, was ${answer?.kind}`);
  }
  return forgotten.slice(0, 10);
}

function failed(
  service: Service,
  ledger: Ledger,
  killed: Readonly<Record<Victim, number>>,
  stops: number,
  error: Error,
): KillReport {
  const broken = [...ledger.broken(), `the service did not go on: ${error.message}`, service.output()];
  return { broken, stored: 0, ...summary(service, ledger, killed, stops) };
}

function summary(service: Service, ledger: Ledger, kills: Readonly<Record<Victim, number>>, stops: number) {
  const folder = join(service.dataFolder, 'journals');
  const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  const numbers = names.map((name) => Number(/(\d{12})\.segment$/.exec(name)?.[1] ?? 0));
  return {
    kills: { ...kills },
    stops,
    promised: [...ledger.entries().values()].filter(({ promised }) => promised).length,
    answers: { ...ledger.counts() },
    retries: { ...ledger.retries() },
    resentBlocks: service.output(Number.MAX_SAFE_INTEGER).split('a block was on its way').length - 1,
    segments: Math.max(0, ...numbers),
    files: names.length,
  };
}

export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
