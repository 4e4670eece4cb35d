/** From an untrusted JSON value to the row that is stored: every rule about an event, in order. */
import { BUILT_IN_EVENT_TYPES, type CartEvent, cartEventSchema, ID_CHARS_MAX } from './cart-event.ts';
import type { Problem, VerdictCode } from './codes.ts';
import { createShapeCheck } from './event-check.ts';
import { compileEventTypes, type EventTypes } from './event-types.ts';
import { createInspector, type Inspector } from './inspect.ts';
import type { EventLimits } from './limits.ts';
import { createOriginFiller, type EventOrigin } from './origin.ts';
import { SUSPECT_JSON, sanitiseObject } from './sanitise.ts';
import { TIMESTAMP_END_MS, TIMESTAMP_MIN_MS, timestampMs } from './timestamp.ts';

export interface EventModelOptions {
  /** Event types beside the built-in ones. */
  readonly eventTypes?: EventTypes | undefined;
  readonly limits: EventLimits;
}

/** An event that may be stored. */
export interface ValidEvent {
  readonly ok: true;
  /**
   * The row as JSON text without its closing brace, for the journal to append receivedAt, journal and seq. Keys stand in
   * this order: storeId, eventType, eventId, timestamp, userId?, sessionId, data, metadata, sanitized? (only `true`).
   * At most `eventBytesMax` bytes in UTF-8.
   */
  readonly row: string;
  /** What deduplication goes by: storeId, NUL, eventId (neither can hold a NUL). */
  readonly key: string;
  readonly eventId: string;
  readonly storeId: string;
  readonly sessionId: string;
  readonly eventType: string;
  /** True when strings of data or metadata were changed. */
  readonly sanitized: boolean;
}

export interface InvalidEvent {
  readonly ok: false;
  readonly code: VerdictCode;
  /** A path such as `data.items[3].price`; '' for the event itself. */
  readonly field: string;
  readonly message: string;
  /** As sent, when it is well-formed text and not too long (it may still be the very thing that is wrong). */
  readonly eventId: string | null;
}

export type Checked = ValidEvent | InvalidEvent;

export interface EventModel {
  /** Built-in types first, then the registered ones. */
  readonly types: readonly string[];
  /** Takes a value as JSON.parse makes it; never throws, never changes the value. About 0.9 µs for 330 bytes. */
  check(value: unknown, origin: EventOrigin): Checked;
  /** The event as a JSON Schema that OpenAPI 3.0 understands. */
  readonly jsonSchema: Readonly<Record<string, unknown>>;
}

const NO_METADATA = {};
/** A code point is at most two UTF-16 units. */
const ID_UNITS_MAX = ID_CHARS_MAX * 2;

/** Builds the model. Throws `InvalidEventTypes` (every problem at once) when the registered types cannot be used. */
export function createEventModel(options: EventModelOptions): EventModel {
  const { limits, eventTypes = {} } = options;
  const dataChecks = compileEventTypes(eventTypes);
  const types = [...BUILT_IN_EVENT_TYPES, ...Object.keys(eventTypes)];
  const shape = createShapeCheck(cartEventSchema(types, describeTypes(eventTypes)));
  const inspect = createInspector(limits);
  const fillFrom = createOriginFiller();

  function check(value: unknown, origin: EventOrigin): Checked {
    if (!shape.accepts(value)) {
      const problem = shape.explain(value);
      if (problem !== undefined) return reject(value, problem);
    }
    const event = value as CartEvent;
    const problem = checkTime(event.timestamp, origin.receivedAtMs, limits);
    if (problem !== undefined) return reject(event, problem);

    const verdict = inspectEvent(event, inspect);
    if (typeof verdict === 'object') return reject(event, verdict);
    const text = writeEvent(event, event.data, event.metadata ?? NO_METADATA);
    if (verdict === 'clean' && !SUSPECT_JSON.test(text)) return finish(event, event, text, origin);
    return checkSanitised(event, text, origin);
  }

  function checkSanitised(event: CartEvent, text: string, origin: EventOrigin): Checked {
    const data = sanitiseObject(event.data, 'data');
    if ('problem' in data) return reject(event, data.problem);
    const metadata = sanitiseObject(event.metadata ?? NO_METADATA, 'metadata');
    if ('problem' in metadata) return reject(event, metadata.problem);
    if (data.value === event.data && metadata.value === (event.metadata ?? NO_METADATA)) {
      return finish(event, event, text, origin);
    }
    const clean = { ...event, data: data.value, metadata: metadata.value } as CartEvent;
    // Sanitising can lengthen a userAgent: limits hold for what is stored.
    const problem = shape.accepts(clean) ? undefined : shape.explain(clean);
    if (problem !== undefined) return reject(event, problem);
    return finish(event, clean, writeEvent(clean, clean.data, clean.metadata ?? NO_METADATA), origin);
  }

  /** The registered schema, the size, and what the server adds; `text` is `stored` as JSON, metadata last. */
  function finish(sent: CartEvent, stored: CartEvent, text: string, origin: EventOrigin): Checked {
    const problem = dataChecks.size === 0 ? undefined : dataChecks.get(stored.eventType)?.(stored.data);
    if (problem !== undefined) return reject(sent, problem);
    const sanitized = sent !== stored;
    const row = completeRow(text, fillFrom(origin, stored.metadata ?? NO_METADATA), sanitized, limits.eventBytesMax);
    if (row === undefined) return reject(sent, tooLarge(limits));
    const { eventId, storeId, sessionId, eventType } = stored;
    return { ok: true, row, key: `${storeId}\0${eventId}`, eventId, storeId, sessionId, eventType, sanitized };
  }

  return { types, check, jsonSchema: shape.jsonSchema };
}

