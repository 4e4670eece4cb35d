/**
 * The shapes that every part of Weir agrees on. This file imports nothing: a source, the journal and a sink meet
 * here and nowhere else.
 */

/**
 * The level of safety that a caller waits for before it gets its answer, weakest first. `journal`: on disk. `stored`: the
 * store is done with it as well. `routed`: so is every other sink that is configured; without one it is reached together with
 * `stored`. A sink is done with an event that it has, or whose type it does not take, or that it gave up as a dead letter.
 */
export const ACK_LEVELS = ['journal', 'stored', 'routed'] as const;
export type AckLevel = (typeof ACK_LEVELS)[number];
/** The levels that deliver brings an event to. */
export type DeliveredLevel = Exclude<AckLevel, 'journal'>;

/** Where a row stands: the journal's UUID and the event's sequence number in it (from 1, without gaps). */
export interface Position {
  readonly journal: string;
  readonly seq: number;
}

/** A position as replies and offsets write it: `<journal>:<seq>`. */
export function formatPosition(position: Position): string {
  return `${position.journal}:${position.seq}`;
}

/** The event is on disk (`level` says what else was reached before the time limit). */
export interface Accepted extends Position {
  readonly kind: 'accepted';
  readonly level: AckLevel;
  /** Present when the dedupe window that instances share could not be asked: only what is known here was. */
  readonly deduplication?: 'local';
}

/**
 * The first copy of this event is durable. Carries that copy's position only when it was still in flight
 * when this one arrived.
 */
export interface Duplicate {
  readonly kind: 'duplicate';
  readonly level: AckLevel;
  readonly position?: Position;
  /** Present when that copy is not in our own journal. */
  readonly elsewhere?: CopyElsewhere;
}

/** Where a durable copy of an event is: in the journal of this tag (see `journalTag`), not beyond this sequence number. */
export interface CopyElsewhere {
  readonly journalTag: string;
  readonly throughSeq: number;
}

/** The event can never be accepted as it is: `code` is stable, `field` a path with dots and brackets. */
export interface Rejected {
  readonly kind: 'rejected';
  readonly code: string;
  readonly field: string;
  readonly message: string;
}

/** The event may be fine but cannot be taken now; the caller sends it again after `afterMs` milliseconds. */
export interface Retry {
  readonly kind: 'retry';
  /** `journal_full`, `overloaded`, `shutting_down`, `journal_failed`, `claimed_elsewhere`: stable, snake_case. */
  readonly code: string;
  readonly message: string;
  readonly afterMs: number;
}

/** What became of one record. A closed union: bad data is never an exception. */
export type Outcome = Accepted | Duplicate | Rejected | Retry;

/** What a source knows about where a batch came from. */
export interface Origin {
  readonly requestId?: string;
  readonly ipAddress?: string;
  readonly userAgent?: string;
  readonly referrer?: string;
}

export interface AcceptOptions {
  /** Which level the outcome waits for. */
  readonly ack: AckLevel;
  /** All or nothing: one frame for the whole batch, or nothing stored when any record is rejected (`failOnError`). */
  readonly atomic?: boolean;
  readonly origin?: Origin;
  /** One for each record, where they come from several places; goes before `origin`. */
  readonly origins?: readonly Origin[];
  /** Aborting stops waiting for a level beyond `journal`; it never takes back what was appended. */
  readonly signal?: AbortSignal;
}

/**
 * Takes parsed, unvalidated records and resolves to exactly one outcome per record, in order. Never rejects for bad
 * data, a full journal or a sink that is down.
 */
export type Accept = (records: readonly unknown[], options: AcceptOptions) => Promise<Outcome[]>;

/** Where records come from: an HTTP server, a socket, a feed. */
export interface Source {
  readonly name: string;
  /** Begins to listen or to read; resolves once it can take input. */
  start(accept: Accept): Promise<void>;
  /** No new input; resolves once every accept that is under way has settled and been answered. */
  stop(): Promise<void>;
}

/** A contiguous range of rows, cut once and sent again byte for byte until it is done. */
export interface Block {
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The rows as JSONEachRow bytes (one JSON object and `\n` each), in order of seq; chunks are whole rows. */
  readonly chunks: readonly Uint8Array[];
  readonly byteLength: number;
  /** Names exactly these bytes: journal id, range, hash. The same token always means the same bytes. */
  readonly token: string;
}

/** A row that a sink refuses. */
export interface RowFailure {
  readonly seq: number;
  readonly code: string;
  readonly message: string;
  /** True: sending it again can never help. */
  readonly permanent: boolean;
  /** Given up for its age, after an outage: this says nothing of how the sink is set up. Only with `permanent`. */
  readonly isExpired?: true;
}

export interface WriteContext {
  readonly signal: AbortSignal;
  /**
   * True when an earlier attempt at this very block may have been stored in whole or in part (a crash, a lost
   * connection, a timeout): the sink must find out before it writes what could then stand there twice.
   */
  readonly ambiguous: boolean;
  /**
   * The sequence numbers of the block that are still to be stored; undefined: every row. Rows that an earlier attempt
   * is known to have stored, or that are dead letters by now, are not among them. Never empty.
   */
  readonly only?: ReadonlySet<number>;
}

export interface SinkHealth {
  readonly state: 'healthy' | 'degraded' | 'unhealthy';
  /** Milliseconds that the last successful call took. */
  readonly latencyMs?: number;
  readonly lastError?: string;
}

/**
 * Where blocks go. The runner, not the sink, adds retry, backoff, bisection, dead letters and metrics. What became of
 * single rows a sink returns; what became of the whole block it throws, by the error's code: `Retryable`, `Overloaded`,
 * `Permanent` of scope `rows` (nothing was stored, and some row is at fault) or `sink`. What else it throws counts as
 * ambiguous and is tried again. Several blocks, of several journals and replays, may be on their way at once.
 */
export interface Sink {
  /** Stable: cursors and dead letters are kept under it. */
  readonly name: string;
  /** The event types it takes; undefined: all. Rows of other types are skipped and count as done. */
  readonly eventTypes?: ReadonlySet<string>;
  /** Called before the first write and again after a connection was lost; may be called more than once. */
  connect(signal: AbortSignal): Promise<void>;
  /**
   * Stores the block's rows (those of `only`). Resolves with the rows that were not stored (none: all are, durably):
   * those that are permanent become dead letters, the others are written again.
   */
  write(block: Block, context: WriteContext): Promise<readonly RowFailure[]>;
  close(signal: AbortSignal): Promise<void>;
  health(): SinkHealth;
}
