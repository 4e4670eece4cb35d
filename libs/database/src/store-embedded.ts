/** The ClickHouse engine inside this process. Its library is loaded only when it is opened: it costs about 200 MB. */
import { mkdirSync } from 'node:fs';
import { type ClickHouseClientConfigOptions, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { Permanent } from '@libs/pipeline';
import type { Session } from 'chdb';

export interface EmbeddedEngine {
  readonly folder: string;
  readonly client: ReturnType<typeof createClient>;
  /** Adds rows, one JSON object and `\n` each. The engine reads the bytes where they are: they must not change until it is done. */
  insert(table: string, settings: InsertSettings, rows: Uint8Array): Promise<void>;
  /** A connection with settings and parameters of its own (about 0.5 ms). The caller closes it. */
  openSession(): Session;
  /** Asks the engine to end the queries whose `log_comment` is `marker`; returns without waiting for their end. */
  kill(marker: string): Promise<void>;
  /** Resolves when nothing native is running any more; later calls wait for the same end. */
  close(): Promise<void>;
}

export type InsertSettings = Readonly<Record<string, string | number>>;

const MIB = 2 ** 20;
const MEMORY_BYTES_MAX = 2_048 * MIB;

/**
 * Server settings of an engine that serves one small process instead of a machine. The caches are limits, not
 * reservations: by default the two mark caches alone may grow to 10 GiB.
 */
function engineArguments(memoryBytesMax: number): string[] {
  return Object.entries({
    max_server_memory_usage: memoryBytesMax,
    mark_cache_size: 64 * MIB,
    index_mark_cache_size: 16 * MIB,
    primary_index_cache_size: 32 * MIB,
    query_condition_cache_size: 8 * MIB,
    max_thread_pool_size: 256,
    max_thread_pool_free_size: 4,
    background_pool_size: 2,
    background_schedule_pool_size: 2,
  }).map(([name, value]) => `--${name}=${value}`);
}

/**
 * Opens the engine on `folder`, which is made when missing. Throws `Permanent` (`engine_unavailable`,
 * `engine_folder`) when this platform has no engine or the folder cannot be opened. `configFile` is a server's
 * configuration in XML, of which clusters and macros count.
 */
export async function openEmbeddedEngine(
  folder: string,
  memoryBytesMax = MEMORY_BYTES_MAX,
  configFile?: string,
): Promise<EmbeddedEngine> {
  const { chdb, createChdbConnection } = await load();
  const configuration = configFile === undefined ? [] : [`--config-file=${configFile}`];
  let anchor: Session;
  try {
    mkdirSync(folder, { recursive: true });
    // The first connection starts the engine, so only its arguments can configure it; it is held until the end.
    anchor = new chdb.Session(folder, { connectionArgs: [...engineArguments(memoryBytesMax), ...configuration] });
  } catch (error) {
    throw new Permanent('engine_folder', `The embedded engine cannot open ${folder}: is it writable, and whole?`, {
      cause: error,
    });
  }
  try {
    // The engine's `default` database reads any file by name (FROM "/path"). It is made anew at each start; an empty
    // one of the same name has to stay, since every new connection begins there.
    await anchor.queryAsync('DROP DATABASE IF EXISTS default');
    await anchor.queryAsync('CREATE DATABASE IF NOT EXISTS default ENGINE = Memory');
  } catch (error) {
    anchor.close();
    throw error;
  }
  // chdb types its connection by its own copy of the client's declarations; the shape is the same.
  const connection = createChdbConnection({ path: folder }) as unknown as NonNullable<
    ClickHouseClientConfigOptions['connection']
  >;
  const client = createClient({ connection, log: { level: ClickHouseLogLevel.OFF } });
  const inserts = new chdb.Session(folder);
  return {
    folder,
    client,
    // Through the client's `exec` the bytes would become a string of the statement and the rows, and that bytes again: 0.7 µs a row.
    insert: async (table, settings, rows) => {
      await inserts.insert({ table, settings, values: rows, format: 'JSONEachRow' });
    },
    openSession: () => new chdb.Session(folder),
    kill: async (marker) => {
      if (!/^[\w:-]+$/.test(marker)) throw new RangeError('a marker is made of letters, digits, "_", ":" and "-"');
      await anchor.queryAsync(`KILL QUERY WHERE Settings['log_comment'] = '${marker}' ASYNC`);
    },
    close: async () => {
      inserts.close();
      anchor.close();
      // Connections with work under way are destroyed only behind it.
      await chdb.drainPending();
    },
  };
}

async function load() {
  try {
    const [chdb, connection] = await Promise.all([import('chdb'), import('chdb/connection')]);
    return { chdb, createChdbConnection: connection.createChdbConnection };
  } catch (error) {
    throw new Permanent(
      'engine_unavailable',
      `The embedded ClickHouse engine is not available on ${process.platform} ${process.arch}: set CLICKHOUSE_URL to a server instead.`,
      { cause: error },
    );
  }
}
