/** What the parts of one delivery are given. */
import type { Sleep } from '@libs/pipeline';

export interface DeliveryLimits {
  /** A block is cut at once when so many rows wait. */
  readonly blockRowsMax: number;
  /** … or about so many bytes. A block is larger only when a single frame is. */
  readonly blockBytesMax: number;
  /** Milliseconds that a row waits for others before its block is cut. */
  readonly flushIntervalMs: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** Milliseconds after which a write's signal aborts; what became of the block is then unknown. */
  readonly writeTimeoutMs: number;
  /** Bytes of all dead letters; a sink that needs more room stops taking until there is some. */
  readonly deadLetterBytesMax: number;
  /** Milliseconds between two looks for that room. */
  readonly deadLetterRetryMs: number;
  /** A sink that refuses more rows than this for good, without taking one in between, stops. */
  readonly deadLettersInRowMax: number;
}

export const DEFAULT_DEAD_LETTER_LIMITS = {
  deadLetterBytesMax: 268_435_456,
  deadLetterRetryMs: 3_000,
  deadLettersInRowMax: 1_000,
} as const satisfies Partial<DeliveryLimits>;

export interface DeliveryClock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  readonly sleep: Sleep;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export interface DeliverySignals {
  /** Aborts when delivery is to finish what is there, without waiting for anything. */
  readonly drain: AbortSignal;
  /** Aborts when delivery is to end now. */
  readonly halt: AbortSignal;
}

/** How far behind an optional sink may be; either limit, or both. */
export interface Backlog {
  readonly eventsMax?: number;
  readonly bytesMax?: number;
}
