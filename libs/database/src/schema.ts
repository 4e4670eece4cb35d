/** The tables as SQL. Every statement may run again after a kill at any point and then changes nothing. */

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** Statements for a database of that name, in order, each idempotent. */
  readonly statements: (database: string) => readonly string[];
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

function createRawEvents(database: string): string {
  return `CREATE TABLE IF NOT EXISTS ${database}.raw_events (
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
) ENGINE = MergeTree
PARTITION BY toDate(receivedAt)
ORDER BY (storeId, eventType, timestamp)
SETTINGS ${DURABLE}, non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW_BLOCKS}, ttl_only_drop_parts = 1`;
}

/**
 * One row per (storeId, eventId): the first by (receivedAt, journal, seq). A column that a query does not ask for is
 * not read, and a condition on storeId or eventId is applied before the grouping. `tuple` keeps NULLs, which argMin
 * would skip.
 */
function createEvents(database: string): string {
  const first = (column: string) => `argMin(tuple(r.${column}), (r.receivedAt, r.journal, r.seq)).1 AS ${column}`;
  const columns = RAW_EVENT_COLUMNS.map((column) =>
    column === 'storeId' || column === 'eventId' ? `r.${column} AS ${column}` : first(column),
  );
  return `CREATE VIEW IF NOT EXISTS ${database}.events AS
SELECT ${columns.join(', ')}
FROM ${database}.raw_events AS r
GROUP BY r.storeId, r.eventId`;
}

export function createMigrationsTable(database: string): string {
  return `CREATE TABLE IF NOT EXISTS ${database}.schema_migrations (
  version UInt32,
  name String,
  appliedAt DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY version SETTINGS ${DURABLE}`;
}

/** In order of version, from 1, without gaps. A migration that was released is never changed: the next one follows. */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'raw events and the view without duplicates',
    statements: (database) => [createRawEvents(database), createEvents(database)],
  },
];
