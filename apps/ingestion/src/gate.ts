/** The door in front of accept: closed at the first sign of a shutdown, and it knows who is still inside. */
import type { Accept, Outcome } from '@libs/pipeline';

export interface Gate {
  readonly accept: Accept;
  isClosed(): boolean;
  /** Every further record is answered `retry`; resolves once what is under way has its outcomes. */
  close(): Promise<void>;
}

const SHUTTING_DOWN: Outcome = {
  kind: 'retry',
  code: 'shutting_down',
  message: 'the service is shutting down',
  afterMs: 1_000,
};

export function createGate(accept: Accept): Gate {
  let inside = 0;
  let closed = false;
  const empty = Promise.withResolvers<void>();

  function leave(): void {
    inside -= 1;
    if (closed && inside === 0) empty.resolve();
  }

  return {
    accept(records, options) {
      if (closed) return Promise.resolve(records.map(() => SHUTTING_DOWN));
      inside += 1;
      const outcomes = accept(records, options);
      // Beside the caller's own wait, not in front of it: every event would pay for one more promise.
      outcomes.then(leave, leave);
      return outcomes;
    },
    isClosed: () => closed,
    close() {
      closed = true;
      if (inside === 0) empty.resolve();
      return empty.promise;
    },
  };
}