function describeTypes(eventTypes: EventTypes): string {
  const registered = Object.entries(eventTypes).map(([name, { description }]) =>
    description === undefined ? name : `${name} (${description})`,
  );
  const built = 'What happened.';
  return registered.length === 0 ? built : `${built} Registered here: ${registered.join('; ')}.`;
}

function reject(value: unknown, problem: Problem): InvalidEvent {
  return { ok: false, code: problem.code, field: problem.field, message: problem.message, eventId: readEventId(value) };
}

function readEventId(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const { eventId } = value as { eventId?: unknown };
  // Strict JSON parsers refuse a lone surrogate even when it is escaped.
  return typeof eventId === 'string' && eventId.length <= ID_UNITS_MAX && eventId.isWellFormed() ? eventId : null;
}

function checkTime(timestamp: string, nowMs: number, limits: EventLimits): Problem | undefined {
  const ms = timestampMs(timestamp);
  if (ms < TIMESTAMP_MIN_MS || ms >= TIMESTAMP_END_MS) {
    return timeProblem('timestamp_out_of_range', 'timestamp must lie in the years 1970 to 2199 (UTC).');
  }
  if (ms > nowMs + limits.timestampFutureMaxMs) {
    const ahead = `timestamp is ${ms - nowMs} ms ahead of the server clock; at most ${limits.timestampFutureMaxMs} ms are allowed.`;
    return timeProblem('timestamp_in_future', ahead);
  }
  const { timestampAgeMaxMs } = limits;
  if (timestampAgeMaxMs !== undefined && ms < nowMs - timestampAgeMaxMs) {
    return timeProblem(
      'timestamp_too_old',
      `timestamp is ${nowMs - ms} ms old; at most ${timestampAgeMaxMs} ms are allowed.`,
    );
  }
  return undefined;
}

function timeProblem(code: VerdictCode, message: string): Problem {
  return { code, field: 'timestamp', message };
}

function tooLarge(limits: EventLimits): Problem {
  return { code: 'event_too_large', field: '', message: `An event may take at most ${limits.eventBytesMax} bytes.` };
}

function inspectEvent(event: CartEvent, inspect: Inspector): ReturnType<Inspector> {
  const data = inspect(event.data, 'data');
  if (typeof data === 'object' || event.metadata === undefined) return data;
  const metadata = inspect(event.metadata, 'metadata');
  return metadata === 'clean' ? data : metadata;
}

/** The event as JSON text with its keys in the order of the row, metadata last. */
function writeEvent(event: CartEvent, data: object, metadata: object): string {
  const { storeId, eventType, eventId, timestamp, userId, sessionId } = event;
  return userId === undefined
    ? JSON.stringify({ storeId, eventType, eventId, timestamp, sessionId, data, metadata })
    : JSON.stringify({ storeId, eventType, eventId, timestamp, userId, sessionId, data, metadata });
}

const SANITIZED = ',"sanitized":true';
/** A UTF-16 unit takes at most three bytes in UTF-8. */
const BYTES_PER_UNIT_MAX = 3;

/**
 * Adds the members that the server knows to the metadata at the end of `text`, and the sanitised mark. What the server
 * adds is left out rather than let it push an event over the limit. Undefined: the event itself is over it.
 */
function completeRow(text: string, members: string, sanitized: boolean, bytesMax: number): string | undefined {
  const mark = sanitized ? SANITIZED : '';
  const bare = text.slice(0, -1) + mark;
  if (members === '') return fits(bare, bytesMax) ? bare : undefined;
  // `…{}}` is empty metadata: a string or another value cannot end so, because its own quote or brace comes first.
  const separator = text.charCodeAt(text.length - 3) === 0x7b /* { */ ? '' : ',';
  const row = `${text.slice(0, -2)}${separator}${members}}${mark}`;
  if (fits(row, bytesMax)) return row;
  return fits(bare, bytesMax) ? bare : undefined;
}

function fits(text: string, bytesMax: number): boolean {
  return (
    text.length * BYTES_PER_UNIT_MAX <= bytesMax || (text.length <= bytesMax && Buffer.byteLength(text) <= bytesMax)
  );
}
