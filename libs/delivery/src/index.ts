export type { CountedRange, CounterLimits, CountRow, CountsRange } from './counters.ts';
export { checkCursors } from './cursors.ts';
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterTotals,
  RangeContent,
  RangeMinute,
} from './dead-letter.ts';
export type { DeadLetterDesk, FoundLetter, LetterSelection, ListedLetter } from './dead-letter-desk.ts';
export { createDelivery } from './delivery.ts';
export type { Delivery, DeliveryOptions, RemovedSink } from './delivery-types.ts';
export { DEFAULT_DEAD_LETTER_LIMITS, type DeliveryClock, type DeliveryLimits } from './limits.ts';
export { type DeliverState, type SinkState, STORE_SINK, type ToAccept, type ToDeliver } from './messages.ts';
export type { ReconcileRange, ReconcileRow, Reconciliation, SinkFigures } from './reconcile.ts';
export type { ReadRow, ReadRows, ReplayOutcome } from './replay.ts';
export type { SinkEntry } from './sink-entry.ts';
export type { DeliveryLogger } from './sink-runner.ts';
export { openState, type State } from './state.ts';
export { StateError } from './state-database.ts';
