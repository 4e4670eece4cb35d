/** Passes a planned query on to a ClickHouse server, and its answer back as it comes. */
import { QueryRefused } from './query-refused.ts';
import type { QueryPlan } from './query-request.ts';
import { refusalResponse } from './query-response.ts';
import type { StoreTlsOptions } from './store-options.ts';

export interface QueryServer {
  /** In the order in which they are asked: the next one only when one cannot be reached. */
  readonly urls: () => readonly string[];
  readonly username: string;
  readonly password: string;
  readonly tls?: StoreTlsOptions;
}

/** The server's own limit ends a query first; this ends the wait for a server that does not answer. */
const GRACE_MS = 5_000;
/** Not among them: the server's host name. */
const HEADERS = [
  'content-type',
  'x-clickhouse-summary',
  'x-clickhouse-exception-code',
  'x-clickhouse-exception-tag',
  'x-clickhouse-format',
  'x-clickhouse-query-id',
  'x-clickhouse-timezone',
];

export async function runOnServer(
  server: QueryServer,
  plan: QueryPlan,
  options: { readonly signal: AbortSignal; readonly timeMsMax: number },
): Promise<Response> {
  const search = searchParams(plan);
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeMsMax + GRACE_MS)]);
  let reason: string | undefined;
  for (const base of server.urls()) {
    const url = new URL(base);
    for (const [name, value] of search) url.searchParams.set(name, value);
    try {
      return passOn(await ask(url, server, plan.sql, signal));
    } catch (error) {
      if (!signal.aborted) continue;
      if (error instanceof Error && error.name === 'TimeoutError') reason = 'did not answer in time';
      break;
    }
  }
  return refusalResponse(serverRefusal(reason), plan.queryId);
}

export function serverRefusal(reason = 'cannot be reached'): QueryRefused {
  return new QueryRefused('NETWORK_ERROR', `The ClickHouse server ${reason}.`);
}

function searchParams(plan: QueryPlan): URLSearchParams {
  const search = new URLSearchParams();
  search.set('database', plan.database);
  search.set('default_format', plan.format);
  search.set('query_id', plan.queryId);
  // Errors come as a status instead of in the middle of a result, which the limits keep small enough to hold.
  search.set('wait_end_of_query', '1');
  search.set('cancel_http_readonly_queries_on_client_close', '1');
  for (const [name, value] of plan.params) search.set(`param_${name}`, value);
  for (const [name, value] of plan.settings) search.set(name, value);
  return search;
}

function ask(url: URL, server: QueryServer, sql: string, signal: AbortSignal): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    body: sql,
    headers: {
      'X-ClickHouse-User': server.username,
      'X-ClickHouse-Key': server.password,
      'Accept-Encoding': 'identity',
    },
    signal,
    redirect: 'error',
    ...(server.tls ? { tls: server.tls } : {}),
  });
}

function passOn(answer: Response): Response {
  const headers = new Headers();
  for (const name of HEADERS) {
    const value = answer.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(answer.body, { status: answer.status, headers });
}
