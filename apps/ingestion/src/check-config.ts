/** `main.ts check-config`: the settings in force, or every problem, as one JSON object on stdout. */
import { type Config, loadConfig } from './config.ts';

/** What it prints. Passwords, secrets and headers are hidden, unless the supervisor asks for it with `--secrets`. */
export interface ConfigReport {
  readonly ok: boolean;
  readonly settings?: Config;
  readonly problems: readonly string[];
}

export async function printConfig(args: readonly string[]): Promise<void> {
  const withSecrets = args[0] === '--secrets';
  const loaded = loadConfig(withSecrets ? args.slice(1) : args);
  const report: ConfigReport = loaded.ok
    ? { ok: true, settings: withSecrets ? loaded.config : hideSecrets(loaded.config), problems: [] }
    : { ok: false, problems: loaded.problems };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

const HIDDEN = '(hidden)';

function hideSecrets(config: Config): Config {
  const { CLICKHOUSE_PASSWORD, KAFKA_SASL_PASSWORD, JWT_SECRET, CLICKHOUSE_URL, REDIS_URL, kafkaTls } = config;
  const downstreams = Object.entries(config.downstreams).map(([name, one]) => [
    name,
    { ...one, headers: Object.fromEntries(Object.keys(one.headers).map((header) => [header, HIDDEN])) },
  ]);
  return {
    ...config,
    CLICKHOUSE_PASSWORD: CLICKHOUSE_PASSWORD === '' ? '' : HIDDEN,
    KAFKA_SASL_PASSWORD: KAFKA_SASL_PASSWORD === '' ? '' : HIDDEN,
    ...(JWT_SECRET === undefined ? {} : { JWT_SECRET: HIDDEN }),
    ...(CLICKHOUSE_URL === undefined ? {} : { CLICKHOUSE_URL: withoutPasswords(CLICKHOUSE_URL) }),
    ...(REDIS_URL === undefined ? {} : { REDIS_URL: withoutPassword(REDIS_URL) }),
    ...(kafkaTls?.key === undefined ? {} : { kafkaTls: { ...kafkaTls, key: HIDDEN } }),
    downstreams: Object.fromEntries(downstreams),
  };
}

/** What stands between the first colon behind the scheme and the last @ before the path; the URL is known to be one. */
function withoutPassword(url: string): string {
  return url.replace(/^([^:]*:\/\/[^:/?#]*:)[^/?#]*@/, `$1${HIDDEN}@`);
}

/** Of URLs separated by commas. */
function withoutPasswords(urls: string): string {
  return urls
    .split(',')
    .map((url) => withoutPassword(url.trim()))
    .join(',');
}
