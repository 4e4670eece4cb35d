/** Answers in the words of ClickHouse's HTTP interface. */
import type { QueryRefused } from './query-refused.ts';

const CONTENT_TYPES: readonly (readonly [RegExp, string])[] = [
  [
    /^JSON(?:Strings|Compact|CompactStrings)?EachRow|^JSONLines$|^NDJSON$|^JSON\w*EachRow\w*$/,
    'application/x-ndjson; charset=UTF-8',
  ],
  [/^JSON/, 'application/json; charset=UTF-8'],
  [/^(?:TabSeparated|TSV|Raw|LineAsString)/, 'text/tab-separated-values; charset=UTF-8'],
  [/^CSV.*WithNames/, 'text/csv; charset=UTF-8; header=present'],
  [/^CSV/, 'text/csv; charset=UTF-8; header=absent'],
  [/^(?:Pretty|Vertical|Values|Null$|SQLInsert|TSKV|CustomSeparated|Hash)/, 'text/plain; charset=UTF-8'],
  [/^Markdown$/, 'text/markdown; charset=UTF-8'],
  [/^XML$/, 'application/xml; charset=UTF-8'],
  [/^Prometheus$/, 'text/plain; version=0.0.4; charset=UTF-8'],
];

export function contentType(format: string): string {
  return CONTENT_TYPES.find(([pattern]) => pattern.test(format))?.[1] ?? 'application/octet-stream';
}

/**
 * Statuses by error code, as in ClickHouse's exceptionCodeToHTTPStatus; limits that the query itself ran into are its
 * sender's business and no fault of the server: 400.
 */
const STATUSES: ReadonlyMap<number, number> = new Map(
  Object.entries({
    400: [
      6, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 117, 130, 131, 153, 158, 179, 184, 190, 206, 215, 241, 307,
      386, 396, 427, 441, 456, 457,
    ],
    403: [164, 192, 193, 392, 497, 516],
    404: [16, 46, 47, 50, 56, 60, 63, 73, 81, 115],
    408: [159, 160],
    413: [336],
    501: [48],
    503: [202, 203, 209, 210, 394, 439],
  }).flatMap(([status, codes]) => codes.map((code): [number, number] => [code, Number(status)])),
);
const RETRY_AFTER_SECONDS = '1';

export function errorResponse(code: number, text: string, queryId?: string): Response {
  const status = STATUSES.get(code) ?? 500;
  const headers = new Headers({
    'Content-Type': 'text/plain; charset=UTF-8',
    'X-ClickHouse-Exception-Code': String(code),
  });
  if (queryId) headers.set('X-ClickHouse-Query-Id', queryId);
  if (status === 503) headers.set('Retry-After', RETRY_AFTER_SECONDS);
  return new Response(`${text}\n`, { status, headers });
}

export function refusalResponse(refused: QueryRefused, queryId?: string): Response {
  return errorResponse(
    refused.code,
    `Code: ${refused.code}. DB::Exception: ${refused.message} (${refused.type})`,
    queryId,
  );
}

/** `hidden` is a folder of this machine that no answer may show. */
export function engineErrorResponse(error: unknown, queryId: string, hidden: string): Response {
  const message = error instanceof Error ? error.message : String(error);
  const found = /Code: (\d+)\. DB::\w*Exception: [\s\S]*/.exec(message);
  if (!found) return errorResponse(1001, 'Code: 1001. DB::Exception: The engine failed. (STD_EXCEPTION)', queryId);
  return errorResponse(Number(found[1]), found[0].replaceAll(hidden, '…').trim(), queryId);
}

export function resultHeaders(format: string, queryId: string): Headers {
  return new Headers({
    'Content-Type': contentType(format),
    'X-ClickHouse-Format': format,
    'X-ClickHouse-Query-Id': queryId,
    'X-ClickHouse-Timezone': 'UTC',
  });
}

/** `elapsedSeconds`, rows and bytes as the engine counted them. */
export function summaryHeader(counts: { rowsRead: number; bytesRead: number; elapsedSeconds: number }): string {
  return JSON.stringify({
    read_rows: String(counts.rowsRead),
    read_bytes: String(counts.bytesRead),
    written_rows: '0',
    written_bytes: '0',
    total_rows_to_read: '0',
    result_rows: '0',
    result_bytes: '0',
    elapsed_ns: String(Math.round(counts.elapsedSeconds * 1e9)),
  });
}
