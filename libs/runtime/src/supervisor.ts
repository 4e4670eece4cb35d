/**
 * The parent of all processes: it starts, watches, restarts with backoff and forwards signals. No data passes through it,
 * so that nothing it does can slow an event down; it imports little, since its memory is pure overhead.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '@libs/monitoring';
import { type Backoff, type Child, createChild, type ProcessSpec, type StopResult } from './child.ts';
import { ownIdentity } from './identity.ts';
import { acquireLock, type Lock } from './locks.ts';
import { killOrphans, type RecordedProcess, readRecord, writeRecord } from './record.ts';
import { REFUSAL_EXIT_CODE, Refusal } from './refusal.ts';
import { onShutdown, type ShutdownSignal, signalExitCode } from './signals.ts';

/** A supervisor that was just killed may need a moment until the kernel has taken it apart. */
const LOCK_WAIT_MS = 1_000;
const ORPHAN_WAIT_MS = 15_000;

export interface SuperviseOptions {
  /** Made when it does not exist. Holds `supervisor.lock` and `run/`. */
  readonly dataDir: string;
  /** In the order in which they are started; none waits for another to be ready. */
  readonly processes: readonly ProcessSpec[];
  readonly logger: Logger;
  /** One line for a person (stderr): why the supervisor refuses. */
  readonly print: (line: string) => void;
  /** Milliseconds that each stop stage may take before its processes are killed. */
  readonly shutdownTimeoutMs: number;
  readonly backoff: Backoff;
  /** Runs once the folder is ours and before anything is started; may throw `Refusal` (a port that is taken). */
  readonly beforeStart?: () => Promise<void> | void;
  /** Called once, when every process has said that it is ready, with what each one said. */
  readonly onReady?: (infoByProcess: ReadonlyMap<string, unknown>) => void;
}

type EndRequest = { readonly kind: 'signal'; readonly signal: ShutdownSignal } | { readonly kind: 'refused' };

/**
 * Runs until a signal or a refusal ends it, and resolves to the exit code: 0 after an orderly end, `REFUSAL_EXIT_CODE`
 * when it or a child refused (the sentence is printed), 1 when a process had to be killed or failed while it stopped.
 */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const children: Child[] = [];
  const end = Promise.withResolvers<EndRequest>();
  let ending = false;
  const request = (reason: EndRequest): void => {
    ending = true;
    end.resolve(reason);
  };
  const stopListening = onShutdown({
    onFirst: (signal) => request({ kind: 'signal', signal }),
    onSecond: (signal) => {
      for (const child of children) child.kill();
      process.exit(signalExitCode(signal));
    },
  });
  let lock: Lock | undefined;
  try {
    lock = await takeFolder(options);
    await options.beforeStart?.();
    if (ending) return 0;
    children.push(...createChildren(options, children, () => request({ kind: 'refused' })));
    for (const child of children) child.start();
    return await endInOrder(options, children, await end.promise);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    options.print(error.message);
    return REFUSAL_EXIT_CODE;
  } finally {
    lock?.release();
    stopListening();
  }
}

/** Makes the folder ours: the kernel lock first, then an end to whatever a killed predecessor left behind. */
async function takeFolder({ dataDir, logger }: SuperviseOptions): Promise<Lock> {
  try {
    mkdirSync(join(dataDir, 'run'), { recursive: true, mode: 0o700 });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(
      `The data folder ${dataDir} cannot be used (${reason}): make it writable, or choose another one.`,
      {
        cause,
      },
    );
  }
  const label = `The data folder ${dataDir}`;
  const lock = await acquireLock(join(dataDir, 'supervisor.lock'), { waitMs: LOCK_WAIT_MS, label });
  const { killed, surviving } = await killOrphans(recordOfPredecessor(dataDir, logger), ORPHAN_WAIT_MS);
  const names = (processes: readonly RecordedProcess[]) => processes.map(({ name, pid }) => `${name} (pid ${pid})`);
  if (killed.length > 0) logger.warn({ processes: names(killed) }, 'killed what a former supervisor had left running');
  if (surviving.length > 0) logger.error({ processes: names(surviving) }, 'these do not end even when killed');
  return lock;
}

function recordFile(dataDir: string): string {
  return join(dataDir, 'run', 'processes.json');
}

function recordOfPredecessor(dataDir: string, logger: Logger): RecordedProcess[] {
  try {
    return readRecord(recordFile(dataDir));
  } catch (error) {
    // Orphans end by themselves within seconds, and their locks keep their folders until then.
    logger.warn({ error: String(error) }, 'the record of a former supervisor cannot be read');
    return [];
  }
}

/** `children` is the list that the result is put into: the record names all that run. */
function createChildren(options: SuperviseOptions, children: readonly Child[], onRefused: () => void): Child[] {
  const { logger, backoff } = options;
  const supervisor = ownIdentity();
  const infoByProcess = new Map<string, unknown>();
  let announced = false;

  function onChange(): void {
    const running = children.flatMap((child) => child.recorded() ?? []);
    try {
      writeRecord(recordFile(options.dataDir), running);
    } catch (error) {
      // A full disk must not keep a process from coming back: its own lock still protects its folder.
      logger.error({ error: String(error) }, 'the record of running processes cannot be written');
    }
  }

  function onReady(name: string, info: unknown): void {
    infoByProcess.set(name, info);
    if (announced) {
      logger.info({ process: name }, `${name} is ready again`);
    } else if (infoByProcess.size === options.processes.length) {
      announced = true;
      options.onReady?.(infoByProcess);
    }
  }

  const names = new Set(options.processes.map(({ name }) => name));
  if (names.size !== options.processes.length) throw new Error('Two processes have the same name');
  return options.processes.map((spec) =>
    createChild({
      spec,
      backoff,
      logger,
      supervisor,
      onChange,
      onRefused,
      onReady: (info) => onReady(spec.name, info),
    }),
  );
}

/** Stage by stage: what takes events in has ended before what delivers them is told to. */
async function endInOrder(options: SuperviseOptions, children: readonly Child[], why: EndRequest): Promise<number> {
  const { logger, shutdownTimeoutMs } = options;
  if (why.kind === 'signal') logger.info({ signal: why.signal }, 'shutting down');
  const stageOf = (child: Child) => child.spec.stopStage ?? 0;
  const stages = [...new Set(children.map(stageOf))].sort((a, b) => a - b);
  const results: StopResult[] = [];
  for (const stage of stages) {
    const inStage = children.filter((child) => stageOf(child) === stage);
    results.push(...(await Promise.all(inStage.map((child) => child.stop(shutdownTimeoutMs)))));
  }
  if (why.kind === 'refused') return REFUSAL_EXIT_CODE;
  const ordered = results.every((result) => result === 'ordered');
  logger.info({ ordered }, ordered ? 'everything has ended in order' : 'everything has ended, but not in order');
  return ordered ? 0 : 1;
}
