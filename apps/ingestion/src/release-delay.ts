/**
 * Between deliver, which says what every sink has, and the journal, which then condenses it to ids. What is condensed can
 * no longer be confirmed to other instances after a crash (recent-keys.ts), so a release waits until its confirms have
 * had time to leave, and while the journal is being read for the ids that a former process may not have confirmed.
 */
export interface ReleaseDelay {
  /** Everything up to and including `seq` may go, as deliver says again every second. */
  release(seq: number): void;
}

export interface ReleaseDelayOptions {
  /** Milliseconds that a release waits at least. */
  readonly waitMs: number;
  /** While this is so, nothing is released. */
  readonly isHeld: () => boolean;
  readonly monotonicMs: () => number;
  readonly onRelease: (seq: number) => void;
}

export function createReleaseDelay({ waitMs, isHeld, monotonicMs, onRelease }: ReleaseDelayOptions): ReleaseDelay {
  let waiting: { readonly seq: number; readonly sinceMs: number } | undefined;

  function release(seq: number): void {
    if (isHeld()) return;
    const nowMs = monotonicMs();
    if (waiting !== undefined && nowMs - waiting.sinceMs < waitMs) return;
    if (waiting !== undefined) onRelease(waiting.seq);
    waiting = { seq, sinceMs: nowMs };
  }

  return { release };
}
