/** The store: ClickHouse, either the engine embedded in this process or servers, behind the same few calls. */
import { Readable } from 'node:stream';
import { Retryable } from '@libs/pipeline';
import { type RawAnswer, readBody, readRows, throwIfError, throwIfException } from './store-answer.ts';
import { type EmbeddedEngine, type InsertSettings, openEmbeddedEngine } from './store-embedded.ts';
import { isUnreachable, readError } from './store-errors.ts';
import { createHosts, REQUEST_TIMEOUT_MS, type StoreHost, type StoreHosts, serverHosts } from './store-hosts.ts';
import { checkOptions, type StoreOptions, type StoreTlsOptions } from './store-options.ts';

export interface StoreLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Where read-only queries go. */
export type QueryTarget =
  | { readonly kind: 'embedded'; readonly engine: EmbeddedEngine }
  | {
      readonly kind: 'server';
      /** In the order in which they should be asked. */
      readonly urls: () => readonly string[];
      readonly username: string;
      readonly password: string;
      readonly tls?: StoreTlsOptions;
    };

export interface InsertOptions {
  /** Ends the HTTP request; the embedded engine cannot be interrupted and ignores it. */
  readonly signal?: AbortSignal;
  readonly queryId: string;
  /** One of `hostsFor`. */
  readonly host: string;
  /** Without quotes, backslashes and what else would need escaping. */
  readonly settings: InsertSettings;
}

export interface ReadOptions {
  /** One of `hostsFor`: no other is asked then. Absent: whichever answers. */
  readonly host?: string;
  /** Ends the wait; the embedded engine goes on. */
  readonly signal?: AbortSignal;
}

export interface Store {
  readonly kind: 'embedded' | 'server';
  readonly database: string;
  /** Undefined: one server, or the embedded engine. */
  readonly cluster: string | undefined;
  readonly retentionDays: number | undefined;
  readonly target: QueryTarget;
  /** Runs an idempotent statement that returns nothing. Throws `Retryable`. */
  command(sql: string): Promise<void>;
  /** Runs a query, which names no format, and returns its cells as text. Throws `Retryable`. */
  select(sql: string, options?: ReadOptions): Promise<string[][]>;
  /** The same with cells as JSON values: 64-bit integers as numbers, NULL as null. Throws `Retryable`. */
  selectValues(sql: string, options?: ReadOptions): Promise<unknown[][]>;
  /** Adds rows, one JSON object and `\n` each, to a table; resolves when they are stored. Throws what went wrong as it is. */
  insert(table: string, chunks: readonly Uint8Array[], options: InsertOptions): Promise<void>;
  /** Names of the hosts that may take a block with that token, the preferred one first. */
  hostsFor(token: string): readonly string[];
  /** Resolves to the latency in milliseconds. Throws `Retryable`. */
  ping(): Promise<number>;
  /** The engine's version, such as `26.7.2.1`. Throws `Retryable`. */
  version(): Promise<string>;
  close(): Promise<void>;
}

/** An exception, never data. */
const SHORT_BODY_BYTES_MAX = 1 << 20;
const RESULT_BYTES_MAX = 256 << 20;
/** With `wait_end_of_query` an error comes as a status instead of in the middle of a result. */
const SELECT_SETTINGS = { wait_end_of_query: 1, output_format_json_quote_64bit_integers: 0 } as const;

/**
 * Opens the engine, or prepares clients for servers without connecting yet (a server may come up later). The tables
 * are made by `migrate`, or by the sink when it connects. Throws `Permanent` for a wrong option or a folder that the
 * engine cannot open.
 */
