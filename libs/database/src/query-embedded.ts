/** Runs a planned query on the embedded engine, on a connection of its own. */
import type { QueryPlan } from './query-request.ts';
import { engineErrorResponse, resultHeaders, summaryHeader } from './query-response.ts';
import type { EmbeddedEngine } from './store-embedded.ts';

/** What marks queries of users, in `log_comment`. */
const MARKER_PREFIX = 'weir-query';

/** Resolves when the engine has ended the query, also after `signal` aborted: then the answer is an error. */
export async function runEmbedded(engine: EmbeddedEngine, plan: QueryPlan, signal: AbortSignal): Promise<Response> {
  const marker = `${MARKER_PREFIX}:${crypto.randomUUID()}`;
  const session = engine.openSession();
  const onAbort = () => {
    // Not being able to end it early is no error: its time limit ends it.
    engine.kill(marker).catch(() => undefined);
  };
  try {
    // Parameters are set on the connection: bound to a call, the engine would run them one at a time for the process.
    session.query(preamble(plan, marker));
    signal.addEventListener('abort', onAbort, { once: true });
    signal.throwIfAborted();
    const result = await session.queryAsync(plan.sql, { format: plan.format });
    const headers = resultHeaders(plan.format, plan.queryId);
    const { rowsRead, bytesRead, elapsed } = result;
    headers.set('X-ClickHouse-Summary', summaryHeader({ rowsRead, bytesRead, elapsedSeconds: elapsed }));
    return new Response(result.bytes() as Uint8Array<ArrayBuffer>, { headers });
  } catch (error) {
    return engineErrorResponse(error, plan.queryId, engine.folder);
  } finally {
    signal.removeEventListener('abort', onAbort);
    session.close();
  }
}

/** Database, parameters and settings; `readonly` is the last of them and cannot be taken back. */
function preamble(plan: QueryPlan, marker: string): string {
  const params = [...plan.params].map(([name, value]): [string, string] => [`param_${name}`, value]);
  const set = [...params, ['log_comment', marker] as const, ...plan.settings].map(
    ([name, value]) => `SET ${name} = ${literal(value)}`,
  );
  return [`USE ${plan.database}`, ...set].join('; ');
}

function literal(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
