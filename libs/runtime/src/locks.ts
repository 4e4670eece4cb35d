/**
 * Kernel locks on folders. A lock is a SQLite database with an exclusive transaction that stays open: SQLite takes a
 * POSIX record lock, which the kernel gives back when the process ends, however it ends. Nothing is ever written to the
 * database, so the lock needs no disk space and leaves nothing to recover.
 *
 * POSIX drops a process's locks on a file when that process closes any descriptor of it: nothing else may open the file.
 */
import { Database } from 'bun:sqlite';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isRunning, ownIdentity, parseIdentity } from './identity.ts';
import { Refusal } from './refusal.ts';

const POLL_MS = 50;

/** Held until `release` or the end of the process. */
export interface Lock {
  release(): void;
}

/** Somebody else still holds the lock after the wait. */
export class LockedError extends Refusal {
  readonly file: string;
  /** Undefined when the holder could not be identified. */
  readonly holderPid: number | undefined;
  constructor(label: string, file: string, holderPid: number | undefined) {
    const holder = holderPid === undefined ? 'another process' : `another process (pid ${holderPid})`;
    super(`${label} is in use by ${holder}: stop it first, or choose another folder (the lock is ${file}).`);
    this.name = 'LockedError';
    this.file = file;
    this.holderPid = holderPid;
  }
}

// A database that is garbage-collected is closed, and the lock with it: what is held stays reachable here.
const held = new Set<Database>();

/**
 * Takes the lock, waiting up to `waitMs` milliseconds for its holder to end. `label` begins the sentence of a failure
 * ("The data folder ./data"). Throws `LockedError` when it stays held, `Refusal` when the file cannot be used at all.
 */
export async function acquireLock(file: string, options: { waitMs: number; label: string }): Promise<Lock> {
  const deadline = performance.now() + options.waitMs;
  for (;;) {
    const database = tryLock(file, options.label);
    if (database !== undefined) return holdLock(file, database);
    if (performance.now() >= deadline) throw new LockedError(options.label, file, holderOf(file));
    await Bun.sleep(Math.min(POLL_MS, Math.max(1, deadline - performance.now())));
  }
}

/** Undefined: held by somebody else. */
function tryLock(file: string, label: string): Database | undefined {
  let database: Database | undefined;
  try {
    database = new Database(file, { create: true, readwrite: true });
    database.run('PRAGMA busy_timeout = 0');
    database.run('BEGIN EXCLUSIVE');
    return database;
  } catch (cause) {
    database?.close();
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code.startsWith('SQLITE_BUSY')) return undefined;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(
      `${label} cannot be locked: ${reason} (${file}); check that the folder exists and can be written.`,
      {
        cause,
      },
    );
  }
}

function holdLock(file: string, database: Database): Lock {
  held.add(database);
  writeHolder(file);
  let released = false;
  return {
    release() {
      if (released) return;
      released = true;
      rmSync(holderFile(file), { force: true });
      held.delete(database);
      database.run('ROLLBACK');
      database.close();
    },
  };
}

/** Beside the lock, since a locked database cannot be read by others. It serves messages only; the kernel decides. */
function holderFile(file: string): string {
  return `${file}.holder`;
}

function writeHolder(file: string): void {
  try {
    writeFileSync(holderFile(file), `${JSON.stringify(ownIdentity())}\n`);
  } catch {
    // A full disk must not keep anyone from starting: the next one will just not learn our pid.
    rmSync(holderFile(file), { force: true });
  }
}

/** The pid of the holder, if what stands beside the lock still names a living process. */
function holderOf(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(holderFile(file), 'utf8');
  } catch {
    return undefined; // not written (yet)
  }
  try {
    const holder = parseIdentity(JSON.parse(text));
    return holder !== undefined && isRunning(holder) ? holder.pid : undefined;
  } catch {
    return undefined; // half written
  }
}
