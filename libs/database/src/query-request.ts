/** Reads a request as ClickHouse's HTTP interface does, and decides what will be run under which settings. */
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { FREE_SETTINGS } from './query-names.ts';
import { QueryRefused } from './query-refused.ts';
import { tokenise } from './query-tokens.ts';
import { checkStatement } from './query-walls.ts';

export interface QueryLimits {
  readonly timeMsMax: number;
  /** Memory of one query. */
  readonly memoryBytesMax: number;
  readonly resultRowsMax: number;
  readonly resultBytesMax: number;
  /** Bytes of a query's text, after decompression. */
  readonly queryBytesMax: number;
  /** Threads that one query may keep busy. */
  readonly threadsMax: number;
  /**
   * Queries that run at the same time; one more than that waits. With the embedded engine it must be less than the
   * threads of Bun's pool (`UV_THREADPOOL_SIZE`, by default the number of cores, at least 2), or queries stop inserts.
   */
  readonly concurrentMax: number;
  /** Queries that wait for their turn, and how long; one more, or longer, is 503. */
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
}

export const QUERY_LIMITS: QueryLimits = {
  timeMsMax: 60_000,
  memoryBytesMax: 512 * 2 ** 20,
  resultRowsMax: 1_000_000,
  resultBytesMax: 128 * 2 ** 20,
  queryBytesMax: 256 * 1024,
  threadsMax: 1,
  concurrentMax: 1,
  queueMax: 16,
  queueTimeoutMs: 10_000,
};

export interface QueryPlan {
  /** What is run: one statement without comments. */
  readonly sql: string;
  readonly format: string;
  readonly database: string;
  readonly queryId: string;
  /** In the order in which they are to be set, ending with `readonly`. */
  readonly settings: ReadonlyMap<string, string>;
  readonly params: ReadonlyMap<string, string>;
}

export interface PlanContext {
  readonly database: string;
  readonly limits: QueryLimits;
  readonly tableFunctions: ReadonlySet<string>;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;
const QUERY_ID = /^[\w.:-]{1,128}$/;
const PARAMS_MAX = 1_000;
/** Bytes that one query may spill to disk. */
const TEMPORARY_BYTES_MAX = 2 ** 30;

/** Undefined when the request holds no query at all. Throws `QueryRefused`. */
export async function planQuery(request: Request, url: URL, context: PlanContext): Promise<QueryPlan | undefined> {
  const search = url.searchParams;
  const body = await readBody(request, context.limits.queryBytesMax);
  const inUrl = search.get('query') ?? '';
  const sql = inUrl !== '' && body !== '' ? `${inUrl}\n${body}` : inUrl + body;
  if (sql.trim() === '') return undefined;
  if (Buffer.byteLength(sql) > context.limits.queryBytesMax) throw tooLarge(context.limits.queryBytesMax);
  // The engine takes text that ends at a NUL.
  if (sql.includes('\0')) throw new QueryRefused('SYNTAX_ERROR', 'Syntax error: the query holds a NUL character.');
  refuseUnsupported(search, request);
  const params = readParams(search);
  const { tokens, text } = tokenise(sql);
  const statement = checkStatement(tokens, { params, tableFunctions: context.tableFunctions });
  const format =
    statement.format ?? search.get('default_format') ?? request.headers.get('x-clickhouse-format') ?? 'TabSeparated';
  if (!NAME.test(format)) throw new QueryRefused('UNKNOWN_FORMAT', `Unknown format ${format.slice(0, 64)}.`);
  const queryId = search.get('query_id') ?? '';
  return {
    sql: text.replace(/[\s;]+$/, ''),
    format,
    database: readDatabase(search, request, context.database),
    queryId: QUERY_ID.test(queryId) ? queryId : crypto.randomUUID(),
    settings: settingsOf(search, statement.settings, context.limits),
    params,
  };
}

function tooLarge(bytesMax: number): QueryRefused {
  return new QueryRefused('QUERY_IS_TOO_LARGE', `The query is longer than ${bytesMax} bytes.`);
}

/** Reads at most `bytesMax` bytes before and after decompression. */
async function readBody(request: Request, bytesMax: number): Promise<string> {
  if (!request.body) return '';
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  const bytes = decompress(Buffer.concat(chunks), request.headers.get('content-encoding') ?? '', bytesMax);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new QueryRefused(
      'INCORRECT_DATA',
      `The query is no valid UTF-8 (${error instanceof Error ? error.name : error}).`,
    );
  }
}

