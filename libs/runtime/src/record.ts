/**
 * Who runs under a supervisor, on disk, so that the next supervisor can end whoever outlived this one. A child does nothing
 * before it stands in the record.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { isRunning, type ProcessIdentity, parseIdentity } from './identity.ts';

export interface RecordedProcess extends ProcessIdentity {
  readonly name: string;
}

const POLL_MS = 20;

/**
 * Replaces the record. Synced before it is renamed into place, so that a power cut leaves the old or the new one; the rename
 * itself need not survive one, since no process does either. Throws what the file system throws.
 */
export function writeRecord(file: string, processes: readonly RecordedProcess[]): void {
  const temporary = `${file}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, `${JSON.stringify({ version: 1, processes })}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
}

/** Reads the record; what is missing is empty. Throws an `Error` when the content is not a record. */
export function readRecord(file: string): RecordedProcess[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
  const content: unknown = JSON.parse(text);
  const processes = (content as { processes?: unknown } | null)?.processes;
  if (!Array.isArray(processes)) throw new Error(`${file} is not a record of processes`);
  return processes.flatMap((entry: unknown) => {
    const identity = parseIdentity(entry);
    const name = (entry as { name?: unknown } | null)?.name;
    return identity === undefined ? [] : [{ ...identity, name: typeof name === 'string' ? name : 'unnamed' }];
  });
}

export interface OrphanReport {
  readonly killed: readonly RecordedProcess[];
  /** Still there after the wait (in an uninterruptible call of the kernel, or another user's): their locks decide. */
  readonly surviving: readonly RecordedProcess[];
}

/**
 * SIGKILLs those recorded processes that still run, stopped ones too, and waits up to `waitMs` milliseconds until they are
 * gone. A pid that another process has by now is left alone.
 */
export async function killOrphans(processes: readonly RecordedProcess[], waitMs: number): Promise<OrphanReport> {
  const killed = processes.filter(isRunning);
  for (const { pid } of killed) killQuietly(pid);
  const deadline = performance.now() + waitMs;
  let surviving = killed;
  while (surviving.length > 0 && performance.now() < deadline) {
    await Bun.sleep(POLL_MS);
    surviving = surviving.filter(isRunning);
  }
  return { killed, surviving };
}

/** It may have ended by itself meanwhile (ESRCH), or belong to another user (EPERM), and then it counts as surviving. */
function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && ['ESRCH', 'EPERM'].includes(String(error.code)))) throw error;
  }
}
