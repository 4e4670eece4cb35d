/**
 * A stand-in for a ClickHouse server: the real engine behind a small HTTP front that speaks ClickHouse's conventions
 * for reads and writes. A real engine and real HTTP, not a real server; faults are injected here.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { type EmbeddedEngine, openEmbeddedEngine } from './store-embedded.ts';
import {
  createRules,
  exceptionText,
  exceptionTrailer,
  type FrontFault,
  type FrontRule,
} from './testing-front-faults.ts';
import { createGatherer } from './testing-front-gather.ts';

export interface FrontOptions {
  readonly port?: number;
  /** PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Asked of every request, when it is given; wrong: 403 and exception 516. */
  readonly login?: { readonly username: string; readonly password: string };
  /** The engine's own configuration file, for clusters and macros. */
  readonly configFile?: string;
  /** Ends this process at once; without it the faults `kill_…` cannot be had. */
  readonly kill?: () => void;
}

export interface ClickHouseFront {
  readonly url: string;
  readonly port: number;
  /** Asked for every request that no rule serves, with its statement; settable. */
  fault: (sql: string) => FrontFault;
  addRule(rule: FrontRule): void;
  clearRules(): void;
  /** Settable. */
  login: FrontOptions['login'];
  /** The statements that ran, in order. */
  readonly statements: string[];
  /** How many statements with the fault `late_…` have run. */
  lateCount: number;
  /** The query parameters and headers of the last request. */
  readonly last: { search: URLSearchParams; headers: IncomingMessage['headers'] };
  close(): Promise<void>;
}

/** `POST` a rule (JSON) to add it, `DELETE` to remove all, `GET` for how many still wait for a statement. */
export const FAULTS_PATH = '/weir-front/faults';

/** Settings that only the HTTP layer of a server knows. */
const NOT_ENGINE = new Set(
  'query database default_format query_id session_id wait_end_of_query cancel_http_readonly_queries_on_client_close enable_http_compression send_progress_in_http_headers http_headers_progress_interval_ms'.split(
    ' ',
  ),
);
const TAG = 'weirfrontexctag1';
const MADE_UP_CODE = 241;

interface Result {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

type FrontState = Omit<ClickHouseFront, 'close' | 'url' | 'port' | 'addRule' | 'clearRules'>;

export async function startClickHouseFront(folder: string, options: FrontOptions = {}): Promise<ClickHouseFront> {
  const engine = await openEmbeddedEngine(folder, undefined, options.configFile);
  const rules = createRules();
  /** Statements that meet a fault at this moment. */
  const ruledNow = new Set<Promise<void>>();
  const gatherer = createGatherer((sql, search) => run(engine, { sql, search }));
  const state: FrontState = {
    fault: () => 'none',
    login: options.login,
    statements: [],
    lateCount: 0,
    last: { search: new URLSearchParams(), headers: {} },
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://front');
    if (url.pathname === '/ping') return void response.end('Ok.\n');
    const body = await readBody(request);
    if (url.pathname === FAULTS_PATH) {
      if (request.method === 'GET') return void response.end(String(rules.left()));
      if (request.method === 'DELETE') await clearRules();
      else rules.add(JSON.parse(body));
      return void response.end();
    }
    const inUrl = url.searchParams.get('query') ?? '';
    const sql = inUrl === '' ? body : `${inUrl}\n${body}`;
    state.last.search = url.searchParams;
    state.last.headers = request.headers;
    if (!isLoggedIn(request, state.login)) return send(response, madeUp(516, 403));
    if (gatherer.take(url.searchParams, body)) return void response.end();
    const ruled = rules.next(sql);
    const exchange = { sql, search: url.searchParams, request, response };
    const behaved = behave(ruled === 'none' ? state.fault(sql) : ruled, exchange);
    if (ruled !== 'none') {
      ruledNow.add(behaved);
      behaved.finally(() => ruledNow.delete(behaved)).catch(() => undefined);
    }
    await behaved;
  }

  /** From then on nothing more goes wrong, also in what is under way: a fault may kill the process when its statement ends. */
  async function clearRules(): Promise<void> {
    rules.clear();
    await Promise.allSettled(ruledNow);
  }

  async function behave(fault: FrontFault, exchange: Exchange): Promise<void> {
    const { request, response } = exchange;
    const [name, number] = split(fault);
    if (name === 'drop_before') return void request.socket.destroy();
    if (name === 'hang_before') return;
    if (name === 'kill_before') return kill();
    if (name === 'status') return send(response, { status: number, headers: {}, body: Buffer.from('a proxy speaks') });
    if (name === 'code') return send(response, madeUp(number, 500));
    if (name === 'trailer_before') return send(response, withTrailer(OK));
    if (name === 'late') await Bun.sleep(number);
    const running = run(engine, exchange);
    if (name === 'kill_during') setImmediate(kill);
    const result = await running;
    state.statements.push(exchange.sql);
    if (name === 'late') state.lateCount++;
    if (name === 'drop_after') return void request.socket.destroy();
    if (name === 'hang_after') return;
    if (name === 'kill_after') return kill();
    if (name === 'truncate') return cutOff(response, result);
    send(response, name === 'trailer_after' ? withTrailer(result) : result);
  }

  function kill(): void {
    if (options.kill === undefined) throw new Error('only a process of its own can be killed');
    options.kill();
  }

  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch((error) => response.destroy(error));
  };
  const server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    addRule: rules.add,
    clearRules: rules.clear,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await gatherer.close();
      await engine.client.close();
      await engine.close();
    },
  });
}

