/** The hosts that a store can be reached through, and which of them a block belongs to. */
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { type ServerStoreOptions, serverUrls } from './store-options.ts';

export type StoreClient = ReturnType<typeof createClient>;

export interface StoreHost {
  /** Its URL; `embedded` for the engine in this process. */
  readonly name: string;
  readonly client: StoreClient;
}

export interface StoreHosts {
  readonly all: readonly StoreHost[];
  /** The host that answered last, and the others behind it. */
  inTurn(): readonly StoreHost[];
  /** This one did not answer: the next one goes first from now on. */
  failed(host: StoreHost): void;
  /** In the order in which a block with that token prefers them: the same in every process and after a restart. */
  forToken(token: string): readonly StoreHost[];
  /** Throws `RangeError` for a name that is none of them. */
  named(name: string): StoreHost;
  close(): Promise<void>;
}

export const REQUEST_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 2_500;
const CONNECTIONS_MAX = 10;
/** Fast and still a fifth of the bytes; the defaults (6 and 3) cost three times the processor. */
const COMPRESSION_LEVEL = 1;

export function createHosts(all: readonly StoreHost[]): StoreHosts {
  let first = 0;
  return {
    all,
    inTurn: () => [...all.slice(first), ...all.slice(0, first)],
    failed(host) {
      if (all[first] === host) first = (first + 1) % all.length;
    },
    // Rendezvous hashing: a host that is added or removed moves only the blocks that it gains or loses.
    forToken: (token) =>
      all
        .map((host) => ({ host, weight: Bun.hash.xxHash3(`${token}\n${host.name}`) }))
        .toSorted((a, b) => (a.weight < b.weight ? 1 : -1))
        .map(({ host }) => host),
    named(name) {
      const host = all.find((one) => one.name === name);
      if (host === undefined) throw new RangeError(`the store has no host ${name}`);
      return host;
    },
    close: async () => {
      await Promise.all(all.map(({ client }) => client.close()));
    },
  };
}

/** Clients for every URL; nothing is connected yet. */
export function serverHosts(options: ServerStoreOptions): StoreHosts {
  const { tls, compression = 'none' } = options;
  const clients = serverUrls(options.url).map((url): StoreHost => {
    const client = createClient({
      url,
      username: options.username,
      password: options.password,
      request_timeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      max_open_connections: options.connectionsMax ?? CONNECTIONS_MAX,
      compression: {
        request: compression === 'none' ? false : { codec: compression, level: COMPRESSION_LEVEL },
        response: false,
      },
      keep_alive: {
        enabled: true,
        idle_socket_ttl: options.keepAliveMs ?? KEEP_ALIVE_MS,
        // A timer that fires late must not hand out a connection that the server has closed.
        eagerly_destroy_stale_sockets: true,
      },
      application: 'weir',
      // What it would print reaches our callers as errors.
      log: { level: ClickHouseLogLevel.OFF },
      ...(tls && url.startsWith('https:') ? { tls: clientTls(tls) } : {}),
    });
    return { name: url, client };
  });
  return createHosts(clients);
}

function clientTls({ ca, cert, key }: NonNullable<ServerStoreOptions['tls']>) {
  const ca_cert = Buffer.from(ca);
  return cert === undefined || key === undefined
    ? { ca_cert }
    : { ca_cert, cert: Buffer.from(cert), key: Buffer.from(key) };
}
