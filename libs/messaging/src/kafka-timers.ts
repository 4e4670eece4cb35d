/**
 * kafkajs 2.2.4 sets a timer with a negative delay after every answer, although nothing is pending, and the runtime warns of
 * it on stderr (TimeoutNegativeWarning). Its request queue is told to set the timer only when something waits for it,
 * which is all that the timer is for: https://github.com/tulios/kafkajs/blob/v2.2.4/src/network/requestQueue/index.js
 */
import { createRequire } from 'node:module';

interface RequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

const MARK = Symbol.for('weir.kafkajs.timers');

/** Changes the library's class once per process, however often it is called. */
export function silenceNegativeTimers(): void {
  const load = createRequire(import.meta.url);
  const { prototype } = load('kafkajs/src/network/requestQueue') as { prototype: RequestQueue & { [MARK]?: true } };
  if (prototype[MARK]) return;
  prototype[MARK] = true;
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function scheduleIfPending(this: RequestQueue): void {
    if (this.pending.length > 0) schedule.call(this);
  };
}
