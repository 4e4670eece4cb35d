/** The servers that Weir can use, real ones but for ClickHouse, each a process of its own. */
import { startKafka, startRedis } from '@libs/services';
import type { Children, Closable } from './children.ts';
import type { NamedProcess } from './processes.ts';

export const STACK_SERVERS = ['redis', 'kafka', 'clickhouse'] as const;
export type StackServer = (typeof STACK_SERVERS)[number];

/** Wherever figures are shown that were made with it. */
export const CLICKHOUSE_NOTE =
  "ClickHouse is a stand-in: the embedded engine behind ClickHouse's HTTP, in a process of its own (no package registry offers the server).";

export interface Stack {
  /** Environment variables that make Weir use them. */
  readonly settings: Readonly<Record<string, string>>;
  processes(): NamedProcess[];
  /** SIGKILL; what it had stored stays. */
  kill(name: StackServer): Promise<void>;
  restart(name: StackServer): Promise<void>;
  close(): Promise<void>;
}

interface Started {
  readonly name: StackServer;
  readonly setting: readonly [string, string];
  readonly server: Closable & { pid(): number | undefined; kill(): Promise<void>; restart(): Promise<void> };
}

/** Throws when one cannot be had: `npm run services -- install` gets them. */
export async function startStack(names: readonly StackServer[], children: Children): Promise<Stack> {
  const started: Started[] = [];
  const owned: Closable[] = [];
  const close = async () => {
    for (const one of owned.toReversed()) await one.close();
  };
  try {
    for (const name of names) {
      const one = await START[name]();
      started.push(one);
      owned.push(children.adopt(one.server));
    }
  } catch (error) {
    await close();
    throw error;
  }
  const serverOf = (name: StackServer) => {
    const found = started.find((one) => one.name === name);
    if (found === undefined) throw new Error(`${name} was not started`);
    return found.server;
  };
  return {
    settings: Object.fromEntries(started.map(({ setting }) => setting)),
    processes: () =>
      started.flatMap(({ name, server }) => {
        const pid = server.pid();
        return pid === undefined ? [] : [{ name, pid }];
      }),
    kill: (name) => serverOf(name).kill(),
    restart: (name) => serverOf(name).restart(),
    close,
  };
}

const START: Record<StackServer, () => Promise<Started>> = {
  async redis() {
    const server = await startRedis();
    return { name: 'redis', setting: ['REDIS_URL', server.url], server };
  },
  async kafka() {
    const server = await startKafka();
    return { name: 'kafka', setting: ['KAFKA_BROKERS', server.brokers], server };
  },
  async clickhouse() {
    // It loads the engine's library, which takes 200 MB.
    const { startClickHouseProcess } = await import('@libs/database/testing');
    const server = await startClickHouseProcess();
    return { name: 'clickhouse', setting: ['CLICKHOUSE_URL', server.url], server };
  },
};
