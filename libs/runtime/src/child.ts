/** One supervised process: started, put on record, started again with backoff when it ends, stopped in order. */
import type { Logger } from '@libs/monitoring';
import { type Go, isReady } from './channel.ts';
import { identityOf, type ProcessIdentity } from './identity.ts';
import type { RecordedProcess } from './record.ts';
import { REFUSAL_EXIT_CODE } from './refusal.ts';

/** After SIGKILL only a call that the kernel cannot interrupt delays the end; then it is not waited for any longer. */
const KILL_WAIT_MS = 5_000;
const RESET_AFTER_MS = 30_000;

export interface ProcessSpec {
  /** Unique; for logs, the record and `onReady`. */
  readonly name: string;
  readonly argv: readonly string[];
  /** Variables beside the supervisor's own, which a child inherits. */
  readonly env?: Readonly<Record<string, string>>;
  /** Processes of a lower stage have ended before those of a higher one are told to stop. Default 0. */
  readonly stopStage?: number;
}

export interface Backoff {
  /** Wait before the first restart, in milliseconds; it doubles up to `maxMs`. */
  readonly minMs: number;
  readonly maxMs: number;
  /** A process that lived this long starts again from `minMs`. Default 30,000. */
  readonly resetAfterMs?: number;
}

/** `ordered`: exit code 0, or SIGTERM before it could listen to it. `killed`: not gone by its deadline. */
export type StopResult = 'ordered' | 'failed' | 'killed';

export interface ChildOptions {
  readonly spec: ProcessSpec;
  readonly backoff: Backoff;
  readonly logger: Logger;
  readonly supervisor: ProcessIdentity;
  /** Called right after a process came or went; the record must be on disk when it returns. */
  readonly onChange: () => void;
  readonly onReady: (info: unknown) => void;
  readonly onRefused: () => void;
}

export interface Child {
  readonly spec: ProcessSpec;
  /** Undefined while it is down. */
  recorded(): RecordedProcess | undefined;
  start(): void;
  /** SIGTERM, then SIGKILL after `timeoutMs` milliseconds. Resolves once it is gone; it is not started again. */
  stop(timeoutMs: number): Promise<StopResult>;
  /** SIGKILL now; it is not started again. */
  kill(): void;
}

interface Running {
  readonly process: Bun.Subprocess<'ignore', 'inherit', 'inherit'>;
  readonly identity: ProcessIdentity | undefined;
}

export function createChild(options: ChildOptions): Child {
  const { spec, logger } = options;
  let running: Running | undefined;
  let stopping = false;
  let wake: (() => void) | undefined;
  let ended: Promise<void> = Promise.resolve();
  let last: StopResult = 'ordered';

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping) {
      const startedAt = performance.now();
      const reason = await runOnce();
      if (stopping || reason === undefined) return;
      const livedMs = Math.round(performance.now() - startedAt);
      failures = livedMs >= (options.backoff.resetAfterMs ?? RESET_AFTER_MS) ? 0 : failures;
      const restartInMs = Math.min(options.backoff.minMs * 2 ** failures, options.backoff.maxMs);
      failures += 1;
      logger.error({ process: spec.name, reason, livedMs, restartInMs }, `${spec.name} ended and is started again`);
      await pause(restartInMs);
    }
  }

  /** Resolves when the process has ended, with the reason; undefined when it must not be started again. */
  async function runOnce(): Promise<string | undefined> {
    let child: Running['process'];
    try {
      child = spawnChild(spec, onMessage);
    } catch (error) {
      return `it cannot be started: ${error instanceof Error ? error.message : String(error)}`;
    }
    running = { process: child, identity: identityOf(child.pid) };
    options.onChange();
    sendGo(child);
    await child.exited;
    running = undefined;
    options.onChange();
    last = child.exitCode === 0 || child.signalCode === 'SIGTERM' ? 'ordered' : 'failed';
    if (child.exitCode === REFUSAL_EXIT_CODE) {
      options.onRefused();
      return undefined;
    }
    return child.signalCode === null ? `exit code ${child.exitCode}` : `signal ${child.signalCode}`;
  }

  function sendGo(child: Running['process']): void {
    const go: Go = { t: 'go', supervisor: options.supervisor };
    try {
      child.send(go);
    } catch (error) {
      // It ended at once and its socket with it: its exit code says why.
      logger.debug({ process: spec.name, error: String(error) }, `${spec.name} could not be told to begin`);
    }
  }

  function onMessage(message: unknown): void {
    if (isReady(message)) options.onReady(message.info);
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function stop(timeoutMs: number): Promise<StopResult> {
    stopping = true;
    wake?.();
    const child = running?.process;
    if (child === undefined) {
      await ended;
      return 'ordered';
    }
    child.kill('SIGTERM');
    if (await settlesWithin(ended, timeoutMs)) return last;
    logger.error({ process: spec.name, timeoutMs }, `${spec.name} did not end in time and is killed`);
    child.kill('SIGKILL');
    await settlesWithin(ended, KILL_WAIT_MS);
    return 'killed';
  }

  return {
    spec,
    recorded: () => (running?.identity === undefined ? undefined : { name: spec.name, ...running.identity }),
    start() {
      ended = run();
    },
    stop,
    kill() {
      stopping = true;
      wake?.();
      running?.process.kill('SIGKILL');
    },
  };
}

/** Output goes straight to the terminal: a frozen supervisor must not be able to block what its children write. */
function spawnChild(spec: ProcessSpec, onMessage: (message: unknown) => void): Running['process'] {
  return Bun.spawn([...spec.argv], {
    stdio: ['ignore', 'inherit', 'inherit'],
    ...(spec.env === undefined ? {} : { env: { ...process.env, ...spec.env } }),
    serialization: 'json',
    ipc: onMessage,
  });
}

async function settlesWithin(work: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  const settled = await Promise.race([work.then(() => true), passed]);
  clearTimeout(timer);
  return settled;
}
