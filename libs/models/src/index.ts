export { BATCH_EVENTS_MAX, type BatchRequest, type ParsedBatch, parseBatchRequest } from './batch.ts';
export { type CartEvent, EXAMPLE_EVENT } from './cart-event.ts';
export {
  type CartEventFrame,
  type ClientFrame,
  type ControlFrame,
  createFrameParser,
  type FrameProblem,
  type ParsedFrame,
} from './client-frame.ts';
export { type Problem, VERDICT_CODES, type VerdictCode } from './codes.ts';
export {
  type Checked,
  createEventModel,
  type EventModel,
  type EventModelOptions,
  type InvalidEvent,
  type ValidEvent,
} from './event-model.ts';
export { type EventTypes, eventTypesSchema, InvalidEventTypes } from './event-types.ts';
export { type ServerFrame, serverFrameSchema } from './frames.ts';
export { type ParsedJson, parseJson, parseJsonText } from './json-text.ts';
export { DEFAULT_EVENT_LIMITS, type EventLimits } from './limits.ts';
export { OPENAPI_SCHEMA_NAMES, type OpenApiSchemaName, openApiSchemas, schemaRef } from './openapi.ts';
export type { EventOrigin } from './origin.ts';
export type { BatchReply, ErrorBody, EventReply, Health, Metrics } from './replies.ts';
export { readStoredRows, type StoredRow } from './stored-rows.ts';
export { EVENT_NAMESPACE, uuidv5 } from './uuid.ts';
