/** Telling one process from another that later got the same pid. */
import { readFileSync } from 'node:fs';

/** A pid alone is reused by the system; together with the start time it names one process for good. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; equal for the same process only. On Linux clock ticks since boot and the boot's id, elsewhere what `ps` prints. */
  readonly startTime: string;
}

/** The process that has this pid now. Undefined when there is none, or only its exit code is left (a zombie). */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const startTime = process.platform === 'linux' ? startTimeFromProc(pid) : startTimeFromPs(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

/** The identity of the calling process. */
export function ownIdentity(): ProcessIdentity {
  const identity = identityOf(process.pid);
  if (identity === undefined) throw new Error(`The start time of process ${process.pid} cannot be read`);
  return identity;
}

/** True while exactly this process runs (a stopped one counts: it still holds its locks). */
export function isRunning(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid)?.startTime === identity.startTime;
}

/** Checks what was read from a file. */
export function parseIdentity(value: unknown): ProcessIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { pid, startTime } = value as { pid?: unknown; startTime?: unknown };
  if (!Number.isSafeInteger(pid) || (pid as number) < 2 || typeof startTime !== 'string' || startTime === '') {
    return undefined;
  }
  return { pid: pid as number, startTime };
}

/** Field 22 of /proc/<pid>/stat (proc_pid_stat(5)). The name in field 2 may hold blanks and brackets, so count after the last one. */
function startTimeFromProc(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // no such process: the file is the question
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, ticks] = [fields[0], fields[19]];
  if (ticks === undefined || state === 'Z' || state === 'X') return undefined;
  return `${ticks}@${bootId()}`;
}

/** Ticks count from the boot, and pids start again with it: without the boot's id two processes could look alike. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown'; // some sandboxes hide it; ticks alone still tell processes of one boot apart
  }
}

/** macOS and the BSDs have no /proc; their `ps` knows the start to the second, which pids do not come round in. */
function startTimeFromPs(pid: number): string | undefined {
  const { exitCode, stdout } = Bun.spawnSync(['ps', '-o', 'stat=,lstart=', '-p', String(pid)], {
    env: { LC_ALL: 'C', PATH: '/bin:/usr/bin' },
  });
  const line = stdout.toString().trim();
  if (exitCode !== 0 || line === '' || line.startsWith('Z')) return undefined;
  return line.slice(line.indexOf(' ')).trim();
}