function decompress(bytes: Buffer, encoding: string, bytesMax: number): Buffer {
  const options = { maxOutputLength: bytesMax };
  try {
    switch (encoding.trim().toLowerCase()) {
      case '':
      case 'identity':
        return bytes;
      case 'gzip':
        return gunzipSync(bytes, options);
      case 'deflate':
        return inflateSync(bytes, options);
      case 'br':
        return brotliDecompressSync(bytes, options);
      case 'zstd':
        return zstdDecompressSync(bytes, options);
    }
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax);
    throw new QueryRefused('INCORRECT_DATA', `The body is not what Content-Encoding: ${encoding} says.`);
  }
  throw new QueryRefused('NOT_IMPLEMENTED', 'Content-Encoding may be gzip, deflate, br or zstd.');
}

/** What would change the shape of the exchange cannot be tolerated in silence. */
function refuseUnsupported(search: URLSearchParams, request: Request): void {
  for (const name of ['compress', 'decompress']) {
    if (!['', '0', 'false'].includes(search.get(name) ?? '')) {
      throw new QueryRefused(
        'NOT_IMPLEMENTED',
        `${name}=1 (ClickHouse's own block compression) is not supported: turn compression off in the client.`,
      );
    }
  }
  if (request.headers.get('content-type')?.startsWith('multipart/form-data')) {
    throw new QueryRefused(
      'NOT_IMPLEMENTED',
      'Forms and external tables are not supported: send the query as ?query= or as the body.',
    );
  }
}

function readParams(search: URLSearchParams): Map<string, string> {
  const params = new Map<string, string>();
  for (const [key, value] of search) {
    if (!key.startsWith('param_')) continue;
    const name = key.slice('param_'.length);
    if (!NAME.test(name))
      throw new QueryRefused('BAD_ARGUMENTS', 'A parameter is called param_ and letters, digits or underscores.');
    if (params.size === PARAMS_MAX)
      throw new QueryRefused('BAD_ARGUMENTS', `A query has at most ${PARAMS_MAX} parameters.`);
    params.set(name, value);
  }
  return params;
}

function readDatabase(search: URLSearchParams, request: Request, own: string): string {
  const asked = search.get('database') ?? request.headers.get('x-clickhouse-database') ?? '';
  // Clients that were given no database say `default`.
  if (asked === '' || asked === 'default' || asked === own) return own;
  if (asked.toLowerCase() === 'information_schema') return asked;
  throw new QueryRefused(
    'UNKNOWN_DATABASE',
    `The database here is ${own}; write others, such as system.tables, with their name.`,
  );
}

/**
 * The limits, then what the request asks for: formats and semantics as they are, limits when they are lower. Settings
 * in the URL that are not among them are tolerated (client libraries send many); in the text they are refused, since
 * somebody wrote them there. `readonly` comes last: after it, the engine accepts a SETTINGS clause only where it says
 * what is set already.
 */
function settingsOf(
  search: URLSearchParams,
  inText: ReadonlyMap<string, string>,
  limits: QueryLimits,
): Map<string, string> {
  const ceilings = new Map([
    ['max_execution_time', limits.timeMsMax / 1_000],
    ['max_memory_usage', limits.memoryBytesMax],
    ['max_result_rows', limits.resultRowsMax],
    ['max_result_bytes', limits.resultBytesMax],
    ['max_threads', limits.threadsMax],
  ]);
  const settings = new Map<string, string>([...ceilings].map(([name, value]) => [name, String(value)]));
  settings.set('result_overflow_mode', 'throw');
  settings.set('timeout_overflow_mode', 'throw');
  // What a grouping or a sort needs beyond this goes to disk instead of failing, as far as the disk is not needed.
  settings.set('max_bytes_before_external_group_by', String(Math.floor(limits.memoryBytesMax / 2)));
  settings.set('max_bytes_before_external_sort', String(Math.floor(limits.memoryBytesMax / 2)));
  settings.set('max_temporary_data_on_disk_size_for_query', String(TEMPORARY_BYTES_MAX));
  for (const [name, value] of search) {
    const ceiling = ceilings.get(name);
    if (ceiling !== undefined) settings.set(name, String(lower(Number(value), ceiling)));
    else if (FREE_SETTINGS.test(name)) settings.set(name, value);
  }
  for (const [name, value] of inText) {
    const ceiling = ceilings.get(name);
    if (ceiling === undefined && !FREE_SETTINGS.test(name)) {
      throw new QueryRefused('READONLY', `The setting ${name} cannot be set by a query here.`);
    }
    if (ceiling !== undefined && !(Number(value) > 0 && Number(value) <= ceiling)) {
      throw new QueryRefused('READONLY', `The setting ${name} can be at most ${ceiling} here, and not 0 (no limit).`);
    }
    settings.set(name, value);
  }
  return settings.set('readonly', '1');
}

function lower(asked: number, ceiling: number): number {
  return asked > 0 && asked < ceiling ? asked : ceiling;
}
