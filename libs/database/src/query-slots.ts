/** So many at a time, so many waiting, each for so long. */
import { QueryRefused } from './query-refused.ts';

export interface SlotLimits {
  readonly concurrentMax: number;
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
}

export interface Slots {
  /** Resolves to the function that gives the slot back. Throws `QueryRefused` (202) when the queue is full or too slow. */
  acquire(signal: AbortSignal): Promise<() => void>;
  /** Resolves once no slot is taken. */
  idle(): Promise<void>;
}

export function createSlots(limits: SlotLimits): Slots {
  let taken = 0;
  const queue: (() => void)[] = [];
  const idleWaiters: (() => void)[] = [];

  function release(): void {
    const next = queue.shift();
    if (next) return next();
    taken--;
    if (taken === 0) for (const wake of idleWaiters.splice(0)) wake();
  }

  async function acquire(signal: AbortSignal): Promise<() => void> {
    if (taken < limits.concurrentMax) taken++;
    else await wait(signal);
    let isHeld = true;
    return () => {
      if (isHeld) release();
      isHeld = false;
    };
  }

  function wait(signal: AbortSignal): Promise<void> {
    if (queue.length >= limits.queueMax) throw busy(`${queue.length} queries are waiting`);
    return new Promise((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        queue.splice(queue.indexOf(enter), 1);
        reject(busy(`no turn within ${limits.queueTimeoutMs} ms`));
      };
      const timer = setTimeout(leave, limits.queueTimeoutMs);
      signal.addEventListener('abort', leave, { once: true });
      queue.push(enter);
    });
  }

  return {
    acquire,
    idle: () => (taken === 0 ? Promise.resolve() : new Promise((resolve) => idleWaiters.push(resolve))),
  };
}

function busy(why: string): QueryRefused {
  return new QueryRefused('TOO_MANY_SIMULTANEOUS_QUERIES', `Too many queries at the same time: ${why}. Try again.`);
}
