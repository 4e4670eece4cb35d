/** POST /events/batch: a JSON document with up to 1,000 events, or a stream of lines without a count limit. */
import { HttpError, readBody, requestIdOf, requireContentType } from '@libs/elysia-server';
import { parseBatchRequest, parseJson } from '@libs/models';
import type { Accept } from '@libs/pipeline';
import type { Elysia } from 'elysia';
import type { RouteDeps } from './deps.ts';
import { acceptFor, guarded } from './guard.ts';
import { createLineHandler } from './ndjson.ts';
import { BATCH_DETAIL } from './openapi-events.ts';
import { originOf } from './origin.ts';
import { type BatchParameters, readBatchParameters } from './parameters.ts';
import { emptyBatch, eventIdOf, malformedBody, tooManyEvents } from './replies.ts';
import { createTally } from './tally.ts';
import { allowWait, waitFor } from './wait.ts';

const NDJSON_TYPE = 'application/x-ndjson';
const BATCH_TYPES: readonly string[] = ['application/json', 'text/plain', NDJSON_TYPE];

export function batchRoutes(app: Elysia, deps: RouteDeps): void {
  const handleJson = createJsonHandler(deps);
  const handleLines = createLineHandler(deps);
  app.post(
    '/events/batch',
    guarded(deps.protect, 'write', (request, principal) => {
      const parameters = readBatchParameters(request.url);
      const { type } = requireContentType(request, BATCH_TYPES);
      const accept = acceptFor(deps.ingestion.accept, principal);
      return type === NDJSON_TYPE ? handleLines(request, parameters, accept) : handleJson(request, parameters, accept);
    }),
    { parse: 'none', detail: BATCH_DETAIL },
  );
}

function createJsonHandler(deps: RouteDeps) {
  const { limits, counters } = deps;
  const body = { bytesMax: limits.batchBytesMax, timeoutMs: limits.requestTimeoutMs };

  return async (request: Request, parameters: BatchParameters, accept: Accept): Promise<Response> => {
    const bytes = await readBody(request, body);
    const startedMs = performance.now();
    const requestId = requestIdOf(request);
    const { events, atomic } = readBatch(bytes, parameters, limits.batchEventsMax);
    allowWait(parameters.ack, request, limits.ackTimeoutMs);
    const outcomes = await accept(events, {
      ...waitFor(parameters.ack, request),
      atomic,
      origin: originOf(request, requestId),
    });
    counters.count(outcomes, startedMs);
    const tally = createTally();
    for (const [index, outcome] of outcomes.entries()) {
      tally.add(outcome.kind === 'accepted' ? null : eventIdOf(events[index]), outcome);
    }
    return tally.reply({ requestId, atomic });
  };
}

/** The batch's events and options; an option in the body goes before the query parameter of the same name. */
function readBatch(bytes: Uint8Array, parameters: BatchParameters, batchEventsMax: number) {
  const parsed = parseJson(bytes);
  if (!parsed.ok) throw malformedBody(parsed.offset, parsed.message);
  const batch = parseBatchRequest(parsed.value, { eventsMax: batchEventsMax });
  if (!batch.ok) throw new HttpError(422, batch.code, batch.message, { details: { field: batch.field } });
  const { events, options } = batch;
  const maxSize = Math.min(options.maxSize ?? parameters.maxSize ?? batchEventsMax, batchEventsMax);
  if (events.length === 0) throw emptyBatch();
  if (events.length > maxSize) throw tooManyEvents(maxSize, { events: events.length });
  return { events, atomic: options.failOnError ?? parameters.failOnError ?? false };
}
