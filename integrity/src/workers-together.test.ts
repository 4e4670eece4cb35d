/**
 * Three accept processes as one service: whichever is asked, /metrics and /health are of all of them, and no counter falls
 * but those of a process that was killed.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import { askJson } from './audit.ts';
import { cleanUpInstances, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import type { Service } from './service.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
const EVENTS = 120;
/** Each is as likely as any other to answer on a new connection: so that one of three is missed once in 2^17 times. */
const ASKS = 30;
const NAMES = ['accept', 'accept-1', 'accept-2'];

interface JsonMetrics {
  readonly ingestion: { readonly eventsReceived: number };
  readonly workers: { readonly configured: number; readonly reporting: number };
}

interface Health {
  readonly status: string;
  readonly services: { readonly journal: { readonly state: string; readonly limitBytes: number } };
  readonly workers: readonly { readonly name: string; readonly state: string; readonly lastError?: string }[];
}

afterEach(cleanUpInstances);

describe.skipIf(lacks({ start: ['redis'] }))('three accept processes', () => {
  test(
    'are asked as one',
    async () => {
      const instances = await startInstances(createSeeded(SEED), {
        count: 1,
        workers: 3,
        settings: { REDIS_TIMEOUT_MS: '10000', JOURNAL_BYTES_MAX: String(1 << 30) },
      });
      const { services, clients, events, untilAnswered } = instances;
      const [service] = services as [Service];
      const scraper = startScraper(service.url);
      let sent = 0;
      let isLoaded = true;
      const load = (async () => {
        for (; isLoaded || sent < EVENTS; sent++) await clients[0]?.single(events.good());
      })();

      await always<Health>(`${service.url}/health`, 'all are well', ({ status, services: { journal }, workers }) => {
        const names = workers.filter(({ state }) => state === 'healthy').map(({ name }) => name);
        return status === 'healthy' && journal.limitBytes === 3 * (1 << 30) && Bun.deepEquals(names, NAMES);
      });

      // Deliver, which passes the reports on, stands still, then dies: the answers say what is missing.
      await service.signal('deliver', 'SIGSTOP');
      await always<JsonMetrics>(`${service.url}/metrics`, 'each for itself', ({ workers }) => workers.reporting === 1);
      await always<Health>(`${service.url}/health`, 'only one is known', ({ status, workers }) => {
        const unknown = workers.filter(({ lastError = '' }) => lastError.startsWith('Not known while the deliver'));
        return status === 'degraded' && unknown.length === 2;
      });
      await service.signal('deliver', 'SIGKILL');
      await always<JsonMetrics>(`${service.url}/metrics`, 'of all again', ({ workers }) => workers.reporting === 3);
      isLoaded = false;
      await load;
      await always<JsonMetrics>(`${service.url}/metrics`, 'the sum of all', ({ ingestion, workers }) => {
        return ingestion.eventsReceived === sent && workers.reporting === 3;
      });
      expect(scraper.falls()).toEqual([]);

      await service.signal('accept-1', 'SIGKILL');
      await until(async () => {
        const health = (await askJson(`${service.url}/health`)) as Health | undefined;
        return health?.workers.some(({ name, state }) => name === 'accept-1' && state === 'unhealthy') === true;
      }, 'somebody says that accept-1 is away');
      await always<Health>(`${service.url}/health`, 'all are back', ({ status }) => status === 'healthy');
      await untilAnswered(events.good(), 0);
      await scraper.stop();
      expect(scraper.falls().filter((fall) => !fall.includes('worker="accept-1"'))).toEqual([]);
      // The check can fail: the counters of the one that was killed did begin anew.
      expect(scraper.falls().length).toBeGreaterThan(0);
      const { broken, twice } = await instances.finish();
      expect({ seed: SEED, broken, twice }).toEqual({ seed: SEED, broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );
});

/** Waits until so many answers in a row, each on a connection of its own, are as they should be. */
async function always<T>(url: string, what: string, isSo: (answer: T) => boolean): Promise<void> {
  let inRow = 0;
  let last: unknown;
  await until(
    async () => {
      last = await askJson(url);
      inRow = last !== undefined && isSo(last as T) ? inRow + 1 : 0;
      return inRow === ASKS;
    },
    () => `${what}, not ${JSON.stringify(last)}`,
  );
}

/** Scrapes as Prometheus does, another process each time, and notes every counter that fell. */
function startScraper(url: string) {
  const last = new Map<string, number>();
  const falls: string[] = [];
  let stopping = false;

  async function scrape(): Promise<void> {
    const text = await read();
    for (const [, series = '', value] of text.matchAll(/^(weir_\w+_total\{[^}]*worker="[^}]*\}) (\S+)$/gm)) {
      const before = last.get(series) ?? 0;
      if (Number(value) < before) falls.push(`${series} from ${before} to ${value}`);
      last.set(series, Number(value));
    }
  }

  async function read(): Promise<string> {
    try {
      const answer = await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' }, keepalive: false });
      return await answer.text();
    } catch {
      return ''; // a connection that the killed process had
    }
  }

  async function run(): Promise<void> {
    while (!stopping) {
      await scrape();
      await Bun.sleep(50);
    }
  }

  const done = run();
  return {
    falls: () => [...falls],
    async stop() {
      stopping = true;
      await done;
    },
  };
}
