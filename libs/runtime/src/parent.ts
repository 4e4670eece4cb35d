/**
 * The child's side of supervision. A supervisor that ends, even by SIGKILL, closes the IPC socket; its children learn it
 * at once and end in order. A guard thread kills the process when it has not managed that in time, because its event loop
 * is busy or its shutdown hangs.
 */
import { isGo, tellSupervisor } from './channel.ts';
import type { ProcessIdentity } from './identity.ts';

/** With the guard's poll interval well under the ten seconds that an orphan may live. */
const GONE_GRACE_MS = 5_000;

export interface SupervisedProcess {
  /** Tells the supervisor that this process serves; `info` (JSON) is for the lines that it prints. */
  ready(info?: unknown): void;
}

export interface AttachOptions {
  /** The supervisor is gone: end in order, as on SIGTERM. Called at most once. */
  readonly onGone: () => void;
  /** Milliseconds that the orderly end may take before the process is killed from inside. Default 5,000. */
  readonly graceMs?: number;
}

/** True when a supervisor started this process. */
export function isSupervised(): boolean {
  return process.send !== undefined;
}

/**
 * Resolves once the supervisor has this process on record and lets it begin: before that nothing may be touched, since
 * nobody would know whom to kill. From here on SIGINT and SIGHUP are ignored: a terminal sends them to the whole group, and
 * the order of the shutdown is the supervisor's. Never resolves when the supervisor is gone before (the process ends).
 */
export function attachToSupervisor(options: AttachOptions): Promise<SupervisedProcess> {
  if (!isSupervised()) throw new Error('This process must be started by the supervisor');
  process.on('SIGINT', ignore);
  process.on('SIGHUP', ignore);
  return new Promise((resolve) => {
    let attached = false;
    process.once('disconnect', () => {
      // Before the word there is nothing to end in order.
      if (!attached) process.exit(0);
      options.onGone();
    });
    process.on('message', (message: unknown) => {
      if (attached || !isGo(message)) return;
      attached = true;
      startGuard(message.supervisor, options.graceMs ?? GONE_GRACE_MS);
      resolve({ ready: (info) => tellSupervisor({ t: 'ready', info: info ?? null }) });
    });
  });
}

/** A thread of its own (about 3 MB), so that it runs while the event loop does not. */
function startGuard(supervisor: ProcessIdentity, graceMs: number): void {
  const guard = new Worker(new URL('./guard-thread.ts', import.meta.url).href);
  guard.postMessage({ supervisor, graceMs });
  guard.unref();
}

function ignore(): void {
  // A listener of any kind replaces the default action, which would end the process.
}
