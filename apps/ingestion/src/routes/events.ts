/** POST /events: one event. */
import type { Principal } from '@libs/auth';
import { readBody, requestIdOf, requireContentType } from '@libs/elysia-server';
import { parseJson } from '@libs/models';
import type { Accept, AcceptOptions, Origin, Outcome, Rejected } from '@libs/pipeline';
import type { Elysia } from 'elysia';
import type { TurnItem } from '../turn.ts';
import type { Counters } from './counters.ts';
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
  const { ingestion, turn, limits, counters } = deps;
  const body = { bytesMax: limits.eventBytesMax + BODY_SLACK_BYTES, timeoutMs: limits.requestTimeoutMs };

  return async (request, principal) => {
    const ack = readAck(request.url);
    requireContentType(request, JSON_TYPES);
    const bytes = await readBody(request, body);
    const own = ownAccept(ingestion.accept, principal, waitFor(ack, request));
    if (ack !== 'journal') allowWait(ack, request, limits.ackTimeoutMs);
    const single = new SingleEvent(request, bytes, counters, own);
    turn.take(single);
    return single.response;
  };
}

/** What cannot share a call: a token that is bound to its stores, or another level than the others wait for. */
function ownAccept(
  accept: Accept,
  principal: Principal | undefined,
  wait: Pick<AcceptOptions, 'ack' | 'signal'>,
): Accept | undefined {
  const own = acceptFor(accept, principal);
  if (wait.ack !== 'journal') return (records, options) => own(records, { ...options, ...wait });
  return own === accept ? undefined : own;
}

/** A request with one event, from its body to its reply. */
class SingleEvent implements TurnItem {
  readonly response: Promise<Response>;
  readonly accept: Accept | undefined;
  readonly #request: Request;
  readonly #counters: Pick<Counters, 'count'>;
  readonly #bytes: Uint8Array;
  #record: unknown;
  #reply!: (response: Response) => void;
  #fail!: (error: unknown) => void;

  constructor(request: Request, bytes: Uint8Array, counters: Pick<Counters, 'count'>, accept: Accept | undefined) {
    this.accept = accept;
    this.#request = request;
    this.#bytes = bytes;
    this.#counters = counters;
    this.response = new Promise((resolve, reject) => {
      this.#reply = resolve;
      this.#fail = reject;
    });
  }

  get origin(): Origin {
    return originOf(this.#request, requestIdOf(this.#request));
  }

  records(): readonly unknown[] {
    const parsed = parseJson(this.#bytes);
    if (!parsed.ok) {
      this.#refuse(malformed(parsed.offset, parsed.message));
      this.#fail(malformedBody(parsed.offset, parsed.message));
      return [];
    }
    this.#record = parsed.value;
    if (!Array.isArray(parsed.value)) return [parsed.value];
    this.#refuse(ARRAY_REJECTED);
    this.#reply(eventReply(this.#request, ARRAY_REJECTED, null));
    return [];
  }

  settled(outcomes: readonly Outcome[], first: number): void {
    this.#reply(eventReply(this.#request, outcomes[first] as Outcome, eventIdOf(this.#record)));
  }

  failed(error: unknown): void {
    this.#fail(error);
  }

  #refuse(outcome: Rejected): void {
    this.#counters.count([outcome], performance.now());
  }
}

/** The outcome of a record whose text is no JSON. */
function malformed(offset: number, message: string): Rejected {
  return { kind: 'rejected', code: 'malformed_json', field: '', message: `At byte ${offset}: ${message}` };
}
