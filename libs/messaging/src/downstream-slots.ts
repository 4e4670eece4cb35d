/** A bounded number of things at a time, first come, first served; whoever waits leaves when its signal aborts. */
export interface Slots {
  /** Resolves with true once a slot is ours, to be given back by `release`; with false when the signal aborts first. */
  acquire(signal: AbortSignal): Promise<boolean>;
  release(): void;
}

export function createSlots(count: number): Slots {
  let free = count;
  const waiting = new Set<() => void>();

  function acquire(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    if (free > 0) {
      free--;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const take = (): void => {
        signal.removeEventListener('abort', leave);
        resolve(true);
      };
      const leave = (): void => {
        waiting.delete(take);
        resolve(false);
      };
      waiting.add(take);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  function release(): void {
    const [next] = waiting;
    if (next === undefined) {
      free++;
      return;
    }
    waiting.delete(next);
    next();
  }

  return { acquire, release };
}
