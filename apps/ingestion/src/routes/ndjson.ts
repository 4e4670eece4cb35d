/** POST /events/batch with `application/x-ndjson`: one event a line, read and accepted as the body arrives. */
import { HttpError, requestIdOf, streamBody } from '@libs/elysia-server';
import { parseJson } from '@libs/models';
import type { Accept } from '@libs/pipeline';
import { BODY_SLACK_BYTES, type RouteDeps } from './deps.ts';
import { createGroups, type Groups } from './groups.ts';
import { createLineSplitter, type LineSplitter } from './lines.ts';
import { originOf } from './origin.ts';
import type { BatchParameters } from './parameters.ts';
import { emptyBatch, tooManyEvents } from './replies.ts';
import { createTally, type TallyCounts } from './tally.ts';
import { allowWait, waitFor } from './wait.ts';

/** A group is one accept call: as many events as a JSON batch may have, and no more text than the journal likes in one frame. */
const GROUP_EVENTS_MAX = 1000;
const GROUP_BYTES_MAX = 1024 * 1024;
/** One group commits while the next ones are read; more would only hold memory. */
const GROUPS_IN_FLIGHT_MAX = 4;
/** What is split at once: with the shortest lines, 32 groups can come out of one chunk. */
const CHUNK_BYTES_MAX = 64 * 1024;

export function createLineHandler(deps: RouteDeps) {
  const { limits, counters } = deps;

  return async (request: Request, parameters: BatchParameters, accept: Accept): Promise<Response> => {
    const requestId = requestIdOf(request);
    const atomic = parameters.failOnError ?? false;
    const tally = createTally();
    const origin = originOf(request, requestId);
    const groups = createGroups({
      accept: (records) => accept(records, { ...waitFor(parameters.ack, request), atomic, origin }),
      tally,
      counters,
      groupEventsMax: atomic ? Number.POSITIVE_INFINITY : GROUP_EVENTS_MAX,
      groupBytesMax: atomic ? Number.POSITIVE_INFINITY : GROUP_BYTES_MAX,
      inFlightMax: GROUPS_IN_FLIGHT_MAX,
    });
    const eventsMax = atomic ? Math.min(parameters.maxSize ?? Infinity, limits.batchEventsMax) : parameters.maxSize;
    const splitter = createSplitter(groups, limits.eventBytesMax + BODY_SLACK_BYTES, eventsMax);
    const body = streamBody(request, {
      ...(atomic ? { bytesMax: limits.batchBytesMax } : {}),
      timeoutMs: limits.requestTimeoutMs,
      chunkBytesMax: CHUNK_BYTES_MAX,
    });

    if (atomic) await readAll(body, splitter);
    else {
      try {
        await readInGroups(body, splitter, groups);
      } catch (error) {
        groups.send();
        await groups.settled();
        throw withCounts(error, tally.counts());
      }
    }
    groups.send();
    allowWait(parameters.ack, request, limits.ackTimeoutMs);
    await groups.settled();
    if (tally.counts().totalEvents === 0) throw emptyBatch();
    return tally.reply({ requestId, atomic });
  };
}

async function readAll(body: AsyncIterable<Uint8Array>, splitter: LineSplitter): Promise<void> {
  for await (const chunk of body) splitter.push(chunk);
  splitter.end();
}

/** The stream is only read on while there is room: a slow journal slows the sender down, and memory stays bounded. */
async function readInGroups(body: AsyncIterable<Uint8Array>, splitter: LineSplitter, groups: Groups): Promise<void> {
  for await (const chunk of body) {
    splitter.push(chunk);
    groups.sendWhenIdle();
    if (groups.full()) await groups.room();
  }
  splitter.end();
}

function createSplitter(groups: Groups, lineBytesMax: number, eventsMax: number | undefined): LineSplitter {
  let events = 0;

  function countEvent(): void {
    events += 1;
    if (eventsMax !== undefined && events > eventsMax) throw tooManyEvents(eventsMax, {});
  }

  return createLineSplitter(lineBytesMax, {
    line(bytes, number) {
      countEvent();
      const parsed = parseJson(bytes);
      if (parsed.ok) groups.add(parsed.value, bytes.length);
      else {
        groups.addUnreadable({
          kind: 'rejected',
          code: 'malformed_json',
          field: '',
          message: `Line ${number}, byte ${parsed.offset}: ${parsed.message}`,
        });
      }
    },
    tooLong(number) {
      countEvent();
      groups.addUnreadable({
        kind: 'rejected',
        code: 'line_too_long',
        field: '',
        message: `Line ${number} is longer than ${lineBytesMax} bytes.`,
      });
    },
  });
}

/** What was accepted before the body broke stays accepted: the error says how much that is. */
function withCounts(error: unknown, counts: TallyCounts): unknown {
  if (!(error instanceof HttpError)) return error;
  return new HttpError(error.status, error.code, error.message, {
    details: { ...error.details, ...counts },
    ...(error.headers === undefined ? {} : { headers: error.headers }),
    cause: error,
  });
}
