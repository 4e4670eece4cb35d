/** `main.ts check-config`: the settings in force, or every problem, as one JSON object on stdout. */
import { type Config, loadConfig } from './config.ts';

/** What it prints. The password is hidden, unless the supervisor asks for it with `--secrets`. */
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

function hideSecrets(config: Config): Config {
  return { ...config, CLICKHOUSE_PASSWORD: config.CLICKHOUSE_PASSWORD === '' ? '' : '(hidden)' };
}
