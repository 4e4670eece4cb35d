/**
 * The checked settings on their way from the supervisor to its children: read once, so that a file which is edited
 * while the service runs changes nothing before the next start, and no child carries the schemas that checked it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from './config.ts';

export function settingsFile(dataFolder: string): string {
  return join(dataFolder, 'run', 'settings.json');
}

/** For its owner's eyes only: a password may be in it. */
export function writeSettings(config: Config): void {
  const file = settingsFile(config.dataFolder);
  writeFileSync(`${file}.part`, JSON.stringify(config), { mode: 0o600 });
  renameSync(`${file}.part`, file);
}

export function readSettings(file: string): Config {
  return JSON.parse(readFileSync(file, 'utf8')) as Config;
}
