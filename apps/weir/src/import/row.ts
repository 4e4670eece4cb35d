/** One row of an input, whatever its format. */

/** Why a row cannot be an event: the same shape as the service's own rejections. */
export interface Rejection {
  readonly code: string;
  /** The column, key or event field that is at fault; empty when it is the row as a whole. */
  readonly field: string;
  readonly message: string;
}

/** Rejects the row it is thrown in. */
export class RowError extends Error {
  readonly rejection: Rejection;
  constructor(code: string, field: string, message: string) {
    super(message);
    this.rejection = { code, field, message };
  }
}

interface RowBase {
  /** Physical line (CSV, NDJSON; where the row begins) or place in the array (JSON); from 1. */
  readonly number: number;
  /** The row as it was read, without its line end; cut to a bound when it is broken. */
  readonly raw: string;
}

export type Row =
  | (RowBase & { readonly kind: 'cells'; readonly cells: readonly string[] })
  | (RowBase & { readonly kind: 'json' })
  | (RowBase & { readonly kind: 'bad'; readonly rejection: Rejection });

/** Rows in the order of the input, in groups as they arrive. */
export type Rows = AsyncIterable<readonly Row[]>;

/** Raw text that is kept of a broken row, in characters. */
const BAD_ROW_CHARACTERS_MAX = 4096;

export function badRow(number: number, raw: string, code: string, message: string, field = ''): Row {
  return { kind: 'bad', number, raw: raw.slice(0, BAD_ROW_CHARACTERS_MAX), rejection: { code, field, message } };
}
