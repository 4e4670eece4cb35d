/**
 * The checked settings on their way from the supervisor to its children: read once, so that a file which is edited
 * while the service runs changes nothing before the next start, and no child carries the schemas that checked it.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Refusal } from '@libs/runtime';
import type { Config } from './config.ts';

export function settingsFile(dataFolder: string): string {
  return join(dataFolder, 'run', 'settings.json');
}

/** For its owner's eyes only: a password may be in it. Throws `Refusal` when the folder does not take it. */
export function writeSettings(config: Config): void {
  const file = settingsFile(config.dataFolder);
  const part = `${file}.part`;
  try {
    // Whoever left one may have left it readable for all.
    rmSync(part, { force: true });
    writeFileSync(part, JSON.stringify(config), { mode: 0o600 });
    renameSync(part, file);
  } catch (cause) {
    rmSync(part, { force: true });
    throw new Refusal(
      `The settings cannot be handed on (${(cause as Error).message}): free some space, or make the folder writable.`,
      { cause },
    );
  }
}

/** Once nobody reads it any more: passwords do not stay behind, nor get into backups of the data folder. */
export function removeSettings(dataFolder: string): void {
  rmSync(settingsFile(dataFolder), { force: true });
}

export function readSettings(file: string): Config {
  return JSON.parse(readFileSync(file, 'utf8')) as Config;
}
