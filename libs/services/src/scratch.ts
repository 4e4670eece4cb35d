/** Folders under the system's temporary one, each named after the process that it belongs to. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PREFIX = 'weir-services-';

/**
 * A new folder. It also removes those of processes that are gone: `bun test` runs no exit handlers, and a killed process
 * cannot clean up behind itself.
 */
export function scratchFolder(): string {
  sweep();
  return mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner !== undefined && !exists(Number(owner))) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** A pid that came round again only puts the removal off. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
