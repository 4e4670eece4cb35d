/** Starting in order, stopping in reverse, each step with a deadline. */

export interface LifecycleStep {
  readonly name: string;
  start?(): Promise<void> | void;
  /** Ends the step; `signal` aborts when its deadline has passed. */
  stop?(signal: AbortSignal): Promise<void> | void;
  /** Milliseconds that `stop` may take before the next step is stopped all the same. */
  readonly stopTimeoutMs?: number;
}

export interface StopReport {
  /** Steps whose stop failed or passed its deadline, with the reason. */
  readonly failed: readonly { readonly name: string; readonly reason: string }[];
}

export interface Lifecycle {
  start(): Promise<void>;
  /** Stops what was started, last first. Called twice, it does the work once. */
  stop(): Promise<StopReport>;
}

const STOP_TIMEOUT_MS = 10_000;

/** Builds a lifecycle. When a start fails, the steps that had started are stopped before the error is thrown on. */
export function createLifecycle(steps: readonly LifecycleStep[]): Lifecycle {
  const started: LifecycleStep[] = [];
  let stopping: Promise<StopReport> | undefined;

  let starting: Promise<void> = Promise.resolve();

  function start(): Promise<void> {
    starting = startAll();
    return starting;
  }

  async function startAll(): Promise<void> {
    for (const step of steps) {
      if (stopping !== undefined) throw new Error(`stopped before ${step.name} was started`);
      try {
        await step.start?.();
      } catch (error) {
        stopping ??= stopAll(started);
        await stopping;
        throw error;
      }
      started.push(step);
    }
  }

  /** A step whose start is under way is waited for, so that none is left running. */
  function stop(): Promise<StopReport> {
    stopping ??= starting.then(ignore, ignore).then(() => stopAll(started));
    return stopping;
  }

  return { start, stop };
}

function ignore(): void {}

async function stopAll(started: readonly LifecycleStep[]): Promise<StopReport> {
  const failed: { name: string; reason: string }[] = [];
  for (const step of started.toReversed()) {
    const reason = await stopOne(step);
    if (reason !== undefined) failed.push({ name: step.name, reason });
  }
  return { failed };
}

async function stopOne(step: LifecycleStep): Promise<string | undefined> {
  const timeoutMs = step.stopTimeoutMs ?? STOP_TIMEOUT_MS;
  const deadline = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<string>((resolve) => {
    timer = setTimeout(() => {
      deadline.abort();
      resolve(`not done within ${timeoutMs} ms`);
    }, timeoutMs);
  });
  const work = (async () => step.stop?.(deadline.signal))().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  const reason = await Promise.race([work, passed]);
  clearTimeout(timer);
  return reason;
}
