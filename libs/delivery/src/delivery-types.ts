/** What delivery is given, and what it offers. */
import type { JournalReader } from '@libs/journal';
import type { DeadLetterDesk } from './dead-letter-desk.ts';
import type { DEFAULT_DEAD_LETTER_LIMITS, DeliveryClock, DeliveryLimits } from './limits.ts';
import type { SinkState } from './messages.ts';
import type { ReconcileRange, Reconciliation } from './reconcile.ts';
import type { ReadRows } from './replay.ts';
import type { SinkEntry } from './sink-entry.ts';
import type { DeliveryLogger } from './sink-runner.ts';
import type { Cursor, State } from './state.ts';

export interface DeliveryOptions {
  readonly state: State;
  readonly sinks: readonly SinkEntry[];
  readonly limits: Omit<DeliveryLimits, keyof typeof DEFAULT_DEAD_LETTER_LIMITS> & Partial<DeliveryLimits>;
  readonly logger: DeliveryLogger;
  readonly clock?: DeliveryClock;
  /** Wall clock in ms when the service started, before accept did. Default: now. */
  readonly startedAtMs?: number;
  /** Reads parked rows from the store. Without it, ranges cannot be replayed. */
  readonly readRows?: ReadRows;
  /** The sink is done with everything up to and including `seq`. */
  readonly onProgress: (journal: string, sink: string, seq: number) => void;
  /** Every sink that has a cursor in this journal is. */
  readonly onRelease: (journal: string, seq: number) => void;
  /** A bug, or a state database that fails: nothing is delivered any more, and the process must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface RemovedSink {
  readonly sink: string;
  readonly journals: readonly { readonly journal: string; readonly seq: number; readonly pendingEvents: number }[];
}

export interface Delivery {
  /**
   * Starts delivering a journal; one that is not known yet starts at its first frame. Returns why it must not be
   * delivered (see `checkCursors`), and then has not touched it. The reader stays the caller's to close.
   * `open` opens further readers of the same journal, which delivery closes: with it, each sink has one of its own, and
   * sinks that stand at different places do not send one reader to and fro (some 20 ms each time).
   */
  add(reader: JournalReader, open?: () => JournalReader): readonly string[];
  /**
   * For a journal whose folder is gone (drained, then removed by accept): ends its workers and forgets its cursors.
   * Resolves once the reader is no longer used.
   */
  remove(journal: string): Promise<void>;
  /** Everything up to and including `durableSeq` is durable. A journal that was not added is none of our business. */
  nudge(journal: string, durableSeq: number): void;
  /** Cut the next block of this journal as soon as it has a row. */
  flush(journal: string): void;
  /** All cursors. */
  progress(): readonly Cursor[];
  /** What every sink has, for each journal. */
  releases(): readonly { readonly journal: string; readonly seq: number }[];
  sinkStates(): readonly SinkState[];
  readonly deadLetters: DeadLetterDesk;
  /** Sinks that are no longer configured and hold the journals back, or have nothing left but dead letters. */
  removedSinks(): readonly RemovedSink[];
  /** Forgets such a sink but for its dead letters; false when it is configured, or not known. */
  dropSink(name: string): boolean;
  /**
   * See `reconcile`. Releases nothing while it counts, so one waits for the other; throws `Overloaded` (`reconcile_busy`)
   * when too many wait.
   */
  reconcile(range: ReconcileRange, signal: AbortSignal): Promise<Reconciliation>;
  /**
   * Sends what is durable now without waiting for more, and resolves when that is done, or as soon as a sink does not
   * take it, or when `signal` aborts. What is left stays in the journal, a block on its way stays cut. From then on
   * neither the state nor a reader is used. The sinks are the caller's to close.
   */
  stop(signal: AbortSignal): Promise<void>;
}