interface Exchange {
  readonly sql: string;
  readonly search: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

const OK: Result = { status: 200, headers: {}, body: Buffer.alloc(0) };

/** `status_502` → `status` and 502. */
function split(fault: FrontFault): [string, number] {
  const found = /^(status|code|late)_(\d+)$/.exec(fault);
  return found ? [String(found[1]), Number(found[2])] : [fault, 0];
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  switch (request.headers['content-encoding']) {
    case 'gzip':
      return gunzipSync(bytes).toString();
    case 'zstd':
      return zstdDecompressSync(bytes).toString();
    case 'br':
      return brotliDecompressSync(bytes).toString();
    default:
      return bytes.toString();
  }
}

function isLoggedIn({ headers }: IncomingMessage, login: FrontOptions['login']): boolean {
  if (login === undefined) return true;
  const { username, password } = login;
  if (headers.authorization === `Basic ${btoa(`${username}:${password}`)}`) return true;
  return headers['x-clickhouse-user'] === username && headers['x-clickhouse-key'] === password;
}

function madeUp(code: number, status: number): Result {
  const headers = { 'X-ClickHouse-Exception-Code': String(code) };
  return { status, headers, body: Buffer.from(exceptionText(code)) };
}

function withTrailer(result: Result): Result {
  const half = result.body.subarray(0, Math.floor(result.body.length / 2));
  const body = Buffer.concat([half, Buffer.from(exceptionTrailer(MADE_UP_CODE, TAG))]);
  return { status: 200, headers: { ...result.headers, 'X-ClickHouse-Exception-Tag': TAG }, body };
}

function send(response: ServerResponse, { status, headers, body }: Result): void {
  response.writeHead(status, headers);
  response.end(body);
}

/** Chunked, so that only the missing end says that something is missing. */
function cutOff(response: ServerResponse, { status, headers, body }: Result): void {
  response.writeHead(status, headers);
  response.write(body.subarray(0, Math.max(1, Math.floor(body.length / 2))), () => response.destroy());
}

async function run(engine: EmbeddedEngine, { sql, search }: Pick<Exchange, 'sql' | 'search'>): Promise<Result> {
  const session = engine.openSession();
  const format = search.get('default_format') ?? 'TabSeparated';
  try {
    const database = search.get('database');
    if (database && database !== 'default') session.query(`USE ${database}`);
    const settings = [...search].filter(([name]) => !NOT_ENGINE.has(name) && name !== 'readonly');
    const readonly = search.get('readonly');
    if (readonly !== null) settings.push(['readonly', readonly]);
    for (const [name, value] of settings) {
      session.query(`SET ${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`);
    }
    const result = await session.queryAsync(sql, { format });
    const summary = JSON.stringify({ read_rows: String(result.rowsRead), read_bytes: String(result.bytesRead) });
    const headers = {
      'X-ClickHouse-Format': format,
      'X-ClickHouse-Summary': summary,
      'X-ClickHouse-Query-Id': search.get('query_id') ?? '',
    };
    return { status: 200, headers, body: Buffer.from(result.bytes()) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = /Code: (\d+)/.exec(message)?.[1] ?? '1001';
    const status = code === '60' ? 404 : code === '62' ? 400 : 500;
    const headers = { 'X-ClickHouse-Exception-Code': code };
    return { status, headers, body: Buffer.from(message.slice(message.indexOf('Code:'))) };
  } finally {
    session.close();
  }
}