export async function openStore(options: StoreOptions, deps: { readonly logger: StoreLogger }): Promise<Store> {
  const database = checkOptions(options);
  const { hosts, target, release } = await open(options);
  const timeoutMs = options.kind === 'server' ? (options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS) : undefined;
  deps.logger.debug({ kind: options.kind, database, hosts: hosts.all.map(({ name }) => name) }, 'store opened');
  let closing: Promise<void> | undefined;

  /** Asks the given host, or one after the other until one can be reached. */
  async function ask<T>(call: (host: StoreHost) => Promise<T>, { host }: ReadOptions = {}): Promise<T> {
    const asked = host === undefined ? hosts.inTurn() : [hosts.named(host)];
    let last: unknown;
    for (const one of asked) {
      try {
        return await call(one);
      } catch (error) {
        last = error instanceof Retryable ? error : readError(error);
        if (!isUnreachable(last)) throw last;
        hosts.failed(one);
      }
    }
    throw last;
  }

  /** The caller's signal and the time limit, so that no call waits for ever for a host that fell silent. */
  function limited(signal: AbortSignal | undefined): { abort_signal?: AbortSignal } {
    const signals = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)];
    const given = signals.filter((one) => one !== undefined);
    return given.length === 0 ? {} : { abort_signal: AbortSignal.any(given) };
  }

  function rows(sql: string, format: string, options: ReadOptions = {}): Promise<unknown[][]> {
    return ask(async ({ client }) => {
      const query = `${sql}\nFORMAT ${format}`;
      const answer: RawAnswer = await client.exec({
        query,
        clickhouse_settings: SELECT_SETTINGS,
        ignore_error_response: true,
        ...limited(options.signal),
      });
      const body = await readBody(answer, RESULT_BYTES_MAX);
      throwIfError(answer, body);
      return readRows(body);
    }, options);
  }

  const select = (sql: string, options?: ReadOptions) =>
    rows(sql, 'JSONCompactStrings', options) as Promise<string[][]>;
  return {
    kind: options.kind,
    database,
    cluster: options.kind === 'server' ? options.cluster : undefined,
    retentionDays: options.retentionDays,
    target,
    command: (sql) =>
      ask(async ({ client }) => {
        const settings = { clickhouse_settings: { wait_end_of_query: 1 } as const, ignore_error_response: true };
        await finish(await client.exec({ query: sql, ...settings, ...limited(undefined) }), options.kind);
      }),
    select,
    selectValues: (sql, options) => rows(sql, 'JSONCompact', options),
    insert: async (table, chunks, { signal, queryId, host, settings }) => {
      const buffers = chunks.map((chunk) => Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      if (target.kind === 'embedded') {
        const [only = Buffer.alloc(0), ...more] = buffers;
        await target.engine.insert(`${database}.${table}`, settings, more.length === 0 ? only : Buffer.concat(buffers));
        return;
      }
      const answer: RawAnswer = await hosts.named(host).client.exec({
        query: insertStatement(`${database}.${table}`, settings),
        values: Readable.from(buffers, { objectMode: false }),
        query_id: queryId,
        // Without it a server may answer 200 before the rows are stored and report the error in the body.
        clickhouse_settings: { wait_end_of_query: 1 },
        ignore_error_response: true,
        ...limited(signal),
      });
      await finish(answer, options.kind);
    },
    hostsFor: (token) => hosts.forToken(token).map(({ name }) => name),
    ping: async () => {
      const startedMs = performance.now();
      await select('SELECT 1');
      return performance.now() - startedMs;
    },
    version: async () => (await select('SELECT version()'))[0]?.[0] ?? 'unknown',
    close: () => {
      closing ??= hosts.close().then(release);
      return closing;
    },
  };
}

interface Opened {
  readonly hosts: StoreHosts;
  readonly target: QueryTarget;
  readonly release: () => Promise<void>;
}

async function open(options: StoreOptions): Promise<Opened> {
  if (options.kind === 'embedded') {
    const engine = await openEmbeddedEngine(options.folder, options.memoryBytesMax);
    const hosts = createHosts([{ name: 'embedded', client: engine.client }]);
    return { hosts, target: { kind: 'embedded', engine }, release: () => engine.close() };
  }
  const { username, password, tls } = options;
  const hosts = serverHosts(options);
  const urls = () => hosts.inTurn().map(({ name }) => name);
  return {
    hosts,
    target: { kind: 'server', urls, username, password, ...(tls ? { tls } : {}) },
    release: async () => {},
  };
}

function insertStatement(table: string, settings: InsertSettings): string {
  const list = Object.entries(settings).map(([name, value]) => {
    return `${name} = ${typeof value === 'string' ? `'${value}'` : value}`;
  });
  return `INSERT INTO ${table} SETTINGS ${list.join(', ')} FORMAT JSONEachRow`;
}

/** The end of a statement without a result. */
async function finish(answer: RawAnswer, kind: Store['kind']): Promise<void> {
  const body = await readBody(answer, SHORT_BODY_BYTES_MAX);
  throwIfError(answer, body);
  // The embedded engine throws its errors; what it prints may be left over from a query that failed before.
  if (kind === 'server') throwIfException(body);
}
