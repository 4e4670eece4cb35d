/**
 * What accept and deliver tell each other over the link (one JSON object a line). Nothing here carries an event:
 * events travel through the journal's files only. Losing any message is harmless, since each is repeated.
 */

/** accept → deliver. `durable` is repeated every second and whenever deliver connects. */
export type ToDeliver =
  | { readonly t: 'durable'; readonly journal: string; readonly seq: number }
  /** Somebody waits for `stored`: cut the next block now instead of when the flush interval has passed. */
  | { readonly t: 'flush'; readonly journal: string };

/** deliver → accept. */
export type ToAccept =
  /** The sink has everything of this journal up to and including `seq`. Repeated every second. */
  | { readonly t: 'progress'; readonly journal: string; readonly sink: string; readonly seq: number }
  /** Every sink is done with everything up to and including `seq`. Repeated every second. */
  | { readonly t: 'release'; readonly journal: string; readonly seq: number }
  /** Every second. */
  | DeliverState;

export interface DeliverState {
  readonly t: 'state';
  readonly sinks: readonly SinkState[];
  readonly rssBytes: number;
  /** User and system CPU time of the deliver process since it started, in seconds. */
  readonly cpuSeconds: number;
}

export interface SinkState {
  readonly name: string;
  readonly state: 'healthy' | 'degraded' | 'unhealthy';
  /** A sink that stopped for good (a row it refuses, a cursor that does not fit) says why; an operator must act. */
  readonly stopped?: string;
  /** Stable, with `stopped`. */
  readonly stoppedCode?: string;
  readonly latencyMs?: number;
  readonly lastError?: string;
  /** Rows this sink has finished since the state database was made. */
  readonly rows: number;
  readonly blocks: number;
  readonly retries: number;
  /** False: past its own backlog limit its rows are parked instead of filling the journal. */
  readonly required: boolean;
  /** Durable events that it is not done with, over all journals, and an estimate of their bytes. */
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  /** Milliseconds since the oldest of them was journalled; absent when there is none. */
  readonly oldestPendingAgeMs?: number;
  /** Rows of it that are dead letters now. */
  readonly deadLetters: number;
}

/** The one sink that every Weir has. */
export const STORE_SINK = 'store';
