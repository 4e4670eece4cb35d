/** Journals that belong to no worker any more: a start with fewer workers delivers them, still knows their ids, and removes them. */
import { afterEach, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { lacks } from '@libs/services';
import type { SentEvent } from './events.ts';
import { cleanUpInstances, startInstances } from './instances.ts';
import { journalOf } from './ledger.ts';
import { createSeeded } from './seeded.ts';
import type { Service } from './service.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
/** A journal stays until its ids have left the window. */
const WINDOW_MS = 20_000;

afterEach(cleanUpInstances);

describe.skipIf(lacks({ start: ['redis'] }))('a start with fewer workers', () => {
  test(
    'delivers what the others left behind, knows its ids, and removes its journals',
    async () => {
      const instances = await startInstances(createSeeded(SEED), {
        count: 1,
        workers: 3,
        settings: { DEDUPE_WINDOW_MS: String(WINDOW_MS), REDIS_TIMEOUT_MS: '10000' },
      });
      const { services, clients, events, untilAnswered } = instances;
      const [service] = services as [Service];
      // What is accepted from now on stays in the journals.
      await service.signal('deliver', 'SIGSTOP');
      const byJournal = new Map<string, SentEvent>();
      await until(async () => {
        const event = events.good();
        const answer = await clients[0]?.single(event);
        if (answer?.kind === 'accepted') byJournal.set(journalOf(answer.position ?? ''), event);
        return byJournal.size === 3;
      }, 'each of the three has taken something');
      expect(journals(service)).toHaveLength(3);
      for (const role of ['accept', 'accept-1', 'accept-2', 'deliver'] as const) await service.signal(role, 'SIGKILL');
      await service.killSupervisor();
      service.set({ WEIR_WORKERS: '1' });
      await service.start();
      for (const event of byJournal.values()) expect(await untilAnswered(event, 0)).toBe('duplicate');
      await until(
        () => journals(service).length === 1,
        () => `one is left, not ${journals(service)}`,
      );
      await untilAnswered(events.good(), 0);
      const { broken, twice } = await instances.finish();
      expect({ broken, twice }).toEqual({ broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );
});

function journals({ dataFolder }: Service): string[] {
  return readdirSync(join(dataFolder, 'journals')).filter((name) => /^w\d+-/.test(name) && !name.endsWith('.lock'));
}
