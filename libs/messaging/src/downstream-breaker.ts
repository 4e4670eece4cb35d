/** One circuit breaker: cockatiel's, on a monotonic clock, with a backoff that we can read. */
import { backoffMs } from '@libs/pipeline';
import { BrokenCircuitError, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel';
import type { Downstream } from './downstream-options.ts';
import type { Reply } from './downstream-reply.ts';

/** A request was given up because its signal aborted: that says nothing of the service. */
export class GivenUp extends Error {
  constructor() {
    super('the request was given up');
    this.name = 'GivenUp';
  }
}

export interface Breaker {
  /**
   * Runs `post` unless the breaker is open (`undefined`). While a trial is under way, others wait for its outcome.
   * Throws `GivenUp` when the signal aborts before `post` was begun, and what `post` throws.
   */
  run(post: () => Promise<Reply>, signal: AbortSignal): Promise<Reply | undefined>;
  state(): 'closed' | 'open' | 'half_open';
  /** Milliseconds until an open breaker lets a trial through. */
  openForMs(): number;
}

export interface BreakerOptions {
  readonly limits: Downstream['breaker'];
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly onOpen: (openMs: number) => void;
  readonly onClose: () => void;
}

export function createBreaker(options: BreakerOptions): Breaker {
  const { limits, nowMs, random } = options;
  const waits = { minMs: limits.openMs, maxMs: limits.openMsMax };
  let openUntilMs = 0;

  /**
   * cockatiel compares `duration` with what the wall clock has counted, and the wall clock jumps. So the answer is
   * given by ours: endless until the time has come, then none.
   */
  const openTime = {
    get duration(): number {
      return nowMs() < openUntilMs ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    },
    next({ attempt }: { readonly attempt: number }) {
      const openMs = backoffMs(attempt, waits, random);
      openUntilMs = nowMs() + openMs;
      options.onOpen(openMs);
      return openTime;
    },
  };

  // A trial that was given up has not shown that the service works; while the breaker is closed it counts as nothing.
  const policy = circuitBreaker(
    handleWhen((error) => error instanceof GivenUp && policy.state === CircuitState.HalfOpen).orWhenResult(
      (reply) => (reply as Reply).kind === 'failed' && (reply as Reply & { kind: 'failed' }).isOutage,
    ),
    {
      halfOpenAfter: openTime,
      halfOpenSampling: { calls: limits.halfOpenCalls, threshold: 0 },
      breaker: new ConsecutiveBreaker(limits.failures),
    },
  );
  policy.onReset(() => options.onClose());

  async function run(post: () => Promise<Reply>, signal: AbortSignal): Promise<Reply | undefined> {
    let hasBegun = false;
    const work = policy.execute(() => {
      hasBegun = true;
      return post();
    });
    try {
      // Begun within the call above, or waiting for a trial of others, which takes no notice of our signal.
      return await (hasBegun ? work : unlessAborted(work, signal));
    } catch (error) {
      if (error instanceof BrokenCircuitError) return undefined;
      throw error;
    }
  }

  return {
    run,
    state() {
      if (policy.state === CircuitState.Closed) return 'closed';
      return policy.state === CircuitState.HalfOpen ? 'half_open' : 'open';
    },
    openForMs: () => Math.max(0, openUntilMs - nowMs()),
  };
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new GivenUp());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
