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
}

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
