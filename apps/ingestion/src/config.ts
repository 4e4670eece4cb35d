/**
 * All configuration, read once: scalars from the environment, event types and routes from one JSON file. The only reader
 * of the environment in this service. Blank means absent; every problem is reported at once.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { secretProblem } from '@libs/auth';
import { redisUrlProblem } from '@libs/database/redis-url';
import { type Routing, readConfigFile } from './config-file.ts';
import { ENVIRONMENT, type Environment } from './environment.ts';

export interface Config extends Environment, Routing {
  /** Wall clock in ms when the settings were read: before anything was started. */
  readonly startedAtMs: number;
  /** Absolute. */
  readonly dataFolder: string;
  readonly configFile: string | undefined;
  readonly corsOrigins: readonly string[];
  readonly kafkaBrokers: readonly string[];
  /** Present: encrypted. Texts in PEM. */
  readonly kafkaTls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** In PEM. */
  readonly clickhouseCa?: string;
}

export type LoadedConfig =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Values that no message may show. */
const SECRET = /PASSWORD|SECRET|_URL$/;

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
      problems.push(`${name}=${SECRET.test(name) ? '(hidden)' : given[name]}: ${issue.message}.`);
    }
  }
  const configFile = configArgument(args, problems) ?? given['WEIR_CONFIG'];
  const values = parsed.data;
  const routing = readConfigFile(configFile, values, problems);
  if (values !== undefined) problems.push(...contradictions(values));
  const certificates = values === undefined ? {} : readCertificates(values, problems);
  if (values === undefined || routing === undefined || problems.length > 0) return { ok: false, problems };
  const config: Config = {
    ...values,
    ...routing,
    ...certificates,
    startedAtMs: Date.now(),
    dataFolder: resolve(values.WEIR_DATA_DIR),
    configFile: configFile === undefined ? undefined : resolve(configFile),
    corsOrigins: listOf(values.CORS_ORIGINS),
    kafkaBrokers: listOf(values.KAFKA_BROKERS ?? ''),
  };
  return { ok: true, config };
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
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

function readCertificates(values: Environment, problems: string[]): Pick<Config, 'kafkaTls' | 'clickhouseCa'> {
  const read = (name: 'KAFKA_TLS_CA' | 'KAFKA_TLS_CERT' | 'KAFKA_TLS_KEY' | 'CLICKHOUSE_TLS_CA') => {
    const file = values[name];
    if (file === undefined) return undefined;
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      problems.push(`${name}: ${file} cannot be read: ${(error as Error).message}`);
      return undefined;
    }
  };
  const [ca, cert, key] = [read('KAFKA_TLS_CA'), read('KAFKA_TLS_CERT'), read('KAFKA_TLS_KEY')];
  const clickhouseCa = read('CLICKHOUSE_TLS_CA');
  return {
    ...(values.KAFKA_TLS === 'off'
      ? {}
      : { kafkaTls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } }),
    ...(clickhouseCa === undefined ? {} : { clickhouseCa }),
  };
}

const BROKER = /^(?:\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}$/;

/** Values that are fine one by one but not together. */
function contradictions(values: Environment): string[] {
  const problems: string[] = [];
  if (values.WEIR_WORKERS > 1 && values.REDIS_URL === undefined)
    problems.push('WEIR_WORKERS: more than one accept process needs a dedupe window that they share: set REDIS_URL.');
  const redis = values.REDIS_URL === undefined ? undefined : redisUrlProblem(values.REDIS_URL);
  if (redis !== undefined) problems.push(`REDIS_URL: ${redis}.`);
  for (const broker of listOf(values.KAFKA_BROKERS ?? ''))
    if (!BROKER.test(broker)) problems.push(`KAFKA_BROKERS: ${broker} is not host:port.`);
  if (values.KAFKA_SASL_MECHANISM !== undefined && values.KAFKA_SASL_USERNAME === '')
    problems.push('KAFKA_SASL_MECHANISM: needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.');
  if ((values.KAFKA_TLS_CERT === undefined) !== (values.KAFKA_TLS_KEY === undefined))
    problems.push('KAFKA_TLS_CERT and KAFKA_TLS_KEY: set both or neither.');
  if (values.KAFKA_TLS === 'off' && (values.KAFKA_TLS_CA ?? values.KAFKA_TLS_CERT) !== undefined)
    problems.push('KAFKA_TLS_CA and KAFKA_TLS_CERT: need KAFKA_TLS=on.');
  if (values.CLICKHOUSE_CLUSTER !== undefined && values.CLICKHOUSE_URL === undefined)
    problems.push('CLICKHOUSE_CLUSTER: needs CLICKHOUSE_URL.');
  const secret = values.JWT_SECRET === undefined ? undefined : secretProblem(values.JWT_SECRET);
  if (secret !== undefined) problems.push(`JWT_SECRET: ${secret}`);
  if (values.JOURNAL_BYTES_MAX < 3 * values.JOURNAL_SEGMENT_BYTES)
    problems.push('JOURNAL_BYTES_MAX: must be at least three times JOURNAL_SEGMENT_BYTES.');
  // A frame is at most a quarter of a segment, and an event's UTF-8 is counted three times before it is encoded.
  if (values.JOURNAL_SEGMENT_BYTES < 16 * values.EVENT_BYTES_MAX)
    problems.push('JOURNAL_SEGMENT_BYTES: must be at least sixteen times EVENT_BYTES_MAX.');
  if (values.BATCH_BYTES_MAX < values.EVENT_BYTES_MAX)
    problems.push('BATCH_BYTES_MAX: must not be smaller than EVENT_BYTES_MAX.');
  return problems;
}
