/** What a sink would not take for good: its shape, and how it is looked for. */

/** A row that a sink refused, as it is recorded. */
export interface RefusedRow {
  readonly sink: string;
  readonly journal: string;
  readonly seq: number;
  /** Frame time in minutes since 1970. */
  readonly minute: number;
  /** The three names are read from the row; empty when they cannot be. */
  readonly eventId: string;
  readonly eventType: string;
  readonly storeId: string;
  readonly code: string;
  readonly message: string;
  /** Sends that the row was part of. */
  readonly attempts: number;
  /** The row's JSON object as it stands in the journal, without its line feed. */
  readonly bytes: Uint8Array;
}

/** Events of one minute within a range, by type. Minutes follow one another with the sequence numbers. */
export interface RangeMinute {
  readonly minute: number;
  /** The last sequence number of this minute. */
  readonly lastSeq: number;
  readonly types: Readonly<Record<string, number>>;
}

/** What a letter of kind `range` holds instead of bytes. */
export interface RangeContent {
  readonly minutes: readonly RangeMinute[];
  /** Sequence numbers that have letters of their own. */
  readonly except: readonly number[];
}

/** A range that an optional sink was too far behind to take. */
export interface ParkedRange {
  readonly sink: string;
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly code: string;
  readonly message: string;
  readonly content: RangeContent;
}

export interface DeadLetter {
  /** Counts up and is never given twice. */
  readonly id: number;
  /** `range`: rows that were parked together; their bytes are in `raw_events`. */
  readonly kind: 'row' | 'range';
  readonly sink: string;
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
  /** Empty for a range. */
  readonly eventId: string;
  readonly eventType: string;
  readonly storeId: string;
  /** Why, as the sink said it last. */
  readonly code: string;
  readonly message: string;
  readonly attempts: number;
  /** Wall clock in ms: when it was first refused, and when last. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  /** What counts against the limit: the row, and 1,000 bytes for the reason and the names. */
  readonly chargedBytes: number;
}

/** Every condition given must hold. */
export interface DeadLetterFilter {
  readonly sink?: string;
  readonly eventType?: string;
  readonly storeId?: string;
  readonly code?: string;
  /** First refused at this wall clock time (ms) or later … */
  readonly fromMs?: number;
  /** … and before this one. */
  readonly toMs?: number;
}

export interface DeadLetterPage extends DeadLetterFilter {
  /** Only letters with a greater id. */
  readonly afterId?: number;
  readonly limit: number;
}

export interface DeadLetterTotals {
  readonly sink: string;
  readonly letters: number;
  readonly rows: number;
  readonly bytes: number;
}

/** Rows of one minute and type that are dead letters of a sink. */
export interface LetteredRows {
  readonly sink: string;
  readonly minute: number;
  readonly eventType: string;
  readonly rows: number;
}

const OVERHEAD_BYTES = 1_000;

/** A flat sum for the rest, so that a new reason never changes it. */
export function chargeOf(contentBytes: number): number {
  return contentBytes + OVERHEAD_BYTES;
}

/** Longer ones are cut off. */
export const CODE_LENGTH_MAX = 100;
export const MESSAGE_LENGTH_MAX = 500;

/** The rows of a range by type. */
export function sumByType(minutes: readonly RangeMinute[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { types } of minutes)
    for (const [type, rows] of Object.entries(types)) sums.set(type, (sums.get(type) ?? 0) + rows);
  return sums;
}
