/** What the bench and the processes that hold its many WebSockets tell each other. */

export interface ManyJob {
  readonly host: string;
  readonly port: number;
  /** Among the processes of clients: each has source addresses of its own. */
  readonly number: number;
  readonly sockets: number;
  readonly seed: number;
}

export type Pace = 'events' | 'heartbeats';

export type ManyOrder =
  /** So many of them are to be open, from the first on. */
  | { readonly type: 'open'; readonly sockets: number }
  /** Each sends one such message every `everyMs`; all of them spread evenly over that time. */
  | { readonly type: 'pace'; readonly pace: Pace; readonly everyMs: number }
  /** Asks for `ManyReport`; counting begins anew. */
  | { readonly type: 'report' };

export type ManyMessage = ManyState | { readonly type: 'report'; readonly report: ManyReport };

/** Told whenever it has changed. */
export interface ManyState {
  readonly type: 'state';
  readonly open: number;
  /** Events that have no answer yet. */
  readonly unanswered: number;
}

export interface ManyReport {
  /** Answers to events, by connection. */
  readonly acks: readonly number[];
  /** From sending an event to its answer. */
  readonly latenciesMs: readonly number[];
  /** Turns in which a connection's last event still had no answer. */
  readonly skipped: number;
  /** What was no ack, by code. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly attempts: Attempts;
}

export interface Attempts {
  /** Handshakes that succeeded. */
  opened: number;
  /** Nobody listened, or the connection was reset before the handshake was answered. */
  refused: number;
  /** The handshake was answered with another status than 101. */
  rejected: number;
  timedOut: number;
  /** Open connections that ended, and of these: with a time at which to come back. */
  ended: number;
  invited: number;
}

export const NO_ATTEMPTS: Attempts = { opened: 0, refused: 0, rejected: 0, timedOut: 0, ended: 0, invited: 0 };

export const STATE_INTERVAL_MS = 100;
