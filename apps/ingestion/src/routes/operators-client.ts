/** Asks deliver on behalf of an operator. */
import { allowTime, HttpError, requestIdOf } from '@libs/elysia-server';
import { Retryable } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import { OPERATORS_PATH, type OperatorCalls, type OperatorKind } from '../operator-requests.ts';
import { retryAfterSeconds } from './replies.ts';

export interface OperatorClient {
  /** Throws `HttpError`: 503 with Retry-After while deliver is away or busy, 409 for what cannot be done, 504 after `timeoutMs`. */
  ask<Kind extends OperatorKind>(
    kind: Kind,
    request: OperatorCalls[Kind]['request'],
    options: { readonly signal: AbortSignal; readonly timeoutMs: number; readonly requestId?: string },
  ): Promise<OperatorCalls[Kind]['result']>;
  /** The same for a request of the outside, whose connection is kept open that long. */
  askFor<Kind extends OperatorKind>(
    outer: Request,
    kind: Kind,
    request: OperatorCalls[Kind]['request'],
    timeoutMs?: number,
  ): Promise<OperatorCalls[Kind]['result']>;
}

/** A killed deliver is back within about a second. */
const RETRY_AFTER_MS = 1_000;
const TIMEOUT_MS = 30_000;
/** 499 is what servers log for a client that left; nobody is there to read it. */
const CLIENT_LEFT = 499;

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly afterMs?: number;
}

export function createOperatorClient(ingestion: Pick<Ingestion, 'askDeliver'>): OperatorClient {
  const ask: OperatorClient['ask'] = async (kind, request, { signal, timeoutMs, requestId }) => {
    const timeout = AbortSignal.timeout(timeoutMs);
    const init = {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
      },
      body: JSON.stringify({ kind, ...request }),
      signal: AbortSignal.any([signal, timeout]),
    };
    try {
      const answer = await ingestion.askDeliver(OPERATORS_PATH, init);
      const body: unknown = await answer.json();
      if (answer.ok) return body as OperatorCalls[typeof kind]['result'];
      throw refused(answer.status, body as Refusal);
    } catch (error) {
      if (error instanceof HttpError) throw error;
      if (signal.aborted) throw new HttpError(CLIENT_LEFT, 'client_left', 'The client has gone.', { cause: error });
      if (timeout.aborted) throw tooSlow(timeoutMs, error);
      // What breaks off in mid-answer is deliver ending, too.
      throw away(error);
    }
  };

  return {
    ask,
    askFor(outer, kind, request, timeoutMs = TIMEOUT_MS) {
      allowTime(outer, timeoutMs);
      return ask(kind, request, { signal: outer.signal, timeoutMs, requestId: requestIdOf(outer) });
    },
  };
}

function refused(status: number, { code, message, afterMs }: Refusal): HttpError {
  if (afterMs === undefined) return new HttpError(status, code, message);
  return new HttpError(status, code, message, {
    details: { retryAfterMs: afterMs },
    headers: { 'retry-after': retryAfterSeconds(afterMs) },
  });
}

function away(cause: unknown): HttpError {
  const code = cause instanceof Retryable ? cause.code : 'deliver_unreachable';
  return new HttpError(503, code, 'The process that knows this is being started again. Try again shortly.', {
    details: { retryAfterMs: RETRY_AFTER_MS },
    headers: { 'retry-after': retryAfterSeconds(RETRY_AFTER_MS) },
    cause,
  });
}

function tooSlow(timeoutMs: number, cause: unknown): HttpError {
  return new HttpError(
    504,
    'deliver_timeout',
    `There was no answer within ${timeoutMs} ms; what was begun may go on.`,
    {
      details: { timeoutMs },
      cause,
    },
  );
}
