/** Who waits for the sinks: callers of `?ack=stored` and `routed`, and sockets that asked for confirmations. */
import { STORE_SINK } from '@libs/delivery';
import type { AckLevel, DeliveredLevel } from '@libs/pipeline';
import type { StoredWatch } from './accept.ts';
import { createLevels } from './levels.ts';

export interface StoredProgress extends StoredWatch {
  /** Deliver says that a sink (default: the store) is done with everything of our journal up to and including `seq`. */
  advance(seq: number, sink?: string): void;
  seq(level: DeliveredLevel): number;
  /** Called when a level has grown. */
  onAdvance(listener: () => void): () => void;
  /** Callers that wait now. */
  waiting(): number;
  /** Nobody waits any longer: the end must not take as long as the most patient caller. */
  close(): void;
}

export interface StoredProgressOptions {
  /** All sinks that are configured beside the store. Default: none. */
  readonly otherSinks?: readonly string[];
  readonly timeoutMs: number;
  readonly monotonicMs: () => number;
  /** Called when somebody begins to wait, so that deliver need not sit out its flush interval. */
  readonly onWait: () => void;
}

interface Waiter {
  readonly seq: number;
  readonly level: DeliveredLevel;
  readonly deadlineMs: number;
  readonly resolve: () => void;
}

const SWEEP_MS = 100;

export function createStoredProgress(options: StoredProgressOptions): StoredProgress {
  const levels = createLevels(options.otherSinks ?? []);
  const waiters = new Set<Waiter>();
  const listeners = new Set<() => void>();
  let closed = false;
  let sweep: ReturnType<typeof setInterval> | undefined;

  function finish(waiter: Waiter): void {
    waiters.delete(waiter);
    waiter.resolve();
    if (waiters.size > 0 || sweep === undefined) return;
    clearInterval(sweep);
    sweep = undefined;
  }

  function sweepLate(): void {
    const nowMs = options.monotonicMs();
    for (const waiter of waiters) if (nowMs >= waiter.deadlineMs) finish(waiter);
  }

  function reached(seq: number, level: AckLevel, signal: AbortSignal | undefined): Promise<void> {
    if (level === 'journal' || seq <= levels.seq(level) || closed || signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter: Waiter = { seq, level, deadlineMs: options.monotonicMs() + options.timeoutMs, resolve };
      waiters.add(waiter);
      signal?.addEventListener('abort', () => finish(waiter), { once: true });
      sweep ??= setInterval(sweepLate, SWEEP_MS);
      options.onWait();
    });
  }

  function levelOf(seq: number, highest: AckLevel): AckLevel {
    if (highest === 'routed' && seq <= levels.seq('routed')) return 'routed';
    return highest !== 'journal' && seq <= levels.seq('stored') ? 'stored' : 'journal';
  }

  function advance(seq: number, sink = STORE_SINK): void {
    if (!levels.advance(sink, seq)) return;
    for (const waiter of waiters) if (waiter.seq <= levels.seq(waiter.level)) finish(waiter);
    for (const listener of listeners) listener();
  }

  return {
    reached,
    levelOf,
    advance,
    seq: levels.seq,
    onAdvance(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    waiting: () => waiters.size,
    close() {
      closed = true;
      for (const waiter of waiters) finish(waiter);
    },
  };
}
