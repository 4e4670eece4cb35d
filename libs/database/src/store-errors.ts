/** What an error of ClickHouse means for a block of rows: which of the pipeline's remedies applies. */
import { Overloaded, Permanent, Retryable } from '@libs/pipeline';

/** An error that the engine itself reported, by number, as in `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`. */
export interface EngineError {
  readonly code: number;
  readonly type: string;
  /** One line, without the values of any event. */
  readonly message: string;
  /** The row that could not be read, counted from 1 within the bytes that were sent. */
  readonly row?: number;
}

type Remedy = 'data' | 'setup' | 'overloaded' | 'unknown';

/**
 * Codes after which nothing was stored, by remedy. Every other code counts as "may have been stored": being wrong in
 * that direction costs one SELECT. https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
 */
const REMEDIES: ReadonlyMap<number, Remedy> = new Map(
  Object.entries({
    // The rows themselves: 6 CANNOT_PARSE_TEXT, 25–27 escape sequence, quoted string, input assertion, 34 and 35 names,
    // 38 date, 41 date and time, 53 TYPE_MISMATCH, 69 and 321 ranges, 70 CANNOT_CONVERT_TYPE, 72 number,
    // 117 INCORRECT_DATA (an unknown field, too), 130, 131 arrays and strings, 349 NULL in an ordinary column,
    // 376 UUID, 467 BOOL, 469 VIOLATED_CONSTRAINT, 675, 676 IP addresses, 691 UNKNOWN_ELEMENT_OF_ENUM.
    data: [6, 25, 26, 27, 34, 35, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349, 376, 467, 469, 675, 676, 691],
    // Somebody has to change something, but not the rows: 16, 47 columns, 60 table, 62 syntax, 73 format, 81 database,
    // 115 setting, 164 READONLY, 192–194 and 516 login, 242 TABLE_IS_READ_ONLY, 497 ACCESS_DENIED.
    setup: [16, 47, 60, 62, 73, 81, 115, 164, 192, 193, 194, 242, 497, 516],
    // 201 quota, 202 too many queries, 241 memory, 243 NOT_ENOUGH_SPACE, 252 TOO_MANY_PARTS, 439 CANNOT_SCHEDULE_TASK.
    overloaded: [201, 202, 241, 243, 252, 439],
  } satisfies Partial<Record<Remedy, number[]>>).flatMap(([remedy, codes]) =>
    codes.map((code): [number, Remedy] => [code, remedy as Remedy]),
  ),
);

/** Waits that give merges, memory or a disk time to recover. */
const OVERLOADED_AFTER_MS = 2_000;
/** Errors of the network after which no byte of a request can have arrived. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ConnectionRefused',
]);

/** Reads the engine's code, type and row out of what a client threw; undefined when the engine did not say it. */
export function readEngineError(error: unknown): EngineError | undefined {
  const text = error instanceof Error ? error.message : String(error);
  const row = Number(/\(at row (\d+)\)/.exec(text)?.[1]);
  const located = Number.isSafeInteger(row) && row > 0 ? { row } : {};
  const fields = error as { code?: unknown; type?: unknown } | null | undefined;
  if (fields && typeof fields.type === 'string' && /^\d+$/.test(String(fields.code))) {
    return { code: Number(fields.code), type: fields.type, message: withoutValues(text), ...located };
  }
  const coded = /Code: (\d+)\. DB::\w*Exception: ([\s\S]*)/.exec(text);
  if (!coded) return undefined;
  const type = /\(([A-Z][A-Z0-9_]+)\)\s*$/.exec(text)?.[1] ?? 'UNKNOWN';
  return { code: Number(coded[1]), type, message: withoutValues(coded[2] ?? ''), ...located };
}

/** The engine quotes the bytes that it stumbled over: event text, which has no business in a log. */
function withoutValues(text: string): string {
  const flat = text.replace(/before: '[\s\S]*'(?=: )/, 'before: …').replace(/\s+/g, ' ');
  return flat
    .replace(/'(?:[^'\\]|\\.){40,}'/g, "'…'")
    .trim()
    .slice(0, 500);
}

/**
 * Turns what a client threw while a block was being inserted into one of the pipeline's errors. `rowSeq` finds the
 * sequence number of a row by its number within the block.
 */
export function insertError(error: unknown, rowSeq: (row: number) => number | undefined): Error {
  const found = readEngineError(error);
  if (!found) return transportError(error);
  const { code, type, message } = found;
  const name = `clickhouse_${type.toLowerCase()}`;
  // One insert over too many days and a table with too many parts share code 252: only the second goes away by waiting.
  const tooManyDays = code === 252 && /single INSERT block/i.test(message);
  const remedy = tooManyDays ? 'data' : (REMEDIES.get(code) ?? 'unknown');
  const sentence = `ClickHouse ${code} ${type}: ${message}`;
  switch (remedy) {
    case 'data': {
      const seq = found.row === undefined ? undefined : rowSeq(found.row);
      return new Permanent(name, seq === undefined ? sentence : `The row with seq ${seq} is refused. ${sentence}`, {
        cause: error,
      });
    }
    case 'overloaded':
      return new Overloaded(name, sentence, OVERLOADED_AFTER_MS, { cause: error });
    case 'setup':
      return new Retryable(name, sentence, { cause: error });
    default:
      return new Retryable(name, sentence, { cause: error, ambiguous: true });
  }
}

/** What a lost or refused connection means. Only when nothing can have been sent is it certain that nothing is stored. */
export function transportError(error: unknown): Retryable {
  const code = String((error as { code?: unknown } | null | undefined)?.code ?? '');
  const message = error instanceof Error ? error.message : String(error);
  return new Retryable('store_unreachable', `The store did not answer: ${message.slice(0, 300)}`, {
    cause: error,
    ambiguous: !NEVER_SENT.has(code),
  });
}

/** For calls that change nothing: always worth trying again, never ambiguous. */
export function readError(error: unknown): Retryable {
  const found = readEngineError(error);
  if (!found) {
    const unreachable = transportError(error);
    return new Retryable(unreachable.code, unreachable.message, { cause: error });
  }
  return new Retryable(
    `clickhouse_${found.type.toLowerCase()}`,
    `ClickHouse ${found.code} ${found.type}: ${found.message}`,
    { cause: error },
  );
}
