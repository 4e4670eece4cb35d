/**
 * What came back over HTTP, told apart: a result that is whole, an exception (as a status, at the end of a 200, or in
 * place of a result), or something that is neither, such as a proxy's page or an answer that was cut off.
 */

/** Begins and ends an exception in mid-stream: https://clickhouse.com/docs/interfaces/http */
const MARKER = '__exception__';

/** The engine reported an error. `type` is its name, such as `UNKNOWN_TABLE`. */
export class EngineFailure extends Error {
  readonly code: number;
  readonly type: string;
  constructor(code: number, type: string, message: string) {
    super(message);
    this.name = 'EngineFailure';
    this.code = code;
    this.type = type;
  }
}

/** Somebody answered with an error status, and it was not the engine. */
export class ForeignAnswer extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(status: number, retryAfterMs: number | undefined) {
    super(`HTTP status ${status} without an exception of ClickHouse: a proxy, or another service, answered.`);
    this.name = 'ForeignAnswer';
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** An answer that ended too early, grew too long or cannot be read: it says nothing. */
export class BrokenAnswer extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'BrokenAnswer';
  }
}

/** As the client gives it when it is told to leave errors to us. */
export interface RawAnswer {
  readonly stream: AsyncIterable<unknown>;
  readonly response_headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly http_status_code?: number | undefined;
}

/** Reads the whole body. Throws `BrokenAnswer` past the limit, and what the connection threw when it broke. */
export async function readBody(answer: RawAnswer, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer.stream) {
    const buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as string | Uint8Array);
    bytes += buffer.length;
    if (bytes > bytesMax) throw new BrokenAnswer(`The answer of ClickHouse is longer than ${bytesMax} bytes.`);
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString();
}

/** Throws `EngineFailure` or `ForeignAnswer` for an answer whose status or headers say that it is an error. */
export function throwIfError(answer: RawAnswer, body: string): void {
  const code = Number(header(answer, 'x-clickhouse-exception-code') ?? 0);
  const status = answer.http_status_code ?? 200;
  // The header's number goes before the text, which may quote what a client sent.
  if (code > 0) throw new EngineFailure(code, exceptionType(body) ?? `CODE_${code}`, body);
  if (status < 400) return;
  throw findException(body) ?? new ForeignAnswer(status, retryAfterMs(answer));
}

/** Throws `EngineFailure` when an answer that should be empty ends in an exception. */
export function throwIfException(body: string): void {
  const failure = findException(body);
  if (failure) throw failure;
}

/**
 * The rows of a JSONCompact or JSONCompactStrings document. Only a document that is whole counts: one that was cut
 * off, or that an exception ends, would pass for a table with fewer rows.
 */
export function readRows(body: string): unknown[][] {
  let document: { data?: unknown; rows?: unknown; exception?: unknown };
  try {
    document = JSON.parse(body);
  } catch (cause) {
    throw findException(body) ?? new BrokenAnswer('The answer of ClickHouse is not whole.', { cause });
  }
  const { data, rows, exception } = document;
  if (typeof exception === 'string') throw findException(exception) ?? new BrokenAnswer('The answer is an exception.');
  if (!Array.isArray(data) || data.length !== rows) throw new BrokenAnswer('The answer of ClickHouse is not a result.');
  return data;
}

/** In mid-stream an exception follows a marker; older servers append it as it is. */
function findException(body: string): EngineFailure | undefined {
  const text = body.slice(Math.max(0, body.lastIndexOf(`${MARKER}\r\n`, body.lastIndexOf(MARKER) - 1)));
  const found = /Code: (\d+)[.,][\s\S]*?Exception: /.exec(text);
  if (!found) return undefined;
  return new EngineFailure(Number(found[1]), exceptionType(text) ?? `CODE_${found[1]}`, text.slice(found.index));
}

/** `… (UNKNOWN_TABLE) (version 26.7.2.1)`: the last name in brackets. */
export function exceptionType(text: string): string | undefined {
  return [...text.matchAll(/\(([A-Z][A-Z0-9_]{2,})\)(?=\s|$)/g)].at(-1)?.[1];
}

function header({ response_headers }: RawAnswer, name: string): string | undefined {
  const value = response_headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function retryAfterMs(answer: RawAnswer): number | undefined {
  const seconds = Number(header(answer, 'retry-after'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : undefined;
}
