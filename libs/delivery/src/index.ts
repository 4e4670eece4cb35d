export { type DeliverState, type SinkState, STORE_SINK, type ToAccept, type ToDeliver } from './messages.ts';
