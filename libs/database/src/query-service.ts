/** Read-only SQL over HTTP, by ClickHouse's conventions, for curl, Grafana, DBeaver and ClickHouse's own clients. */
import { runEmbedded } from './query-embedded.ts';
import { QueryRefused } from './query-refused.ts';
import { planQuery, QUERY_LIMITS, type QueryLimits, type QueryPlan } from './query-request.ts';
import { errorResponse, refusalResponse } from './query-response.ts';
import { runOnServer, serverRefusal } from './query-server.ts';
import { createSlots } from './query-slots.ts';
import type { Store, StoreLogger } from './store.ts';
import { isUnreachable } from './store-errors.ts';

export { QUERY_LIMITS, type QueryLimits };

export interface QueryService {
  /**
   * Answers one request, whatever its path: `…/ping` and a request without a query say `Ok.`. Never rejects; the
   * answer's status and `X-ClickHouse-Exception-Code` say what went wrong.
   */
  handle(request: Request): Promise<Response>;
  /** Takes no more queries, ends those that run, and resolves once they have ended. */
  close(): Promise<void>;
}

export function createQueryService(
  store: Store,
  overrides: Partial<QueryLimits>,
  deps: { readonly logger: StoreLogger },
): QueryService {
  const limits = { ...QUERY_LIMITS, ...overrides };
  const slots = createSlots(limits);
  const closing = new AbortController();
  let tableFunctions: Promise<ReadonlySet<string>> | undefined;

  /** Asked once; a failure is asked again. Throws what a query itself would when the server cannot be reached. */
  function knownTableFunctions(): Promise<ReadonlySet<string>> {
    tableFunctions ??= store
      .select('SELECT lower(name) FROM system.table_functions')
      .then((rows) => new Set(rows.map(([name]) => String(name))))
      .catch((error) => {
        tableFunctions = undefined;
        throw store.kind === 'server' && isUnreachable(error) ? serverRefusal() : error;
      });
    return tableFunctions;
  }

  async function answer(request: Request): Promise<Response> {
    const url = new URL(request.url, 'http://localhost');
    if (!['GET', 'HEAD', 'POST'].includes(request.method)) {
      return new Response('Use GET or POST.\n', { status: 405, headers: { Allow: 'GET, HEAD, POST' } });
    }
    if (url.pathname.endsWith('/ping')) return ok();
    if (closing.signal.aborted)
      throw new QueryRefused('TOO_MANY_SIMULTANEOUS_QUERIES', 'The service is shutting down.');
    const plan = await planQuery(request, url, {
      database: store.database,
      limits,
      tableFunctions: await knownTableFunctions(),
    });
    if (!plan) return ok();
    const signal = AbortSignal.any([request.signal, closing.signal]);
    const release = await slots.acquire(signal);
    try {
      return await run(plan, signal);
    } finally {
      release();
    }
  }

  function run(plan: QueryPlan, signal: AbortSignal): Promise<Response> {
    const { target } = store;
    return target.kind === 'embedded'
      ? runEmbedded(target.engine, plan, signal)
      : runOnServer(target, plan, { signal, timeMsMax: limits.timeMsMax });
  }

  return {
    handle: async (request) => {
      try {
        return await answer(request);
      } catch (error) {
        if (error instanceof QueryRefused) return refusalResponse(error);
        deps.logger.warn({ err: error }, 'a query could not be answered');
        return errorResponse(210, 'Code: 210. DB::Exception: The store does not answer at the moment. (NETWORK_ERROR)');
      }
    },
    close: async () => {
      closing.abort(new Error('the query service is closing'));
      await slots.idle();
    },
  };
}

function ok(): Response {
  return new Response('Ok.\n', { headers: { 'Content-Type': 'text/html; charset=UTF-8' } });
}
