/**
 * What an operator can ask of deliver, which owns the dead letters, the cursors and the store. Accept checks a request of
 * the outside and passes it on as one of these over the local socket: POST `OPERATORS_PATH`, JSON both ways.
 */
import type { DeadLetterFilter, DeadLetter as KeptLetter } from '@libs/delivery';

export const OPERATORS_PATH = '/operators';

export type { DeadLetterFilter };

export const DEAD_LETTER_STATES = ['waiting', 'replaying'] as const;
export type DeadLetterState = (typeof DEAD_LETTER_STATES)[number];

/** By number or by filter; an empty filter means every one. */
export type DeadLetterSelection = { readonly ids: readonly number[] } | { readonly filter: DeadLetterFilter };

/** A row that a sink refused, or a range of rows that it was too slow for, as deliver keeps it. */
export interface DeadLetter extends Omit<KeptLetter, 'chargedBytes'> {
  readonly state: DeadLetterState;
  /** Of its row; 0 for a range. */
  readonly byteLength: number;
  /** The row as JSON text; a range has none, nor has a letter in a list that grew too long. */
  readonly event?: string;
}

export interface DeadLetterPage {
  readonly deadLetters: readonly DeadLetter[];
  /** Where the next page begins (`afterId`); undefined at the end. */
  readonly nextAfterId?: number;
}

export interface ReplayResult {
  readonly id: number;
  readonly outcome: 'replayed' | 'failed' | 'in_progress' | 'not_found';
  /** How many the sink has taken. */
  readonly rows?: number;
  readonly code?: string;
  readonly message?: string;
}

export interface ReconcileCounts {
  /** What this sink is to have: less than all, when it was added within the interval. */
  readonly acknowledged: number;
  /** Each event once. */
  readonly stored: number;
  readonly deadLettered: number;
  /** Dead letters that an operator has deleted. */
  readonly deleted: number;
  /** Behind the sink's cursor. */
  readonly pending: number;
  /** Copies beyond the first. */
  readonly duplicates: number;
}

export interface ReconcileRow {
  readonly eventType: string;
  readonly acknowledged: number;
  readonly sinks: Readonly<Record<string, ReconcileCounts>>;
}

export interface ReconcileReport {
  /** The minutes that were counted: at least those that were asked for. Milliseconds since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly rows: readonly ReconcileRow[];
  /** Where `stored` comes from, by sink, as a sentence. */
  readonly sources: Readonly<Record<string, string>>;
  /** Why some figure is not the whole truth, as sentences. */
  readonly caveats: readonly string[];
}

export interface OperatorSink {
  readonly name: string;
  /** No longer in the configuration: its cursor keeps the journal from being released until it is dropped. */
  readonly removed: boolean;
  readonly state?: 'healthy' | 'degraded' | 'unhealthy';
  readonly stopped?: string;
  readonly lastError?: string;
  readonly required?: boolean;
  readonly pendingEvents?: number;
  readonly pendingBytes?: number;
  readonly oldestPendingAgeMs?: number;
  readonly deadLetters?: number;
}

export interface DropResult {
  readonly outcome: 'dropped' | 'configured' | 'unknown';
  /** Events that it had not had. */
  readonly pendingEvents?: number;
}

/** A sequence number by journal: all up to it has been read. */
export type Positions = Readonly<Record<string, number>>;

export interface TopicRow {
  readonly journal: string;
  readonly seq: number;
  /** The stored row as a JSON object, without line feed. */
  readonly json: string;
}

export interface TopicPage {
  readonly rows: readonly TopicRow[];
  /** All up to here has been looked at, also where there are no rows. */
  readonly positions: Positions;
  /** There is nothing more for now. */
  readonly isEnd: boolean;
}

/** Each request with what is answered. */
export interface OperatorCalls {
  readonly deadLetters: {
    readonly request: {
      readonly filter: DeadLetterFilter & { readonly state?: DeadLetterState };
      readonly afterId: number;
      readonly limit: number;
    };
    readonly result: DeadLetterPage;
  };
  readonly deadLetter: { readonly request: { readonly id: number }; readonly result: DeadLetter | null };
  readonly replay: {
    readonly request: { readonly selection: DeadLetterSelection; readonly limit: number };
    readonly result: readonly ReplayResult[];
  };
  readonly deleteDeadLetters: {
    readonly request: { readonly selection: DeadLetterSelection };
    readonly result: { readonly deleted: number };
  };
  readonly reconcile: {
    readonly request: { readonly fromMs: number; readonly toMs: number; readonly deep: boolean };
    readonly result: ReconcileReport;
  };
  readonly sinks: { readonly request: Record<string, never>; readonly result: readonly OperatorSink[] };
  readonly dropSink: { readonly request: { readonly name: string }; readonly result: DropResult };
  /** How far the store has come. */
  readonly positions: { readonly request: Record<string, never>; readonly result: Positions };
  readonly rows: {
    readonly request: { readonly eventTypes: readonly string[]; readonly after: Positions; readonly limit: number };
    readonly result: TopicPage;
  };
}

export type OperatorKind = keyof OperatorCalls;

export type OperatorRequest = {
  [Kind in OperatorKind]: { readonly kind: Kind } & OperatorCalls[Kind]['request'];
}[OperatorKind];
