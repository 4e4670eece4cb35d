/** The store: ClickHouse, either the engine embedded in this process or a server, behind the same few calls. */
import { Readable } from 'node:stream';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { Permanent, type Retryable } from '@libs/pipeline';
import { type EmbeddedEngine, openEmbeddedEngine } from './store-embedded.ts';
import { readError } from './store-errors.ts';

export interface StoreLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

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

export interface ServerStoreOptions extends CommonOptions {
  readonly kind: 'server';
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** How long one request may take, a large insert included. Default 60,000. */
  readonly requestTimeoutMs?: number;
}

export type StoreOptions = EmbeddedStoreOptions | ServerStoreOptions;

/** Where read-only queries go. */
export type QueryTarget =
  | { readonly kind: 'embedded'; readonly engine: EmbeddedEngine }
  | { readonly kind: 'server'; readonly url: string; readonly username: string; readonly password: string };

export interface InsertOptions {
  /** Ends the HTTP request; the embedded engine cannot be interrupted and ignores it. */
  readonly signal?: AbortSignal;
  readonly queryId: string;
}

export interface Store {
  readonly kind: 'embedded' | 'server';
  readonly database: string;
  readonly retentionDays: number | undefined;
  readonly target: QueryTarget;
  /** Runs a statement that returns nothing. Throws `Retryable`. */
  command(sql: string): Promise<void>;
  /** Runs a query and returns its cells as text. Throws `Retryable`. */
  select(sql: string): Promise<string[][]>;
  /** Sends `statement` with the bytes behind it; resolves when the rows are stored. Throws what the client threw. */
  insert(statement: string, chunks: readonly Uint8Array[], options: InsertOptions): Promise<void>;
  /** Resolves to the latency in milliseconds. Throws `Retryable`. */
  ping(): Promise<number>;
  /** The engine's version, such as `26.7.2.1`. Throws `Retryable`. */
  version(): Promise<string>;
  close(): Promise<void>;
}

const DATABASE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const REQUEST_TIMEOUT_MS = 60_000;
const CONNECTIONS_MAX = 10;
/** Databases that ClickHouse keeps for itself, or that change meaning between server and engine. */
const RESERVED_DATABASES = new Set(['default', 'system', 'information_schema']);

/**
 * Opens the engine, or prepares the client for a server without connecting yet (a server may come up later). The
 * tables are made by `migrate`, or by the sink when it connects. Throws `Permanent` for a wrong option or a folder
 * that the engine cannot open.
 */
export async function openStore(options: StoreOptions, deps: { readonly logger: StoreLogger }): Promise<Store> {
  const database = options.database ?? 'weir';
  if (!DATABASE_NAME.test(database) || RESERVED_DATABASES.has(database.toLowerCase())) {
    throw new Permanent(
      'invalid_database',
      `"${database}" cannot be the store's database: use letters, digits and underscores, and none of ${[...RESERVED_DATABASES].join(', ')}.`,
    );
  }
  const { retentionDays } = options;
  if (
    retentionDays !== undefined &&
    !(Number.isInteger(retentionDays) && retentionDays >= 1 && retentionDays <= 36_500)
  ) {
    throw new Permanent('invalid_retention', `The retention must be 1 to 36,500 days, not ${retentionDays}.`);
  }
  const { client, target, release } = await connect(options);
  deps.logger.debug({ kind: options.kind, database }, 'store opened');
  let closing: Promise<void> | undefined;
  return {
    kind: options.kind,
    database,
    retentionDays,
    target,
    command: (sql) => asRead(() => client.command({ query: sql }).then(() => undefined)),
    select: (sql) => asRead(() => selectCells(client, sql)),
    insert: (statement, chunks, insertOptions) => insertBytes(client, statement, chunks, insertOptions),
    ping: () => asRead(() => ping(client)),
    version: () => asRead(async () => (await selectCells(client, 'SELECT version()'))[0]?.[0] ?? 'unknown'),
    close: () => {
      closing ??= client.close().then(release);
      return closing;
    },
  };
}

type Client = ReturnType<typeof createClient>;

interface Connected {
  readonly client: Client;
  readonly target: QueryTarget;
  readonly release: () => Promise<void>;
}

async function connect(options: StoreOptions): Promise<Connected> {
  if (options.kind === 'embedded') {
    const engine = await openEmbeddedEngine(options.folder, options.memoryBytesMax);
    return { client: engine.client, target: { kind: 'embedded', engine }, release: () => engine.close() };
  }
  const { url, username, password } = options;
  const client = createClient({
    url,
    username,
    password,
    request_timeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    max_open_connections: CONNECTIONS_MAX,
    compression: { request: false, response: false },
    keep_alive: { enabled: true },
    application: 'weir',
    // What it would print reaches our callers as errors.
    log: { level: ClickHouseLogLevel.OFF },
  });
  return { client, target: { kind: 'server', url, username, password }, release: async () => {} };
}

async function asRead<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw readError(error) satisfies Retryable;
  }
}

async function selectCells(client: Client, sql: string): Promise<string[][]> {
  const result = await client.query({ query: sql, format: 'JSONCompactStringsEachRow' });
  const text = await result.text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as string[]);
}

async function insertBytes(
  client: Client,
  statement: string,
  chunks: readonly Uint8Array[],
  { signal, queryId }: InsertOptions,
): Promise<void> {
  const buffers = chunks.map((chunk) => Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  const { stream } = await client.exec({
    query: statement,
    values: Readable.from(buffers, { objectMode: false }),
    query_id: queryId,
    // Without it a server may answer 200 before the rows are stored and report the error in the body.
    clickhouse_settings: { wait_end_of_query: 1 },
    ...(signal ? { abort_signal: signal } : {}),
  });
  for await (const chunk of stream) {
    const text = String(chunk);
    if (text.includes('DB::Exception')) throw new Error(text);
  }
}

async function ping(client: Client): Promise<number> {
  const startedMs = performance.now();
  const result = await client.ping({ select: true });
  if (!result.success) throw result.error;
  return performance.now() - startedMs;
}
