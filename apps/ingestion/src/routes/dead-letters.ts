/** /dead-letters: what sinks refused for good, to be looked at, sent again, or deleted. */
import { HttpError, readBody, requireContentType } from '@libs/elysia-server';
import { parseJson } from '@libs/models';
import { formatPosition } from '@libs/pipeline';
import type { Elysia } from 'elysia';
import { z } from 'zod';
import { DEAD_LETTER_STATES, type DeadLetter, type ReplayResult } from '../operator-requests.ts';
import type { RouteDeps } from './deps.ts';
import { guarded } from './guard.ts';
import { DELETE_LETTERS_DETAIL, LETTER_DETAIL, LETTERS_DETAIL, REPLAY_DETAIL } from './openapi-dead-letters.ts';
import type { OperatorClient } from './operators-client.ts';
import {
  FILTER_FIELDS,
  filterOf,
  readQuery,
  readSelectionBody,
  SELECTION_FIELDS,
  selectionOf,
  whole,
} from './operators-parameters.ts';
import { malformedBody } from './replies.ts';

const LIST_LIMIT = 100;
const LIST_LIMIT_MAX = 1_000;
const REPLAY_LIMIT_MAX = 1_000;
const SELECTION_BYTES_MAX = 64 * 1024;
/** What a connection may stay open, but for a little (`allowTime`). */
const REPLAY_TIMEOUT_MS = 240_000;

const LIST_QUERY = {
  ...FILTER_FIELDS,
  state: z.enum(DEAD_LETTER_STATES, { error: `must be one of ${DEAD_LETTER_STATES.join(', ')}` }).optional(),
  after: whole(0, Number.MAX_SAFE_INTEGER).optional(),
  limit: whole(1, LIST_LIMIT_MAX).optional(),
};
const { ids, ...OTHERS } = SELECTION_FIELDS;
const DELETE_QUERY = { ...OTHERS, id: ids };
const REPLAY_BODY = { ...SELECTION_FIELDS, limit: whole(1, REPLAY_LIMIT_MAX).optional() };

export function deadLetterRoutes(app: Elysia, deps: RouteDeps, operators: OperatorClient): void {
  const { protect, limits } = deps;

  async function list(request: Request): Promise<Response> {
    const { after, limit, state, ...given } = readQuery(request, LIST_QUERY);
    const page = await operators.askFor(request, 'deadLetters', {
      filter: { ...filterOf(given), ...(state === undefined ? {} : { state }) },
      afterId: after ?? 0,
      limit: limit ?? LIST_LIMIT,
    });
    return Response.json({ deadLetters: page.deadLetters.map(shown), next: page.nextAfterId ?? null });
  }

  async function one(request: Request, text: string | undefined): Promise<Response> {
    readQuery(request, {});
    const id = whole(1, Number.MAX_SAFE_INTEGER).safeParse(text);
    const letter = id.success ? await operators.askFor(request, 'deadLetter', { id: id.data }) : null;
    if (letter === null) throw new HttpError(404, 'dead_letter_not_found', 'There is no dead letter of this id.');
    return Response.json(shown(letter));
  }

  async function replay(request: Request): Promise<Response> {
    readQuery(request, {});
    requireContentType(request, ['application/json']);
    const bytes = await readBody(request, { bytesMax: SELECTION_BYTES_MAX, timeoutMs: limits.requestTimeoutMs });
    const parsed = parseJson(bytes);
    if (!parsed.ok) throw malformedBody(parsed.offset, parsed.message);
    const { limit = REPLAY_LIMIT_MAX, ...given } = readSelectionBody(parsed.value, REPLAY_BODY);
    const selection = selectionOf(given);
    const results = await operators.askFor(request, 'replay', { selection, limit }, REPLAY_TIMEOUT_MS);
    const replayed = results.filter(({ outcome }) => outcome === 'replayed').length;
    const body = { replayed, failed: results.length - replayed, results: results satisfies readonly ReplayResult[] };
    return Response.json(body, { status: replayed === results.length ? 200 : 207 });
  }

  async function remove(request: Request): Promise<Response> {
    const { id, ...given } = readQuery(request, DELETE_QUERY, ['id']);
    const selection = selectionOf(id === undefined ? given : { ...given, ids: id });
    return Response.json(await operators.askFor(request, 'deleteDeadLetters', { selection }));
  }

  app.get('/dead-letters', guarded(protect, 'operate', list), { detail: LETTERS_DETAIL });
  app.get(
    '/dead-letters/:id',
    guarded(protect, 'operate', (request, _, { id }) => one(request, id)),
    {
      detail: LETTER_DETAIL,
    },
  );
  app.post('/dead-letters/replay', guarded(protect, 'operate', replay), { parse: 'none', detail: REPLAY_DETAIL });
  app.delete('/dead-letters', guarded(protect, 'operate', remove), { parse: 'none', detail: DELETE_LETTERS_DETAIL });
}

/** As the API shows it: times as text, the position as in replies, the event as JSON. */
function shown(letter: DeadLetter) {
  const { id, kind, sink, journal, firstSeq, lastSeq, firstAtMs, lastAtMs, event } = letter;
  const { eventId, eventType, storeId, code, message, attempts, state } = letter;
  return {
    id,
    kind,
    sink,
    position: formatPosition({ journal, seq: firstSeq }),
    ...(kind === 'range' ? { lastPosition: formatPosition({ journal, seq: lastSeq }), events: letter.rows } : {}),
    ...(eventId === '' ? {} : { eventId }),
    ...(eventType === '' ? {} : { eventType }),
    ...(storeId === '' ? {} : { storeId }),
    code,
    message,
    attempts,
    state,
    firstFailedAt: new Date(firstAtMs).toISOString(),
    lastFailedAt: new Date(lastAtMs).toISOString(),
    ...(event === undefined ? {} : eventOf(event)),
  };
}

/** Rows are written by us, so they are JSON; one that is not (a damaged file) is shown as it is. */
function eventOf(text: string): { readonly event: unknown } | { readonly eventText: string } {
  try {
    return { event: JSON.parse(text) };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { eventText: text };
  }
}
