/** One run with several processes that share a Redis: writers write to all of them while one after the other is killed. */
import { isRunning } from '@libs/runtime';
import type { Excuse } from './audit.ts';
import type { Rewrite } from './fault-source.preload.ts';
import { type Findings, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import type { Role, Service } from './service.ts';
import { until } from './until.ts';
import { startWriters } from './writers.ts';

export interface SharedRunOptions {
  readonly seed: number;
  readonly kills: number;
  readonly instances: number;
  /** Accept processes of each instance. */
  readonly workers: number;
  readonly rewrites?: readonly Rewrite[];
  readonly excuse?: Excuse;
  readonly say?: (line: string) => void;
}

export interface SharedRunReport extends Findings {
  readonly promised: number;
  readonly answers: Readonly<Record<string, number>>;
  readonly retries: Readonly<Record<string, number>>;
  readonly killed: readonly string[];
}

/** Of what is sent, so much is a copy, sent to another instance where there is one. */
const COPIES_SHARE = 0.2;
/** A supervisor restarts a child ever more slowly: before that bores us, the whole instance goes. */
const CHILD_KILLS_PER_LIFE = 2;
/** Redis answers throughout: a busy machine must not look like an outage of it. */
const SETTINGS = { REDIS_TIMEOUT_MS: '10000' };
/** A run with less proves nothing. */
const ACKS_MIN = 500;
const BATCH_EVENTS = 200;
const ACKS_TIMEOUT_MS = 60_000;

export async function runShared(options: SharedRunOptions): Promise<SharedRunReport> {
  const { seed, kills, workers, rewrites = [], say = () => undefined } = options;
  const random = createSeeded(seed);
  const instances = await startInstances(random, {
    count: options.instances,
    workers,
    preloads: rewrites.length === 0 ? [] : ['fault-source.preload.ts'],
    settings: { ...SETTINGS, INTEGRITY_REWRITE: JSON.stringify(rewrites) },
  });
  const { services, urls, ledger } = instances;
  const load = startWriters(urls, ledger, random, { copiesShare: COPIES_SHARE, fresh: workers > 1 });
  const childKills = new Map<Service, number>();
  const killed: string[] = [];

  async function moment(): Promise<void> {
    const before = load.acks();
    await until(
      () => load.acks() > before,
      () => `anything is acknowledged:\n${services.map((service) => service.output()).join('\n')}`,
      ACKS_TIMEOUT_MS,
    );
    await Bun.sleep(random.integer(0, random.next() < 0.5 ? 50 : 500));
  }

  async function killOne(): Promise<void> {
    const at = random.integer(0, services.length - 1);
    const service = services[at] as Service;
    const roles = rolesOf(workers);
    // The claims are accept's: without its death the run would prove little.
    const role = killed.length === 0 ? 'accept' : random.pick([...roles.filter((one) => one !== 'deliver'), ...roles]);
    const inLife = childKills.get(service) ?? 0;
    await moment();
    if (inLife < CHILD_KILLS_PER_LIFE && random.next() < 0.75) {
      say(`SIGKILL ${role} of ${at}`);
      childKills.set(service, inLife + 1);
      const identity = await service.signal(role, 'SIGKILL');
      await until(() => !isRunning(identity), `${role} is gone`);
      killed.push(role);
    } else {
      say(`SIGKILL all of ${at}`);
      childKills.delete(service);
      for (const one of roles) if (service.find(one)) await service.signal(one, 'SIGKILL');
      await service.killSupervisor();
      killed.push('all');
      // The others go on meanwhile.
      if (services.length > 1) await moment();
      await service.start();
    }
  }

  /** Ids of the whole run are known everywhere, also those that were durable and not confirmed when their process died. */
  async function sendAgain(): Promise<string[]> {
    const unknown: string[] = [];
    const sample = ledger.sample();
    for (const client of instances.clients)
      for (let from = 0; from < sample.length; from += BATCH_EVENTS) {
        const events = sample.slice(from, from + BATCH_EVENTS);
        let answers = await client.batch(events, 'json');
        // A process that came back last may still be confirming what its predecessor had made durable.
        await until(async () => {
          const isOpen = answers.some((answer) => answer?.kind === 'retry');
          if (isOpen) answers = await client.batch(events, 'json');
          return !isOpen;
        }, 'events that are sent again are answered');
        for (const [n, answer] of answers.entries())
          if (answer?.kind !== 'duplicate')
            unknown.push(`${events[n]?.key}, sent again, was ${JSON.stringify(answer)}`);
      }
    return unknown.slice(0, 10);
  }

  while (killed.length < kills) await killOne();
  await until(() => load.acks() > ACKS_MIN, `${ACKS_MIN} events are acknowledged`);
  await until(() => services.every((service) => rolesOf(workers).every((role) => service.find(role))), 'all are back');
  await moment();
  await load.finish();
  const unknown = await sendAgain();
  const findings = await instances.finish(options.excuse);
  return {
    ...findings,
    broken: [...findings.broken, ...unknown],
    promised: [...ledger.entries().values()].filter(({ promised }) => promised).length,
    answers: { ...ledger.counts() },
    retries: { ...ledger.retries() },
    killed,
  };
}

function rolesOf(workers: number): Role[] {
  const accepts = Array.from({ length: workers }, (_, n): Role => (n === 0 ? 'accept' : `accept-${n}`));
  return [...accepts, 'deliver'];
}
