/**
 * One timer for all waits. A timer per request costs more than reading a small body; a sweep over the few that are
 * still pending once a tick costs nothing while they are quick.
 */

/** A wait. The sweep keeps its own fields on it, so that adding and removing allocates nothing. */
export interface Deadline {
  /** For the sweep: the ticks that may still pass. */
  ticksLeft: number;
  /** For the sweep: how many it has lived through. */
  sweeps: number;
  /** For the sweep: where it stands in the list; -1 when it does not. */
  slot: number;
  /** The wait is over: called once, from the sweep. */
  expired(): void;
  /** Called once, when the wait has lasted a whole tick and is likely to be long. */
  slow(): void;
}

export interface Deadlines {
  /** `expired` is called between `timeoutMs` less one tick and `timeoutMs` from now; a stalled event loop comes on top. */
  add(deadline: Deadline, timeoutMs: number): void;
  /** Ends the wait; returns the milliseconds that were left of it. */
  remove(deadline: Deadline): number;
  readonly size: number;
}

/** Builds a sweep that runs every `tickMs` while anything is pending, and one tick longer. */
export function createDeadlines(tickMs: number): Deadlines {
  const pending: Deadline[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;

  function sweep(): void {
    if (pending.length === 0) {
      clearInterval(timer);
      timer = undefined;
      return;
    }
    // From the end: what is removed is replaced by the last one, which has had its turn.
    for (let at = pending.length - 1; at >= 0; at -= 1) {
      const deadline = pending[at];
      if (deadline !== undefined) pass(deadline);
    }
  }

  function pass(deadline: Deadline): void {
    deadline.ticksLeft -= 1;
    if (deadline.ticksLeft <= 0) {
      unlist(deadline);
      deadline.expired();
      return;
    }
    // The first sweep may come right after `add`: only the second one proves a whole tick.
    deadline.sweeps += 1;
    if (deadline.sweeps === 2) deadline.slow();
  }

  function unlist(deadline: Deadline): void {
    const { slot } = deadline;
    if (slot === -1) return;
    deadline.slot = -1;
    const last = pending.pop() as Deadline;
    if (last === deadline) return;
    pending[slot] = last;
    last.slot = slot;
  }

  function add(deadline: Deadline, timeoutMs: number): void {
    deadline.ticksLeft = Math.max(1, Math.floor(timeoutMs / tickMs));
    deadline.slot = pending.length;
    pending.push(deadline);
    if (timer === undefined) {
      timer = setInterval(sweep, tickMs);
      timer.unref();
    }
  }

  function remove(deadline: Deadline): number {
    unlist(deadline);
    return deadline.ticksLeft * tickMs;
  }

  return {
    add,
    remove,
    get size() {
      return pending.length;
    },
  };
}
