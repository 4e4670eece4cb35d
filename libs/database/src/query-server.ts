/** Passes a planned query on to a ClickHouse server, and its answer back as it comes. */
import { QueryRefused } from './query-refused.ts';
import type { QueryPlan } from './query-request.ts';
import { refusalResponse } from './query-response.ts';

export interface QueryServer {
  readonly url: string;
  readonly username: string;
  readonly password: string;
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
  const url = new URL(server.url);
  const search = url.searchParams;
  search.set('database', plan.database);
  search.set('default_format', plan.format);
  search.set('query_id', plan.queryId);
  // Errors come as a status instead of in the middle of a result, which the limits keep small enough to hold.
  search.set('wait_end_of_query', '1');
  search.set('cancel_http_readonly_queries_on_client_close', '1');
  for (const [name, value] of plan.params) search.set(`param_${name}`, value);
  for (const [name, value] of plan.settings) search.set(name, value);
  try {
    const answer = await fetch(url, {
      method: 'POST',
      body: plan.sql,
      headers: {
        'X-ClickHouse-User': server.username,
        'X-ClickHouse-Key': server.password,
        'Accept-Encoding': 'identity',
      },
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(options.timeMsMax + GRACE_MS)]),
      redirect: 'error',
    });
    const headers = new Headers();
    for (const name of HEADERS) {
      const value = answer.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return new Response(answer.body, { status: answer.status, headers });
  } catch (error) {
    const reason =
      error instanceof Error && error.name === 'TimeoutError' ? 'did not answer in time' : 'cannot be reached';
    return refusalResponse(new QueryRefused('NETWORK_ERROR', `The ClickHouse server ${reason}.`), plan.queryId);
  }
}
