/** The tables as SQL. Every statement may run again after a kill at any point and then changes nothing. */

/** Where the tables are made. */
export interface SchemaTarget {
  readonly database: string;
  /** The name of a cluster in the servers' `remote_servers`; undefined: one server, or the embedded engine. */
  readonly cluster?: string | undefined;
}

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** Statements for that target, in order, each idempotent. */
  readonly statements: (target: SchemaTarget) => readonly string[];
}

/** Settings that make an acknowledged insert, a merge and the dedupe window survive a power cut. */
const DURABLE = [
  'fsync_after_insert = 1',
  'fsync_part_directory = 1',
  // A merge replaces synced parts: from its first row and byte on it must be synced as well.
  'min_rows_to_fsync_after_merge = 1',
  'min_compressed_bytes_to_fsync_after_merge = 1',
].join(', ');

/** Insert tokens that the table remembers: at two blocks a second, more than an hour. */
const DEDUPLICATION_WINDOW_BLOCKS = 10_000;
/** Replicated tables forget by age as well, by default after an hour: an outage lasts longer. */
const DEDUPLICATION_WINDOW_SECONDS = 7 * 86_400;

/** Names of the columns of `raw_events`, in order. */
export const RAW_EVENT_COLUMNS = [
  'eventId',
  'eventType',
  'timestamp',
  'userId',
  'sessionId',
  'storeId',
  'data',
  'metadata',
  'receivedAt',
  'journal',
  'seq',
  'sanitized',
] as const;

/** The table that takes inserts: on a cluster each host's own, so that a block is one insert on one host. */
export function insertTable({ cluster }: SchemaTarget): string {
  return cluster === undefined ? 'raw_events' : 'raw_events_local';
}

export function onCluster({ cluster }: SchemaTarget): string {
  return cluster === undefined ? '' : ` ON CLUSTER \`${cluster}\``;
}

/**
 * `{shard}` and `{replica}` are macros that every host of a cluster defines. The path names the database instead of
 * the table's UUID: instances that start at once would give each host another UUID, and its replicas would not meet.
 */
function rawEventsEngine(target: SchemaTarget): string {
  const { database, cluster } = target;
  if (cluster === undefined) return 'MergeTree';
  return `ReplicatedMergeTree('/clickhouse/tables/{shard}/${database}/${insertTable(target)}', '{replica}')`;
}

function deduplicationWindow({ cluster }: SchemaTarget): string {
  return cluster === undefined
    ? `non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW_BLOCKS}`
    : `replicated_deduplication_window = ${DEDUPLICATION_WINDOW_BLOCKS}, replicated_deduplication_window_seconds = ${DEDUPLICATION_WINDOW_SECONDS}`;
}

function createRawEvents(target: SchemaTarget): string {
  return `CREATE TABLE IF NOT EXISTS ${target.database}.${insertTable(target)}${onCluster(target)} (
  eventId String,
  eventType LowCardinality(String),
  timestamp DateTime64(6, 'UTC'),
  userId Nullable(String),
  sessionId String,
  storeId LowCardinality(String),
  data String,
  metadata String,
  receivedAt DateTime64(3, 'UTC'),
  journal UUID,
  seq UInt64,
  sanitized Bool DEFAULT false,
  INDEX seq_range seq TYPE minmax GRANULARITY 1,
  CONSTRAINT has_key CHECK notEmpty(eventId) AND notEmpty(storeId),
  CONSTRAINT has_position CHECK seq > 0
) ENGINE = ${rawEventsEngine(target)}
PARTITION BY toDate(receivedAt)
ORDER BY (storeId, eventType, timestamp)
SETTINGS ${DURABLE}, ${deduplicationWindow(target)}, ttl_only_drop_parts = 1`;
}

/** On a cluster `raw_events` reads from every shard. The sharding key is for inserts by others: ours go to one host. */
function createDistributed(target: SchemaTarget): string[] {
  const { database, cluster } = target;
  if (cluster === undefined) return [];
  const local = insertTable(target);
  return [
    `CREATE TABLE IF NOT EXISTS ${database}.raw_events${onCluster(target)} AS ${database}.${local}
ENGINE = Distributed('${cluster}', '${database}', '${local}', rand())`,
  ];
}

/**
 * One row per (storeId, eventId): the first by (receivedAt, journal, seq). A column that a query does not ask for is
 * not read, and a condition on storeId or eventId is applied before the grouping. `tuple` keeps NULLs, which argMin
 * would skip.
 */
function createEvents(target: SchemaTarget): string {
  const first = (column: string) => `argMin(tuple(r.${column}), (r.receivedAt, r.journal, r.seq)).1 AS ${column}`;
  const columns = RAW_EVENT_COLUMNS.map((column) =>
    column === 'storeId' || column === 'eventId' ? `r.${column} AS ${column}` : first(column),
  );
  return `CREATE VIEW IF NOT EXISTS ${target.database}.events${onCluster(target)} AS
SELECT ${columns.join(', ')}
FROM ${target.database}.raw_events AS r
GROUP BY r.storeId, r.eventId`;
}

export function createDatabase(target: SchemaTarget): string {
  return `CREATE DATABASE IF NOT EXISTS ${target.database}${onCluster(target)}`;
}

/** On a cluster one table that every host shares, whatever its shard. */
export function createMigrationsTable(target: SchemaTarget): string {
  const { database, cluster } = target;
  const engine =
    cluster === undefined
      ? 'MergeTree'
      : `ReplicatedMergeTree('/clickhouse/tables/${database}/schema_migrations', '{shard}-{replica}')`;
  return `CREATE TABLE IF NOT EXISTS ${database}.schema_migrations${onCluster(target)} (
  version UInt32,
  name String,
  appliedAt DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ${engine} ORDER BY version SETTINGS ${DURABLE}`;
}

/** In order of version, from 1, without gaps. A migration that was released is never changed: the next one follows. */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'raw events and the view without duplicates',
    statements: (target) => [createRawEvents(target), ...createDistributed(target), createEvents(target)],
  },
];
