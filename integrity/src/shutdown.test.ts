/** SIGTERM and SIGINT under load: an orderly end, no answer that is wrong, and nothing lost. */
import { afterEach, expect, test } from 'bun:test';
import { pendingEvents, startScenario } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp } from './service.ts';
import { connectSocket } from './socket-client.ts';
import { until } from './until.ts';
import { startWriters } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;

afterEach(cleanUp);

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(
    `${signal} under load: exit code 0, WebSockets get 1001, no 5xx but 503, and what is left is delivered at the next start`,
    async () => {
      const { service, ledger, audit } = await startScenario(createSeeded(SEED));
      const idle = await connectSocket(service.url);
      const writers = startWriters(service.url, ledger, createSeeded(SEED));
      for (let round = 1; round <= 3; round++) {
        const before = writers.acks();
        await until(() => writers.acks() > before + 500, 'the service is under load');
        // The last time with a backlog that deliver has no time for.
        if (round === 3) await service.signal('deliver', 'SIGSTOP');
        service.signalSupervisor(signal);
        if (round === 3) await until(() => service.find('accept') === undefined, 'accept has ended');
        if (round === 3) await service.signal('deliver', 'SIGCONT');
        await until(
          () => service.exitCode() !== undefined,
          () => `the supervisor has ended:\n${service.output()}`,
        );
        expect([service.exitCode(), ledger.broken()]).toEqual([0, []]);
        await service.start();
      }
      expect(await idle.closed()).toBe(1001);
      expect(writers.closeCodes().length).toBeGreaterThan(2);
      expect(new Set(writers.closeCodes())).toEqual(new Set([1001]));
      await writers.finish();
      expect(await audit()).toEqual([]);
    },
    TIMEOUT_MS,
  );

test(
  'a caller who waits for the store does not hold up the end: it is told what was reached',
  async () => {
    const { service, client, events, audit } = await startScenario(createSeeded(SEED), {
      settings: { ACK_TIMEOUT_MS: '300000' },
    });
    await service.signal('deliver', 'SIGSTOP');
    const answer = client.single(events.good(), 'stored');
    await until(async () => (await pendingEvents(service.url)) === 1, 'the journal has taken it');
    service.signalSupervisor('SIGTERM');
    expect(await answer).toMatchObject({ kind: 'accepted', level: 'journal' });
    await until(() => service.find('accept') === undefined, 'accept has ended');
    await service.signal('deliver', 'SIGCONT');
    expect(await service.stop()).toBe(0);
    await service.start();
    expect(await audit()).toEqual([]);
  },
  TIMEOUT_MS,
);
