/**
 * All configuration, read once: scalars from the environment, event types from one JSON file. The only reader of the
 * environment in this service. Blank means absent; every problem is reported at once.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createEventModel, DEFAULT_EVENT_LIMITS, eventTypesSchema, InvalidEventTypes } from '@libs/models';
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

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Every environment variable, with its default, its bounds and what it does: README's table is checked against it. */
export const ENVIRONMENT = z.object({
  PORT: integer(0, 65_535, 3001, 'Port of HTTP and WebSocket'),
  HOST: text('127.0.0.1', 'Address to listen on; 0.0.0.0 for every interface'),
  WEIR_DATA_DIR: text('./data', 'Folder of the journal, the cursors and the embedded engine'),
  WEIR_CONFIG: z.string().optional().meta({ description: 'JSON file with event types; `--config FILE` does the same' }),
  WEIR_WORKERS: integer(
    1,
    64,
    1,
    'Accept processes; more than 1 needs a shared dedupe window, which this version does not have',
  ),
  LOG_LEVEL: z
    .enum(LOG_LEVELS)
    .default('info')
    .meta({ description: `One of ${LOG_LEVELS.join(', ')}` }),
  CORS_ORIGINS: text('', 'Origins that browsers may post from, separated by commas; `*` for any'),
  REQUEST_TIMEOUT_MS: integer(100, 240_000, 30_000, 'A request that is not complete by then ends with 408'),
  SHUTDOWN_TIMEOUT_MS: integer(1_000, 600_000, 20_000, 'What an orderly end may take before processes are killed'),
  ACK_TIMEOUT_MS: integer(10, 300_000, 10_000, '`?ack=stored` waits so long, then says what was reached'),
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
  FLUSH_INTERVAL_MS: integer(1, 60_000, 200, 'The longest that a durable event waits for its block'),
  BLOCK_ROWS_MAX: integer(1, 100_000, 20_000, 'Rows in a block sent to the store'),
  BLOCK_BYTES_MAX: integer(64 * KIB, 256 * MIB, 16 * MIB, 'Bytes in such a block'),
  WS_CREDIT_EVENTS: integer(1, 1_000_000, 10_000, 'Unacknowledged events per WebSocket'),
  WS_CREDIT_BYTES: integer(KIB, GIB, 8 * MIB, 'Unacknowledged bytes per WebSocket'),
  WS_FRAME_BYTES_MAX: integer(KIB, 16 * MIB, MIB, 'One WebSocket frame'),
  WS_HEARTBEAT_INTERVAL_MS: integer(50, HOUR_MS, 30_000, 'Silence of two intervals closes a WebSocket'),
  QUERY_TIMEOUT_MS: integer(100, HOUR_MS, 60_000, 'One query'),
  QUERY_MEMORY_BYTES_MAX: integer(16 * MIB, 1024 * GIB, 512 * MIB, 'Memory of one query'),
  QUERY_ROWS_MAX: integer(1, 1_000_000_000, 1_000_000, 'Rows of one result'),
  CLICKHOUSE_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .meta({ description: 'A ClickHouse server instead of the embedded engine' }),
  CLICKHOUSE_USER: text('default', 'Its user'),
  CLICKHOUSE_PASSWORD: text('', 'Its password'),
  CLICKHOUSE_DATABASE: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
    .default('weir')
    .meta({ description: 'Database of the tables' }),
  RAW_EVENTS_TTL_DAYS: optionalInteger(1, 36_500, 'Rows older than this are removed by the engine; off when not set'),
});

const FILE = z.strictObject({ $schema: z.string().optional(), eventTypes: eventTypesSchema.default({}) });

type Environment = z.infer<typeof ENVIRONMENT>;

export interface Config extends Environment {
  /** Absolute. */
  readonly dataFolder: string;
  readonly configFile: string | undefined;
  readonly corsOrigins: readonly string[];
  readonly eventTypes: z.infer<typeof eventTypesSchema>;
}

export type LoadedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reads and checks everything. `args` is what follows the role on the command line. */
export function loadConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): LoadedConfig {
  const problems: string[] = [];
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value.trim() !== ''),
  );
  const parsed = ENVIRONMENT.safeParse(given);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const name = String(issue.path[0]);
      const value = name.includes('PASSWORD') ? '(hidden)' : given[name];
      problems.push(`${name}=${value}: ${issue.message}.`);
    }
  }
  const configFile = configArgument(args, problems) ?? given['WEIR_CONFIG'];
  const eventTypes = readFile(configFile, problems);
  const values = parsed.data;
  if (values !== undefined) problems.push(...contradictions(values));
  if (values === undefined || problems.length > 0) return { ok: false, problems };
  const corsOrigins = values.CORS_ORIGINS.split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
  const config: Config = {
    ...values,
    dataFolder: resolve(values.WEIR_DATA_DIR),
    configFile: configFile === undefined ? undefined : resolve(configFile),
    corsOrigins,
    eventTypes,
  };
  return { ok: true, config };
}

function configArgument(args: readonly string[], problems: string[]): string | undefined {
  let file: string | undefined;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string;
    if (arg.startsWith('--config=')) file = arg.slice('--config='.length);
    else if (arg === '--config') {
      file = args[++at];
      if (file === undefined) problems.push('--config: name a JSON file after it.');
    } else problems.push(`${arg}: unknown argument; there is only --config FILE.`);
  }
  return file;
}

function readFile(file: string | undefined, problems: string[]): Config['eventTypes'] {
  if (file === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    problems.push(`${file}: cannot be read as JSON: ${(error as Error).message}`);
    return {};
  }
  const parsed = FILE.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      problems.push(`${file}: ${issue.path.join('.') || 'the file'}: ${issue.message}.`);
    return {};
  }
  try {
    createEventModel({ eventTypes: parsed.data.eventTypes, limits: DEFAULT_EVENT_LIMITS });
  } catch (error) {
    if (!(error instanceof InvalidEventTypes)) throw error;
    problems.push(...error.problems.map((problem) => `${file}: ${problem}`));
  }
  return parsed.data.eventTypes;
}

/** Values that are fine one by one but not together. */
function contradictions(values: Environment): string[] {
  const problems: string[] = [];
  if (values.WEIR_WORKERS > 1)
    problems.push(
      'WEIR_WORKERS: more than one accept process needs a dedupe window that they share, which this version does not have: set it to 1.',
    );
  if (values.JOURNAL_BYTES_MAX < 3 * values.JOURNAL_SEGMENT_BYTES)
    problems.push('JOURNAL_BYTES_MAX: must be at least three times JOURNAL_SEGMENT_BYTES.');
  // A frame is at most a quarter of a segment, and an event's UTF-8 is counted three times before it is encoded.
  if (values.JOURNAL_SEGMENT_BYTES < 16 * values.EVENT_BYTES_MAX)
    problems.push('JOURNAL_SEGMENT_BYTES: must be at least sixteen times EVENT_BYTES_MAX.');
  if (values.BATCH_BYTES_MAX < values.EVENT_BYTES_MAX)
    problems.push('BATCH_BYTES_MAX: must not be smaller than EVENT_BYTES_MAX.');
  return problems;
}
