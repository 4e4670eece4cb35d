/** Who waits for the store: callers of `?ack=stored` and sockets that asked for confirmations. */
import type { StoredWatch } from './accept.ts';

export interface StoredProgress extends StoredWatch {
  /** Deliver says that the store has everything up to and including `seq`. */
  advance(seq: number): void;
  seq(): number;
  onAdvance(listener: (seq: number) => void): () => void;
  /** Callers that wait now. */
  waiting(): number;
  /** Nobody waits any longer: the end must not take as long as the most patient caller. */
  close(): void;
}

interface Waiter {
  readonly seq: number;
  readonly deadlineMs: number;
  readonly resolve: (reached: boolean) => void;
}

const SWEEP_MS = 100;

/** `onWait` is called when somebody begins to wait, so that deliver need not sit out its flush interval. */
export function createStoredProgress(options: {
  timeoutMs: number;
  monotonicMs: () => number;
  onWait: () => void;
}): StoredProgress {
  const waiters = new Set<Waiter>();
  const listeners = new Set<(seq: number) => void>();
  let storedSeq = 0;
  let closed = false;
  let sweep: ReturnType<typeof setInterval> | undefined;

  function finish(waiter: Waiter, reached: boolean): void {
    waiters.delete(waiter);
    waiter.resolve(reached);
    if (waiters.size > 0 || sweep === undefined) return;
    clearInterval(sweep);
    sweep = undefined;
  }

  function sweepLate(): void {
    const nowMs = options.monotonicMs();
    for (const waiter of waiters) if (nowMs >= waiter.deadlineMs) finish(waiter, false);
  }

  function reached(seq: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (seq <= storedSeq) return Promise.resolve(true);
    if (closed || signal?.aborted === true) return Promise.resolve(false);
    return new Promise((resolve) => {
      const waiter: Waiter = { seq, deadlineMs: options.monotonicMs() + options.timeoutMs, resolve };
      waiters.add(waiter);
      signal?.addEventListener('abort', () => finish(waiter, false), { once: true });
      sweep ??= setInterval(sweepLate, SWEEP_MS);
      options.onWait();
    });
  }

  function advance(seq: number): void {
    if (seq <= storedSeq) return;
    storedSeq = seq;
    for (const waiter of waiters) if (waiter.seq <= seq) finish(waiter, true);
    for (const listener of listeners) listener(seq);
  }

  return {
    reached,
    advance,
    seq: () => storedSeq,
    onAdvance(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    waiting: () => waiters.size,
    close() {
      closed = true;
      for (const waiter of waiters) finish(waiter, false);
    },
  };
}
