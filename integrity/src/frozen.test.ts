/** Processes that do not die but stand still (SIGSTOP), and orphans. */
import { afterEach, expect, test } from 'bun:test';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, type ProcessIdentity, REFUSAL_EXIT_CODE } from '@libs/runtime';
import { startScenario } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp, type Service } from './service.ts';
import { until } from './until.ts';
import { startWriters } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
/** The one time that is promised. */
const ORPHAN_LIFE_MS = 10_000;

afterEach(cleanUp);

const gone = (identity: ProcessIdentity): Promise<void> =>
  until(() => !isRunning(identity), `process ${identity.pid} has ended`);

test(
  'a frozen accept whose supervisor was killed is ended by the next supervisor, before the journal has another writer',
  async () => {
    const scenario = await startScenario(createSeeded(SEED));
    const { service, client, events } = scenario;
    await scenario.untilAnswered(events.good());
    const frozen = await service.signal('accept', 'SIGSTOP');
    // It stands in the kernel's queue: the frozen process would write it as soon as it was thawed.
    const inside = events.good();
    const answer = client.single(inside);
    await service.killSupervisor();
    expect(isRunning(frozen)).toBe(true);
    await service.start();
    expect(isRunning(frozen)).toBe(false);
    expect(await service.pid('accept')).not.toBe(frozen.pid);
    expect(await answer).toBeUndefined();
    await scenario.untilAnswered(inside);
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'a frozen accept that stands in no record keeps its lock: the next service refuses, and says what to do',
  async () => {
    const scenario = await startScenario(createSeeded(SEED));
    const { service, events } = scenario;
    await scenario.untilAnswered(events.good());
    const frozen = await service.signal('accept', 'SIGSTOP');
    const deliver = service.find('deliver');
    await service.killSupervisor();
    if (deliver !== undefined) await gone(deliver);
    rmSync(join(service.dataFolder, 'run', 'processes.json'));
    service.launch();
    await until(() => service.exitCode() !== undefined, 'the next supervisor has ended');
    expect([service.exitCode(), isRunning(frozen)]).toEqual([REFUSAL_EXIT_CODE, true]);
    expect(service.output()).toMatch(/is taken|in use by another process/);
    // Thawed, it finds its supervisor gone and ends.
    process.kill(frozen.pid, 'SIGCONT');
    await gone(frozen);
    await service.start();
    await scenario.untilAnswered(events.good());
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'no orphan outlives a supervisor by more than ten seconds, also under load',
  async () => {
    const { service, ledger, audit } = await startScenario(createSeeded(SEED));
    const writers = startWriters(service.url, ledger, createSeeded(SEED));
    await until(() => writers.acks() > 500, 'the service is under load');
    const orphans = both(service);
    await service.killSupervisor();
    const killedAt = performance.now();
    await Promise.all(orphans.map(gone));
    expect(performance.now() - killedAt).toBeLessThan(ORPHAN_LIFE_MS);
    await service.start();
    await writers.finish();
    expect(await audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'while deliver stands still accept goes on acknowledging, and says that deliver is away',
  async () => {
    const scenario = await startScenario(createSeeded(SEED));
    const { service, client, events } = scenario;
    await service.signal('deliver', 'SIGSTOP');
    for (let round = 0; round < 20; round++) {
      const answers = await client.batch(Array.from({ length: 25 }, events.good), 'lines');
      expect(answers.filter((answer) => answer?.kind !== 'accepted')).toEqual([]);
    }
    await until(async () => {
      const health = await fetch(`${service.url}/health`);
      const body = (await health.json()) as { services: { deliver: { state: string } } };
      return health.status === 200 && body.services.deliver.state === 'unhealthy';
    }, '/health says that deliver is away');
    expect((await scenario.ready())[0]).toBe(200);
    await service.signal('deliver', 'SIGCONT');
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'a frozen supervisor changes nothing for those who send, and killed it leaves nothing behind',
  async () => {
    const scenario = await startScenario(createSeeded(SEED));
    const { service, events } = scenario;
    const orphans = both(service);
    service.signalSupervisor('SIGSTOP');
    await scenario.untilAnswered(events.good());
    await service.killSupervisor();
    await Promise.all(orphans.map(gone));
    await service.start();
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

function both(service: Service): ProcessIdentity[] {
  const found = [service.find('accept'), service.find('deliver')];
  const running = found.filter((one) => one !== undefined);
  expect(running).toHaveLength(2);
  return running;
}
