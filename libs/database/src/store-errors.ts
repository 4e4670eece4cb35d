/** What an error of ClickHouse means for a block of rows: which of the pipeline's remedies applies. */
import { Overloaded, Permanent, Retryable } from '@libs/pipeline';
import { exceptionType, ForeignAnswer } from './store-answer.ts';

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
 * that direction costs one SELECT. Among those are what a replicated table says when it loses its Keeper in the middle
 * of a commit: 225 NO_ZOOKEEPER, 242 TABLE_IS_READ_ONLY, 286 and 319 quorum and unknown status, 999 KEEPER_EXCEPTION.
 * https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
 */
const REMEDIES: ReadonlyMap<number, Remedy> = new Map(
  Object.entries({
    // The rows themselves: 6 CANNOT_PARSE_TEXT, 25–27 escape sequence, quoted string, input assertion, 34 and 35 names,
    // 38 date, 41 date and time, 53 TYPE_MISMATCH, 69 and 321 ranges, 70 CANNOT_CONVERT_TYPE, 72 number,
    // 117 INCORRECT_DATA (an unknown field, too), 130, 131 arrays and strings, 349 NULL in an ordinary column,
    // 376 UUID, 467 BOOL, 469 VIOLATED_CONSTRAINT, 675, 676 IP addresses, 691 UNKNOWN_ELEMENT_OF_ENUM.
    data: [6, 25, 26, 27, 34, 35, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349, 376, 467, 469, 675, 676, 691],
    // Somebody has to change something, but not the rows: 16, 47 columns, 60 table, 62 syntax, 73 format, 81 database,
    // 115 setting, 164 READONLY, 192–195 and 516 login, 452 a setting that the profile forbids, 497 ACCESS_DENIED.
    setup: [16, 47, 60, 62, 73, 81, 115, 164, 192, 193, 194, 195, 452, 497, 516],
    // 201 quota, 202 too many queries, 241 memory, 243 NOT_ENOUGH_SPACE, 252 TOO_MANY_PARTS, 439 CANNOT_SCHEDULE_TASK.
    overloaded: [201, 202, 241, 243, 252, 439],
  } satisfies Partial<Record<Remedy, number[]>>).flatMap(([remedy, codes]) =>
    codes.map((code): [number, Remedy] => [code, remedy as Remedy]),
  ),
);

/**
 * Those of them that may come between two parts of one insert (a block over midnight makes one a day): the next
 * attempt has to look at what is there.
 */
const IN_MID_INSERT: ReadonlySet<number> = new Set([241, 243, 439]);

/** The first wait that gives merges, memory or a disk time to recover; the sink lets it grow. */
export const OVERLOADED_AFTER_MS = 2_000;
/** Errors of the network after which no byte of a request can have arrived. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ConnectionRefused',
]);
/** Certificates are checked before the first byte of a request. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|ALTNAME|HOSTNAME_MISMATCH/;
/** Refusals of a proxy in front of the server, which then has seen nothing: login, path, size. */
const PROXY_REFUSALS: ReadonlyMap<number, string> = new Map([
  [401, 'it asks for another login'],
  [403, 'it refuses the login or the address'],
  [404, 'it does not know the path'],
  [405, 'it does not take POST'],
  [413, 'it does not take blocks of this size: raise its limit, or lower BLOCK_BYTES_MAX'],
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
  const coded = /Code: (\d+)[.,] DB::\w*Exception: ([\s\S]*)/.exec(text);
  if (!coded) return undefined;
  const type = exceptionType(text) ?? 'UNKNOWN';
  return { code: Number(coded[1]), type, message: withoutValues(coded[2] ?? ''), ...located };
}

/** The engine quotes the bytes that it stumbled over: event text, which has no business in a log. */
function withoutValues(text: string): string {
  const flat = text
    .replace(/^Code: \d+[.,] DB::\w*Exception: /, '')
    .replace(/before: '[\s\S]*'(?=: )/, 'before: …')
    .replace(/\s+/g, ' ');
  return flat
    .replace(/'(?:[^'\\]|\\.){40,}'/g, "'…'")
    .trim()
    .slice(0, 500);
}

/** True when an error says that nothing was stored and yet an insert of several parts may have stored some. */
export function mayBePartial(error: unknown): boolean {
  const found = error instanceof Overloaded ? readEngineError(error.cause) : undefined;
  return found !== undefined && IN_MID_INSERT.has(found.code);
}

/**
 * Turns what a client threw while a block was being inserted into one of the pipeline's errors. `rowSeq` finds the
 * sequence number of a row by its number within the block. `Permanent` always concerns the rows, and says that none
 * of them is stored; what an operator has to put right (a login, rights, a missing table) is `Retryable`, because
 * events wait in the journal until he has.
 */
export function insertError(error: unknown, rowSeq: (row: number) => number | undefined): Error {
  const found = readEngineError(error);
  if (!found) return error instanceof ForeignAnswer ? proxyError(error) : transportError(error);
  const { code, type, message } = found;
  const name = `clickhouse_${type.toLowerCase()}`;
  // One insert over too many days and a table with too many parts share code 252: only the second goes away by waiting.
  const tooManyDays = code === 252 && /single INSERT block/i.test(message);
  const remedy = tooManyDays ? 'data' : (REMEDIES.get(code) ?? 'unknown');
  const sentence = `ClickHouse ${code} ${type}: ${message}`;
  switch (remedy) {
    case 'data': {
      const seq = found.row === undefined ? undefined : rowSeq(found.row);
      const text = seq === undefined ? sentence : `The row with seq ${seq} is refused. ${sentence}`;
      return new Permanent(name, text, { cause: error, scope: 'rows' });
    }
    case 'overloaded':
      return new Overloaded(name, sentence, OVERLOADED_AFTER_MS, { cause: error });
    case 'setup':
      return new Retryable(name, sentence, { cause: error });
    default:
      return new Retryable(name, sentence, { cause: error, ambiguous: true });
  }
}

function proxyError(error: ForeignAnswer): Error {
  const { status, retryAfterMs } = error;
  const refusal = PROXY_REFUSALS.get(status);
  const text = `The store's HTTP side answered ${status}${refusal === undefined ? '' : `: ${refusal}`}.`;
  if (status === 429) return new Overloaded('store_busy', text, retryAfterMs ?? OVERLOADED_AFTER_MS, { cause: error });
  return new Retryable('store_refused', text, { cause: error, ambiguous: refusal === undefined });
}

/** What a lost or refused connection means. Only when nothing can have been sent is it certain that nothing is stored. */
export function transportError(error: unknown): Retryable {
  const code = String((error as { code?: unknown } | null | undefined)?.code ?? '');
  const message = error instanceof Error ? error.message : String(error);
  return new Retryable('store_unreachable', `The store did not answer: ${message.slice(0, 300)}`, {
    cause: error,
    ambiguous: !neverSent(code),
  });
}

function neverSent(code: string): boolean {
  return NEVER_SENT.has(code) || CERTIFICATE.test(code);
}

/** For calls that change nothing: always worth trying again, never ambiguous. */
export function readError(error: unknown): Retryable {
  const found = readEngineError(error);
  if (found) {
    const { code, type, message } = found;
    return new Retryable(`clickhouse_${type.toLowerCase()}`, `ClickHouse ${code} ${type}: ${message}`, {
      cause: error,
    });
  }
  const { code, message } = error instanceof ForeignAnswer ? (proxyError(error) as Retryable) : transportError(error);
  return new Retryable(code, message, { cause: error });
}

/** The host cannot be reached at all, so that another one may be asked. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof Retryable && error.code === 'store_unreachable';
}
