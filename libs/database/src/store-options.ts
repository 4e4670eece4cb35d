/** What a store can be told, and which of it cannot be meant. */
import { Permanent } from '@libs/pipeline';

interface CommonOptions {
  /** Default `weir`; letters, digits and underscores. */
  readonly database?: string;
  /** Days after receivedAt when a row may be dropped; absent: never. */
  readonly retentionDays?: number;
}

export interface EmbeddedStoreOptions extends CommonOptions {
  readonly kind: 'embedded';
  /** The engine's own folder; one process at a time. */
  readonly folder: string;
  /** Memory that the engine may use for everything together; past it, inserts and queries fail with code 241. */
  readonly memoryBytesMax?: number;
}

/** PEM, as text or as bytes. */
export interface StoreTlsOptions {
  /** The authority that signed the server's certificate, instead of those that the system trusts. */
  readonly ca: string | Buffer;
  /** What the client shows the server. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

export interface ServerStoreOptions extends CommonOptions {
  readonly kind: 'server';
  /**
   * `http://` or `https://` with host and port; several, of one cluster, separated by commas or as a list. A block
   * goes to one of them and stays there until its fate is known.
   */
  readonly url: string | readonly string[];
  readonly username: string;
  readonly password: string;
  /** For `https://` with an authority of one's own. */
  readonly tls?: StoreTlsOptions;
  /**
   * The cluster's name in the servers' `remote_servers`: tables are then made `ON CLUSTER`, replicated, behind a
   * Distributed table. Every host must define the macros `shard` and `replica`.
   */
  readonly cluster?: string;
  /** How request bodies are compressed: worth it where the network costs more than the processor. Default `none`. */
  readonly compression?: 'none' | 'gzip' | 'zstd';
  /** How long one request may take, a large insert included, from the first byte to the last. Default 60,000. */
  readonly requestTimeoutMs?: number;
  /** Idle connections are closed after so long; less than the server's `keep_alive_timeout`. Default 2,500. */
  readonly keepAliveMs?: number;
  /** Connections at a time to each host. Default 10. */
  readonly connectionsMax?: number;
}

export type StoreOptions = EmbeddedStoreOptions | ServerStoreOptions;

const DATABASE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const CLUSTER_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
/** Databases that ClickHouse keeps for itself, or that change meaning between server and engine. */
const RESERVED_DATABASES = new Set(['default', 'system', 'information_schema']);
const RETENTION_DAYS_MAX = 36_500;

/** The database's name. Throws `Permanent` for an option that cannot be meant. */
export function checkOptions(options: StoreOptions): string {
  const { database = 'weir', retentionDays } = options;
  if (!DATABASE_NAME.test(database) || RESERVED_DATABASES.has(database.toLowerCase())) {
    throw new Permanent(
      'invalid_database',
      `"${database}" cannot be the store's database: use letters, digits and underscores, and none of ${[...RESERVED_DATABASES].join(', ')}.`,
    );
  }
  const days = retentionDays ?? 1;
  if (!(Number.isInteger(days) && days >= 1 && days <= RETENTION_DAYS_MAX)) {
    throw new Permanent('invalid_retention', `The retention must be 1 to 36,500 days, not ${retentionDays}.`);
  }
  if (options.kind === 'server') checkServer(options);
  return database;
}

function checkServer(options: ServerStoreOptions): void {
  const { cluster } = options;
  if (cluster !== undefined && !CLUSTER_NAME.test(cluster)) {
    throw new Permanent(
      'invalid_cluster',
      `"${cluster}" cannot be a cluster's name: use letters, digits, ".", "_" and "-".`,
    );
  }
  const urls = serverUrls(options.url);
  if (urls.length > 1 && cluster === undefined) {
    throw new Permanent(
      'cluster_required',
      `The store has ${urls.length} URLs and no cluster: name the cluster they belong to, or servers that know nothing of each other would each hold some of the events.`,
    );
  }
}

/** Without duplicates, credentials, trailing slashes. Throws `Permanent` for what is no URL of HTTP. */
export function serverUrls(url: string | readonly string[]): string[] {
  const texts = (typeof url === 'string' ? url.split(',') : url)
    .map((text) => text.trim())
    .filter((text) => text !== '');
  const urls = texts.map((text) => {
    const parsed = URL.parse(text);
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
      throw new Permanent('invalid_url', 'The store needs a URL such as http://clickhouse:8123.');
    }
    if (parsed.username !== '' || parsed.password !== '') {
      throw new Permanent('invalid_url', 'Give user and password of the store on their own, not in its URL.');
    }
    return parsed.href.replace(/\/$/, '');
  });
  if (urls.length === 0) throw new Permanent('invalid_url', 'The store has no URL.');
  return [...new Set(urls)];
}
