/** Several instances around one Redis and one store, with a hand on each of them, a ledger, and the audit at the end. */
import { type ClickHouseProcess, startClickHouseProcess } from '@libs/database/testing';
import { type Redis, startRedis } from '@libs/services';
import { RedisClient } from 'bun';
import { askJson, compare, compareCounters, drain, type Excuse, readStored, storedTwice } from './audit.ts';
import { createEventMaker, type EventMaker, type SentEvent } from './events.ts';
import { createHttpClient, type HttpClient } from './http-client.ts';
import { createLedger, type Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';
import { cleanUp, createService, type Service, type ServiceOptions } from './service.ts';
import { until } from './until.ts';

export interface InstancesOptions extends Pick<ServiceOptions, 'preloads'> {
  /** Default 2. */
  readonly count?: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Of the first instance alone. */
  readonly firstSettings?: Readonly<Record<string, string>>;
  /** Accept processes of each. Default 1. */
  readonly workers?: number;
  /** The way to Redis, when something stands in between. */
  readonly redisUrl?: (redis: Redis) => Promise<string>;
}

export interface Instances {
  readonly services: readonly Service[];
  readonly urls: readonly string[];
  readonly redis: Redis;
  readonly ledger: Ledger;
  readonly events: EventMaker;
  /** One for each instance. */
  readonly clients: readonly HttpClient[];
  /** Sends it to one instance until that accepts it or knows it; resolves to the kind of that answer. */
  untilAnswered(event: SentEvent, at: number): Promise<string>;
  /** Waits until `/health` of every instance says this of Redis. */
  untilRedis(isSo: (redis: RedisHealth) => boolean, what: string): Promise<void>;
  /** Waits until everything is stored; broken promises as sentences, and what is stored more than once. */
  audit(excuse?: Excuse): Promise<Findings>;
  /** The same, after the end of all instances, with what the delivers counted. */
  finish(excuse?: Excuse): Promise<Findings>;
}

export interface Findings {
  readonly broken: readonly string[];
  /** Keys with more than one row in `raw_events`; in the view each of them is there once. */
  readonly twice: readonly string[];
  readonly stored: number;
}

export interface RedisHealth {
  readonly state: string;
  readonly skipping?: string;
  readonly pendingConfirms: number;
}

const servers = new Set<{ close(): Promise<void> }>();

export async function startInstances(random: Seeded, options: InstancesOptions = {}): Promise<Instances> {
  const [redis, store] = await startServers();
  const redisUrl = (await options.redisUrl?.(redis)) ?? redis.url;
  const workers = options.workers ?? 1;
  const services = Array.from({ length: options.count ?? 2 }, (_, at) =>
    createService({
      ...(options.preloads === undefined ? {} : { preloads: options.preloads }),
      settings: {
        REDIS_URL: redisUrl,
        CLICKHOUSE_URL: store.url,
        WEIR_WORKERS: String(workers),
        ...options.settings,
        ...(at === 0 ? options.firstSettings : {}),
      },
    }),
  );
  // The first one makes the tables.
  for (const service of services) await service.start();
  const ledger = createLedger();
  const urls = services.map(({ url }) => url);
  const clients = urls.map((url) => createHttpClient(url, ledger, { fresh: workers > 1 }));

  async function untilAnswered(event: SentEvent, at: number): Promise<string> {
    let kind = '';
    await until(
      async () => {
        kind = (await clients[at]?.single(event))?.kind ?? '';
        return kind === 'accepted' || kind === 'duplicate';
      },
      () => `${event.key} is answered, not ${kind}:\n${services[at]?.output()}`,
    );
    return kind;
  }

  async function untilRedis(isSo: (health: RedisHealth) => boolean, what: string): Promise<void> {
    let last: unknown;
    const isSoAt = async (url: string): Promise<boolean> => {
      const health = (await askJson(`${url}/health`)) as { services?: { redis?: RedisHealth } } | undefined;
      last = health?.services?.redis;
      return health?.services?.redis !== undefined && isSo(health.services.redis);
    };
    for (const url of urls)
      await until(
        () => isSoAt(url),
        () => `${what}, not ${JSON.stringify(last)}`,
      );
  }

  async function look(excuse: Excuse) {
    const broken: string[] = [];
    for (const { url } of services)
      if (!(await drain(url, undefined, workers))) broken.push(`the journals of ${url} were not drained`);
    const stored = await readStored(urls[0] as string);
    broken.push(...compare(ledger, stored, excuse));
    return { stored, findings: { broken, twice: storedTwice(stored), stored: stored.count } };
  }

  async function finish(excuse: Excuse = 'none'): Promise<Findings> {
    const { stored, findings } = await look(excuse);
    const codes = await Promise.all(services.map((service) => service.stop()));
    const ends = codes.flatMap((code, at) =>
      code === 0 ? [] : [`SIGTERM ended instance ${at} with exit code ${code}:\n${services[at]?.output()}`],
    );
    const folders = services.map(({ dataFolder }) => dataFolder);
    return { ...findings, broken: [...findings.broken, ...ends, ...compareCounters(folders, stored)] };
  }

  return {
    services,
    urls,
    redis,
    ledger,
    events: createEventMaker(random, 'scripted', 'scripted'),
    clients,
    untilAnswered,
    untilRedis,
    audit: async (excuse = 'none') => (await look(excuse)).findings,
    finish,
  };
}

async function startServers(): Promise<readonly [Redis, ClickHouseProcess]> {
  const redis = await startRedis();
  servers.add(redis);
  const store = await startClickHouseProcess();
  servers.add(store);
  return [redis, store];
}

/** An order to the server at this URL. */
export async function order(url: string, command: string, ...words: readonly string[]): Promise<unknown> {
  const client = new RedisClient(url, { autoReconnect: false });
  try {
    return await client.send(command, [...words]);
  } finally {
    client.close();
  }
}

/** For `afterEach` or `afterAll`: ends everything that was started here. */
export async function cleanUpInstances(): Promise<void> {
  await cleanUp();
  for (const server of servers) await server.close();
  servers.clear();
}
