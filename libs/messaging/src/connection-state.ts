/** What a server remembers of one WebSocket connection. Apps extend it and put it into `ws.data`. */
import type { SlidingBudget } from './sliding-budget.ts';

/** A close that waits until everything in flight has been answered. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
  readonly sinceMs: number;
}

/**
 * A handful of numbers and no timer, closure or collection: tens of thousands of connections are idle most of the time,
 * and what they need only when something happens is made when it happens. Only the hub writes these fields.
 */
export class ConnectionState {
  /** The hub's coarse clock when the client was last heard. */
  lastSeenMs = 0;
  /** Items taken and not yet answered, and their bytes. */
  pendingItems = 0;
  pendingBytes = 0;
  /** Bytes that wait for the client to read, as last looked at. */
  outboundBytes = 0;
  badFrames: SlidingBudget | undefined = undefined;
  ending: Ending | undefined = undefined;
}
