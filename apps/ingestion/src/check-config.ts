/** `main.ts check-config`: the settings in force, or every problem, as one JSON object on stdout. */
import { loadConfig } from './config.ts';

/** What it prints; `settings` has no secrets in it. */
export interface ConfigReport {
  readonly ok: boolean;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly problems: readonly string[];
}

export async function printConfig(args: readonly string[]): Promise<void> {
  const loaded = loadConfig(process.env, args);
  const report: ConfigReport = loaded.ok
    ? {
        ok: true,
        settings: { ...loaded.config, CLICKHOUSE_PASSWORD: loaded.config.CLICKHOUSE_PASSWORD === '' ? '' : '(hidden)' },
        problems: [],
      }
    : { ok: false, problems: loaded.problems };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
