/** Who may call a route, and for which stores. Without auth a route stands as it is and costs nothing. */
import type { Permission, Principal } from '@libs/auth';
import { mayWriteTo } from '@libs/auth/principal';
import type { Protect, TokenPlace } from '@libs/elysia-server';
import type { Accept, Outcome, Rejected } from '@libs/pipeline';

type Parameters = Readonly<Record<string, string>>;
type Handle<T> = (request: Request, principal: Principal | undefined, parameters: Parameters) => T | Promise<T>;

/** What Elysia gives a handler, as far as it is used. */
interface Context {
  readonly request: Request;
  /** Of the path. */
  readonly params?: Parameters;
}

const NONE: Parameters = {};

/** A handler that is only called for requests that may. A token that was seen lately costs a look-up, and no promise. */
export function guarded<T>(
  protect: Protect | undefined,
  permission: Permission,
  handle: Handle<T>,
  place: TokenPlace = 'header',
): (context: Context) => T | Promise<T> {
  if (protect === undefined) return ({ request, params = NONE }) => handle(request, undefined, params);
  return ({ request, params = NONE }) => {
    const admitted = protect(request, permission, place);
    if (!(admitted instanceof Promise)) return handle(request, admitted, params);
    return admitted.then((principal) => handle(request, principal, params));
  };
}

/** `accept` for a principal: events of stores that it may not write for are rejected, each by itself. */
export function acceptFor(accept: Accept, principal: Principal | undefined): Accept {
  if (principal?.stores === undefined) return accept;
  return async (records, options) => {
    const allowed = records.map((record) => (mayWriteTo(principal, storeIdOf(record)) ? record : FORBIDDEN_RECORD));
    const outcomes = await accept(allowed, options);
    return outcomes.map((outcome, at) => (allowed[at] === FORBIDDEN_RECORD ? forbidden(outcome) : outcome));
  };
}

/**
 * Stands for an event that may not be written: never a valid one, so that an atomic batch with one of them stores nothing.
 * A value of its own, because a client can send null.
 */
const FORBIDDEN_RECORD = Object.freeze({});

const FORBIDDEN_STORE: Rejected = {
  kind: 'rejected',
  code: 'forbidden_store',
  field: 'storeId',
  message: 'The token is bound to other stores than this one.',
};

/** What accept could not even judge (it is shutting down) is to be sent again, and refused then. */
function forbidden(outcome: Outcome): Outcome {
  return outcome.kind === 'retry' ? outcome : FORBIDDEN_STORE;
}

function storeIdOf(record: unknown): unknown {
  return typeof record === 'object' && record !== null && 'storeId' in record ? record.storeId : undefined;
}
