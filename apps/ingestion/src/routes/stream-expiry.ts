/** Ends a WebSocket when the token that it was opened with expires. */
import type { StreamSocket } from './stream-connection.ts';

export interface Expiry {
  /** From the open handler. Does nothing for a socket without token. */
  watch(ws: StreamSocket): void;
  forget(ws: StreamSocket): void;
}

export interface ExpiryOptions {
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly expired: (ws: StreamSocket) => void;
  /** Milliseconds by which an end may be late (1,000). */
  readonly sweepMs?: number;
}

const SWEEP_MS = 1_000;

/** One timer for all sockets, and none without a token: each sweep looks only at what expires in its time. */
export function createExpiry({ wallMs, expired, sweepMs = SWEEP_MS }: ExpiryOptions): Expiry {
  const bySweep = new Map<number, Set<StreamSocket>>();
  let timer: ReturnType<typeof setInterval> | undefined;

  const sweepOf = (ws: StreamSocket): number | undefined => {
    const { principal } = ws.data;
    return principal === undefined ? undefined : Math.ceil(principal.expiresAtMs / sweepMs);
  };

  function watch(ws: StreamSocket): void {
    const number = sweepOf(ws);
    if (number === undefined) return;
    const due = bySweep.get(number);
    if (due === undefined) bySweep.set(number, new Set([ws]));
    else due.add(ws);
    timer ??= setInterval(sweep, sweepMs);
  }

  /** Goes through the numbers, of which there are as many as tokens at most, and never through all sockets. */
  function sweep(): void {
    const now = Math.floor(wallMs() / sweepMs);
    for (const [number, due] of bySweep) {
      if (number > now) continue;
      bySweep.delete(number);
      for (const ws of due) expired(ws);
    }
    stopWhenEmpty();
  }

  function forget(ws: StreamSocket): void {
    const number = sweepOf(ws);
    const due = number === undefined ? undefined : bySweep.get(number);
    if (number === undefined || due === undefined) return;
    due.delete(ws);
    if (due.size === 0) bySweep.delete(number);
    stopWhenEmpty();
  }

  function stopWhenEmpty(): void {
    if (bySweep.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return { watch, forget };
}
