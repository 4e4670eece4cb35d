/** POST /events: one event. */
import type { Principal } from '@libs/auth';
import { readBody, requestIdOf, requireContentType } from '@libs/elysia-server';
import { parseJson } from '@libs/models';
import type { Rejected } from '@libs/pipeline';
import type { Elysia } from 'elysia';
import { BODY_SLACK_BYTES, type RouteDeps } from './deps.ts';
import { acceptFor, guarded } from './guard.ts';
import { EVENT_DETAIL } from './openapi-events.ts';
import { originOf } from './origin.ts';
import { readAck } from './parameters.ts';
import { eventIdOf, eventReply, malformedBody } from './replies.ts';
import { allowWait, waitFor } from './wait.ts';

/** `text/plain` is what `navigator.sendBeacon` sends without a preflight. */
const JSON_TYPES: readonly string[] = ['application/json', 'text/plain'];

const ARRAY_REJECTED: Rejected = {
  kind: 'rejected',
  code: 'invalid_type',
  field: '',
  message: 'The body is an array, but POST /events takes one event object. Send several events to POST /events/batch.',
};

export function eventsRoutes(app: Elysia, deps: RouteDeps): void {
  const handle = createEventHandler(deps);
  app.post('/events', guarded(deps.protect, 'write', handle), { parse: 'none', detail: EVENT_DETAIL });
}

function createEventHandler(deps: RouteDeps): (request: Request, principal?: Principal) => Promise<Response> {
  const { ingestion, limits, counters } = deps;
  const body = { bytesMax: limits.eventBytesMax + BODY_SLACK_BYTES, timeoutMs: limits.requestTimeoutMs };

  return async (request, principal) => {
    const ack = readAck(request.url);
    requireContentType(request, JSON_TYPES);
    const bytes = await readBody(request, body);
    const startedMs = performance.now();
    const requestId = requestIdOf(request);
    const parsed = parseJson(bytes);
    if (!parsed.ok) {
      counters.count([malformed(parsed.offset, parsed.message)], startedMs);
      throw malformedBody(parsed.offset, parsed.message);
    }
    const record = parsed.value;
    if (Array.isArray(record)) {
      counters.count([ARRAY_REJECTED], startedMs);
      return eventReply(ARRAY_REJECTED, null, requestId);
    }
    allowWait(ack, request, limits.ackTimeoutMs);
    const outcomes = await acceptFor(ingestion.accept, principal)([record], {
      ...waitFor(ack, request),
      origin: originOf(request, requestId),
    });
    counters.count(outcomes, startedMs);
    const [outcome] = outcomes;
    if (outcome === undefined) throw new Error('accept resolved without an outcome for the event');
    return eventReply(outcome, eventIdOf(record), requestId);
  };
}

/** The outcome of a record whose text is no JSON. */
function malformed(offset: number, message: string): Rejected {
  return { kind: 'rejected', code: 'malformed_json', field: '', message: `At byte ${offset}: ${message}` };
}
