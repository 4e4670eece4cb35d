/**
 * A stand-in for a ClickHouse server: the real engine behind a small HTTP front that speaks ClickHouse's conventions
 * for reads and writes. A real engine and real HTTP, not a real server; faults are injected here.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openEmbeddedEngine } from './store-embedded.ts';

/**
 * What goes wrong with a request: the connection ends before or after the statement ran, or a proxy answers 502. Or it
 * is only observed (`none`).
 */
export type FrontFault = 'none' | 'drop_before' | 'drop_after' | 'bad_gateway';

export interface ClickHouseFront {
  readonly url: string;
  /** Asked for every request, with its statement; settable. */
  fault: (sql: string) => FrontFault;
  /** The statements that ran, in order. */
  readonly statements: string[];
  /** The query parameters and headers of the last request. */
  readonly last: { search: URLSearchParams; headers: IncomingMessage['headers'] };
  close(): Promise<void>;
}

/** Settings that only the HTTP layer of a server knows. */
const NOT_ENGINE = new Set(
  'query database default_format query_id session_id wait_end_of_query cancel_http_readonly_queries_on_client_close enable_http_compression send_progress_in_http_headers http_headers_progress_interval_ms'.split(
    ' ',
  ),
);

export async function startClickHouseFront(folder: string): Promise<ClickHouseFront> {
  const engine = await openEmbeddedEngine(folder);
  const front: Omit<ClickHouseFront, 'close' | 'url'> = {
    fault: () => 'none',
    statements: [],
    last: { search: new URLSearchParams(), headers: {} },
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://front');
    if (url.pathname === '/ping') return void response.end('Ok.\n');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const inUrl = url.searchParams.get('query') ?? '';
    const sql = inUrl === '' ? body : `${inUrl}\n${body}`;
    front.last.search = url.searchParams;
    front.last.headers = request.headers;
    const fault = front.fault(sql);
    if (fault === 'drop_before') return void request.socket.destroy();
    if (fault === 'bad_gateway') {
      response.writeHead(502);
      return void response.end('Bad Gateway');
    }
    const result = await run(sql, url.searchParams);
    front.statements.push(sql);
    if (fault === 'drop_after') return void request.socket.destroy();
    response.writeHead(result.status, result.headers);
    response.end(result.body);
  }

  async function run(sql: string, search: URLSearchParams) {
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
      return {
        status: 200,
        headers: {
          'X-ClickHouse-Format': format,
          'X-ClickHouse-Summary': summary,
          'X-ClickHouse-Query-Id': search.get('query_id') ?? '',
        },
        body: Buffer.from(result.bytes()),
      };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const code = /Code: (\d+)/.exec(message)?.[1] ?? '1001';
      const status = code === '60' ? 404 : code === '62' ? 400 : 500;
      return {
        status,
        headers: { 'X-ClickHouse-Exception-Code': code },
        body: Buffer.from(message.slice(message.indexOf('Code:'))),
      };
    } finally {
      session.close();
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.destroy(error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(front, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await engine.client.close();
      await engine.close();
    },
  });
}
