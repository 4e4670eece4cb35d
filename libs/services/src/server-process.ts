/** One running server, as a child that cannot outlive us. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { until } from './until.ts';

const SIGNAL_TIMEOUT_MS = 10_000;
/** Kafka takes some seconds to end in order. */
const END_TIMEOUT_MS = 30_000;

export interface ServerProcess {
  readonly pid: number;
  isRunning(): boolean;
  /** SIGTERM, and SIGKILL when that has not helped for half a minute; resolves once it is gone. */
  end(): Promise<void>;
  /** SIGKILL; resolves once it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP; resolves once it stands still: its sockets stay open, and nobody answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

/**
 * Starts the command, whose output is added to `outputFile`. The kernel sends it SIGKILL when the thread that started it ends,
 * however that happens (PR_SET_PDEATHSIG, prctl(2), by `setpriv` of util-linux): so start it from the main thread. It is
 * a session of its own, so that a Ctrl-C in the terminal reaches only us.
 */
export function startProcess(
  command: readonly string[],
  options: { readonly cwd: string; readonly outputFile: string },
): ServerProcess {
  const fd = openSync(options.outputFile, 'a');
  const child = Bun.spawn(['setpriv', '--pdeathsig', 'KILL', '--', ...command], {
    cwd: options.cwd,
    stdio: ['ignore', fd, fd],
    detached: true,
  });
  closeSync(fd);
  child.unref();
  const isRunning = () => child.exitCode === null && child.signalCode === null;

  async function kill(): Promise<void> {
    child.kill('SIGKILL');
    await child.exited;
  }

  async function waitForState(isWanted: (state: string) => boolean): Promise<void> {
    if (await until(() => !isRunning() || isWanted(stateOf(child.pid)), SIGNAL_TIMEOUT_MS)) return;
    throw new Error(`Process ${child.pid} did not stop or go on within ${SIGNAL_TIMEOUT_MS} ms`);
  }

  return {
    pid: child.pid,
    isRunning,
    kill,
    async end() {
      child.kill('SIGTERM');
      child.kill('SIGCONT');
      if (!(await until(() => !isRunning(), END_TIMEOUT_MS))) await kill();
    },
    async freeze() {
      child.kill('SIGSTOP');
      await waitForState((state) => state === 'T');
    },
    async thaw() {
      child.kill('SIGCONT');
      await waitForState((state) => state !== 'T');
    },
  };
}

/** Field 3 of /proc/<pid>/stat (proc_pid_stat(5)): T is stopped. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}
