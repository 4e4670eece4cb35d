export type { CounterLimits, CountRow, CountsRange } from './counters.ts';
export { checkCursors } from './cursors.ts';
export { createDelivery, type Delivery, type DeliveryOptions } from './delivery.ts';
export type { DeliveryClock, DeliveryLimits } from './limits.ts';
export { type DeliverState, type SinkState, STORE_SINK, type ToAccept, type ToDeliver } from './messages.ts';
export type { DeliveryLogger } from './sink-runner.ts';
export { openState, type State } from './state.ts';
export { StateError } from './state-database.ts';
