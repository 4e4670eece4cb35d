/** Where things stand in the data folder. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { socketPath } from '@libs/runtime';
import type { Config } from './config.ts';

/** The local sockets on which deliver listens: for messages, and for queries over HTTP. */
export function deliverPaths({ dataFolder }: Config): { readonly linkPath: string; readonly queryPath: string } {
  const folder = join(dataFolder, 'run');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { linkPath: socketPath(folder, 'deliver'), queryPath: socketPath(folder, 'query') };
}

/** What the accept process of a worker is called in logs and in the record of processes. */
export function acceptName(worker: number): string {
  return worker === 0 ? 'accept' : `accept-${worker}`;
}

/** The lock of the journal that a worker writes. */
export function journalLock({ dataFolder }: Config, worker: number): string {
  const folder = join(dataFolder, 'journals');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, `w${worker}.lock`);
}

/** Deliver's own folder: its state database, its lock and the embedded engine. */
export function deliverFolder({ dataFolder }: Config): string {
  const folder = join(dataFolder, 'deliver');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}
