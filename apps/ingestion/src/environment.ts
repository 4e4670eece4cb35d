/** Every environment variable of the service: its default, its bounds, what it does. Nothing is read here. */
import { DEFAULT_EVENT_LIMITS } from '@libs/models';
import { LOG_LEVELS } from '@libs/monitoring';
import { z } from 'zod';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const whole = (min: number, max: number) =>
  z.coerce
    .number({ error: (issue) => (issue.code === 'invalid_type' ? 'must be a whole number' : undefined) })
    .int({ error: 'must be a whole number' })
    .min(min, { error: `must be at least ${min}` })
    .max(max, { error: `must be at most ${max}` });
const integer = (min: number, max: number, fallback: number, description: string) =>
  whole(min, max).default(fallback).meta({ description });
const text = (fallback: string, description: string) => z.string().default(fallback).meta({ description });
const optionalInteger = (min: number, max: number, description: string) =>
  whole(min, max).optional().meta({ description });
const optionalText = (description: string) => z.string().optional().meta({ description });
const optionalUrl = (description: string) =>
  z
    .url({ protocol: /^https?$/ })
    .optional()
    .meta({ description });
/** URLs separated by commas. */
const optionalUrls = (description: string) =>
  z
    .string()
    .refine((text) => text.split(',').every((url) => /^https?:$/.test(URL.parse(url.trim())?.protocol ?? '')), {
      error: 'must be http or https URLs, separated by commas',
    })
    .optional()
    .meta({ description });

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** README's table is checked against it. */
export const ENVIRONMENT = z.object({
  PORT: integer(0, 65_535, 3001, 'Port of HTTP and WebSocket'),
  HOST: text('127.0.0.1', 'Address to listen on; 0.0.0.0 for every interface'),
  WEIR_DATA_DIR: text('./data', 'Folder of the journal, the cursors and the embedded engine'),
  WEIR_CONFIG: z
    .string()
    .optional()
    .meta({ description: 'JSON file with event types, routes and downstreams; `--config FILE` does the same' }),
  WEIR_WORKERS: integer(1, 64, 1, 'Accept processes that share the port; more than 1 needs REDIS_URL'),
  LOG_LEVEL: z
    .enum(LOG_LEVELS)
    .default('info')
    .meta({ description: `One of ${LOG_LEVELS.join(', ')}` }),
  CORS_ORIGINS: text('', 'Origins that browsers may post from, separated by commas; `*` for any'),
  REQUEST_TIMEOUT_MS: integer(100, 240_000, 30_000, 'A request that is not complete by then ends with 408'),
  SHUTDOWN_TIMEOUT_MS: integer(1_000, 600_000, 20_000, 'What an orderly end may take before processes are killed'),
  ACK_TIMEOUT_MS: integer(10, 300_000, 10_000, '`?ack=stored` and `routed` wait so long, then say what was reached'),
  CONNECTIONS_MAX: integer(1, 1_000_000, 19_000, 'Open connections, WebSockets among them'),
  EVENT_BYTES_MAX: integer(1_024, MIB, DEFAULT_EVENT_LIMITS.eventBytesMax, 'One event'),
  BATCH_BYTES_MAX: integer(64 * KIB, 256 * MIB, 10 * MIB, 'One batch, after decompression'),
  TIMESTAMP_FUTURE_MAX_MS: integer(
    0,
    365 * DAY_MS,
    DEFAULT_EVENT_LIMITS.timestampFutureMaxMs,
    'An event further ahead is rejected',
  ),
  TIMESTAMP_AGE_MAX_MS: optionalInteger(1, 500 * 365 * DAY_MS, 'An older event is rejected; off when not set'),
  DEDUPE_WINDOW_MS: integer(1_000, 30 * DAY_MS, HOUR_MS, 'How long an id is remembered'),
  DEDUPE_IDS_MAX: integer(
    1_000,
    200_000_000,
    20_000_000,
    'Ids remembered at most (about 48 bytes of memory each); the oldest go first',
  ),
  JOURNAL_BYTES_MAX: integer(4 * MIB, 1024 * GIB, 10 * GIB, 'Undelivered events on disk; beyond it 503'),
  JOURNAL_SEGMENT_BYTES: integer(MIB, GIB, 64 * MIB, 'One segment file'),
  DISK_RESERVE_BYTES: integer(0, 1024 * GIB, GIB, 'What must stay free on the disk; below it 503'),
  FLUSH_INTERVAL_MS: integer(1, 60_000, 200, 'How long a durable event waits for others to share its block'),
  STORE_INTERVAL_MS: integer(0, 60_000, 1_000, 'From one block for the store to the next, unless that is full'),
  BLOCK_ROWS_MAX: integer(1, 100_000, 20_000, 'Rows in a block sent to the store'),
  BLOCK_BYTES_MAX: integer(64 * KIB, 256 * MIB, 16 * MIB, 'Bytes in such a block'),
  WS_CREDIT_EVENTS: integer(1, 1_000_000, 10_000, 'Unacknowledged events per WebSocket'),
  WS_CREDIT_BYTES: integer(KIB, GIB, 8 * MIB, 'Unacknowledged bytes per WebSocket'),
  WS_FRAME_BYTES_MAX: integer(KIB, 16 * MIB, MIB, 'One WebSocket frame'),
  WS_HEARTBEAT_INTERVAL_MS: integer(50, HOUR_MS, 30_000, 'Silence of two intervals closes a WebSocket'),
  QUERY_TIMEOUT_MS: integer(100, HOUR_MS, 60_000, 'One query'),
  QUERY_MEMORY_BYTES_MAX: integer(16 * MIB, 1024 * GIB, 512 * MIB, 'Memory of one query'),
  QUERY_ROWS_MAX: integer(1, 1_000_000_000, 1_000_000, 'Rows of one result'),
  CLICKHOUSE_URL: optionalUrls(
    'A ClickHouse server instead of the embedded engine; several hosts of a cluster, by commas',
  ),
  CLICKHOUSE_USER: text('default', 'Its user'),
  CLICKHOUSE_PASSWORD: text('', 'Its password'),
  CLICKHOUSE_DATABASE: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
    .default('weir')
    .meta({ description: 'Database of the tables' }),
  CLICKHOUSE_CLUSTER: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/)
    .optional()
    .meta({ description: 'Name of a cluster: replicated tables behind a distributed one' }),
  CLICKHOUSE_TLS_CA: optionalText('File with the certificates (PEM) that its own must be signed by'),
  RAW_EVENTS_TTL_DAYS: optionalInteger(1, 36_500, 'Rows older than this are removed by the engine; off when not set'),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .optional()
    .meta({ description: 'Redis that instances share to know each other’s duplicates' }),
  REDIS_TIMEOUT_MS: integer(1, 10_000, 50, 'Beyond it an event is taken without having asked Redis'),
  KAFKA_BROKERS: optionalText('Brokers as host:port, separated by commas; events are routed to their topics'),
  KAFKA_TOPICS: z
    .enum(['create', 'check'])
    .default('create')
    .meta({ description: '`create` makes missing topics at the start, `check` only reports them' }),
  KAFKA_PARTITIONS: integer(1, 10_000, 12, 'Partitions of a topic that is made'),
  KAFKA_REPLICATION: integer(1, 100, 1, 'Copies of a topic that is made; 3 on a cluster that is to survive a broker'),
  KAFKA_COMPRESSION: z
    .enum(['none', 'gzip', 'zstd'])
    .default('none')
    .meta({ description: 'Of what is sent: none, gzip or zstd (brokers and consumers from 2.1)' }),
  KAFKA_TLS: z.enum(['on', 'off']).default('off').meta({ description: '`on` encrypts the connections to the brokers' }),
  KAFKA_TLS_CA: optionalText('File with the certificates (PEM) that theirs must be signed by'),
  KAFKA_TLS_CERT: optionalText('File with our own certificate'),
  KAFKA_TLS_KEY: optionalText('File with its key'),
  KAFKA_SASL_MECHANISM: z
    .enum(['plain', 'scram-sha-256', 'scram-sha-512'])
    .optional()
    .meta({ description: 'How we log in: plain, scram-sha-256 or scram-sha-512' }),
  KAFKA_SASL_USERNAME: text('', 'User at the brokers'),
  KAFKA_SASL_PASSWORD: text('', 'Its password'),
  PREDICTION_URL: optionalUrl('Prediction service: gets cart_abandoned'),
  ANALYTICS_URL: optionalUrl('Analytics service: gets cart_updated'),
  COMPLETION_URL: optionalUrl('Completion workflow: gets purchase_completed'),
  DEAD_LETTER_BYTES_MAX: integer(MIB, 1024 * GIB, GIB, 'Dead letters kept; a sink that needs room beyond it stops'),
  JWT_SECRET: optionalText('At least 32 bytes: writing and operating then need a token signed with it (HS256)'),
});

export type Environment = z.infer<typeof ENVIRONMENT>;
