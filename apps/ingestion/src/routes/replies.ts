/** Words the outcome of one event as a reply, and reads from an unvalidated value what a reply repeats. */
import { HttpError, jsonReply, requestIdOf } from '@libs/elysia-server';
import { type Accepted, formatPosition, type Outcome } from '@libs/pipeline';

/** UTF-16 units of the longest eventId that is allowed (128 code points); a longer one is not repeated. */
const EVENT_ID_CHARS_MAX = 256;
/** Field paths and messages quote what was sent; a reply repeats no more of it than this. */
const QUOTE_CHARS_MAX = 500;

/** The record's eventId, or null when it has none that can be read. */
export function eventIdOf(record: unknown): string | null {
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return null;
  const id: unknown = 'eventId' in record ? record.eventId : undefined;
  // Strict JSON parsers refuse a lone surrogate, even escaped: such an id is not repeated.
  return typeof id === 'string' && id.length <= EVENT_ID_CHARS_MAX && id.isWellFormed() ? id : null;
}

/** The reply to POST /events: 202, 200, 422 or 503 with Retry-After. */
export function eventReply(request: Request, outcome: Outcome, eventId: string | null): Response {
  switch (outcome.kind) {
    case 'accepted':
      return jsonReply(
        request,
        202,
        `${opening(eventId)},"durability":"${outcome.level}",${deduplication(outcome)}"position":"${formatPosition(outcome)}"}`,
      );
    case 'duplicate': {
      const position = outcome.position === undefined ? '' : `,"position":"${formatPosition(outcome.position)}"`;
      return jsonReply(
        request,
        200,
        `${opening(eventId)},"duplicate":true,"message":"An event with this id is already stored.","durability":"${outcome.level}"${position}}`,
      );
    }
    case 'rejected':
      return jsonReply(
        request,
        422,
        JSON.stringify({
          error: outcome.code,
          eventId,
          status: 'rejected',
          timestamp: new Date().toISOString(),
          message: clip(outcome.message),
          durability: 'none',
          code: outcome.code,
          field: clip(outcome.field),
          requestId: requestIdOf(request),
        }),
      );
    case 'retry':
      return jsonReply(
        request,
        503,
        JSON.stringify({
          error: outcome.code,
          message: outcome.message,
          details: { eventId, retryAfterMs: outcome.afterMs },
          requestId: requestIdOf(request),
        }),
        { 'retry-after': retryAfterSeconds(outcome.afterMs) },
      );
  }
}

/** Retry-After in whole seconds, at least 1: a client that reads 0 would come back at once. */
export function retryAfterSeconds(afterMs: number): string {
  return String(Math.max(1, Math.ceil(afterMs / 1000)));
}

/** Shortens what quotes the caller, so that a reply stays small whatever was sent. */
export function clip(text: string): string {
  return (text.length <= QUOTE_CHARS_MAX ? text : `${text.slice(0, QUOTE_CHARS_MAX)}…`).toWellFormed();
}

/** 400 with the place, in bytes from the start of the body, where it stops being JSON. */
export function malformedBody(offset: number, message: string): HttpError {
  return new HttpError(400, 'malformed_json', message, { details: { offset } });
}

export function emptyBatch(): HttpError {
  return new HttpError(422, 'empty_batch', 'The batch holds no event; send at least one.', {
    details: { field: 'events' },
  });
}

export function tooManyEvents(maxSize: number, details: object): HttpError {
  return new HttpError(413, 'too_many_events', `This batch may hold ${maxSize} events; send the rest in another one.`, {
    details: { eventsMax: maxSize, ...details },
  });
}

/** Says so when the window that instances share was not asked. */
function deduplication(outcome: Accepted): string {
  return outcome.deduplication === undefined ? '' : `"deduplication":"${outcome.deduplication}",`;
}

function opening(eventId: string | null): string {
  return `{"eventId":${JSON.stringify(eventId)},"status":"accepted","timestamp":"${isoNow()}"`;
}

let isoForMs = -1;
let isoText = '';

/** Now as ISO 8601; worded once a millisecond, because the replies of one commit come together. */
function isoNow(): string {
  const nowMs = Date.now();
  if (nowMs !== isoForMs) {
    isoForMs = nowMs;
    isoText = new Date(nowMs).toISOString();
  }
  return isoText;
}
