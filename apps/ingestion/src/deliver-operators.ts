/** Deliver's answers to operators, over the same local socket as queries. */
import { Overloaded, Permanent, Retryable } from '@libs/pipeline';
import { createTopicReader, type TopicBackend } from './deliver-topics.ts';
import {
  type DeadLetter,
  type DeadLetterPage,
  type DeadLetterSelection,
  type DropResult,
  OPERATORS_PATH,
  type OperatorCalls,
  type OperatorRequest,
  type OperatorSink,
  type ReconcileReport,
  type ReplayResult,
} from './operator-requests.ts';

type ListFilter = OperatorCalls['deadLetters']['request']['filter'];
type Awaitable<T> = T | Promise<T>;

/** What deliver's parts do. A signal aborts when whoever asked has gone. Throws `Retryable` or `Overloaded` for "later". */
export interface OperatorBackend extends TopicBackend {
  /** In order of id, behind `afterId`; without `event`. */
  listDeadLetters(
    filter: ListFilter,
    page: { readonly afterId: number; readonly limit: number },
  ): Awaitable<readonly DeadLetter[]>;
  /** With `event`, the row's JSON text, where it has one. */
  getDeadLetter(id: number): Awaitable<DeadLetter | undefined>;
  /** Sends at most `limit` letters to the sinks that refused them, oldest first, each once. */
  replay(selection: DeadLetterSelection, limit: number, signal: AbortSignal): Promise<readonly ReplayResult[]>;
  deleteDeadLetters(selection: DeadLetterSelection): Awaitable<number>;
  reconcile(
    interval: { readonly fromMs: number; readonly toMs: number; readonly deep: boolean },
    signal: AbortSignal,
  ): Promise<ReconcileReport>;
  sinks(): Awaitable<readonly OperatorSink[]>;
  dropSink(name: string): Awaitable<DropResult>;
}

export interface Operators {
  /** Undefined when the request is for somebody else. */
  handle(request: Request): Promise<Response> | undefined;
}

export interface OperatorsLogger {
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
}

/** Bytes of events in one page of dead letters: it ends behind the one that goes past them. */
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

export function createOperators(backend: OperatorBackend, { logger }: { readonly logger: OperatorsLogger }): Operators {
  const topics = createTopicReader(backend);

  async function answer(request: OperatorRequest, signal: AbortSignal): Promise<unknown> {
    switch (request.kind) {
      case 'deadLetters':
        return pageOf(backend, request.filter, request.afterId, request.limit);
      case 'deadLetter':
        return (await backend.getDeadLetter(request.id)) ?? null;
      case 'replay':
        return backend.replay(request.selection, request.limit, signal);
      case 'deleteDeadLetters': {
        const deleted = await backend.deleteDeadLetters(request.selection);
        logger.info({ selection: request.selection, deleted }, 'an operator deleted dead letters');
        return { deleted };
      }
      case 'reconcile':
        return backend.reconcile(request, signal);
      case 'sinks':
        return backend.sinks();
      case 'dropSink': {
        const result = await backend.dropSink(request.name);
        if (result.outcome === 'dropped') logger.info({ sink: request.name, ...result }, 'an operator dropped a sink');
        return result;
      }
      case 'positions':
        return topics.positions(signal);
      case 'rows':
        return topics.page(request, signal);
    }
  }

  async function handle(request: Request): Promise<Response> {
    try {
      const asked = (await request.json()) as OperatorRequest;
      return Response.json(await answer(asked, request.signal));
    } catch (error) {
      if (error instanceof Overloaded) return refusal(503, error.code, error.message, error.afterMs);
      if (error instanceof Retryable) return refusal(503, error.code, error.message, RETRY_AFTER_MS);
      if (error instanceof Permanent) return refusal(409, error.code, error.message);
      logger.warn({ err: error }, 'an operator could not be answered');
      return refusal(500, 'internal_error', 'The deliver process made a mistake; its log says which.');
    }
  }

  return {
    handle: (request) => (new URL(request.url).pathname === OPERATORS_PATH ? handle(request) : undefined),
  };
}

const RETRY_AFTER_MS = 1_000;

/** A refusal as accept reads it (routes/operators-client.ts). */
function refusal(status: number, code: string, message: string, afterMs?: number): Response {
  return Response.json({ code, message, ...(afterMs === undefined ? {} : { afterMs }) }, { status });
}

async function pageOf(
  backend: OperatorBackend,
  filter: ListFilter,
  afterId: number,
  limit: number,
): Promise<DeadLetterPage> {
  // One more says whether there is a next page.
  const found = await backend.listDeadLetters(filter, { afterId, limit: limit + 1 });
  const deadLetters: DeadLetter[] = [];
  let bytes = 0;
  let lastId: number | undefined;
  for (const letter of found.slice(0, limit)) {
    if (bytes > PAGE_BYTES_MAX) break;
    bytes += letter.byteLength;
    lastId = letter.id;
    // One that was replayed or deleted meanwhile is no longer there.
    const whole = await backend.getDeadLetter(letter.id);
    if (whole !== undefined) deadLetters.push(whole);
  }
  return lastId === undefined || lastId === found.at(-1)?.id ? { deadLetters } : { deadLetters, nextAfterId: lastId };
}
