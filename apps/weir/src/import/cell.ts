/** One cell of a row (text in CSV, any value in JSON) turned into a value of an event. */
import { InexactNumber, isExact, parseExactly } from './exact-json.ts';
import type { ColumnRule } from './mapping.ts';
import { RowError } from './row.ts';

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const INTEGER = /^-?(0|[1-9]\d*)$/;
const SHOWN_CHARACTERS_MAX = 40;

export function isEmptyCell(value: unknown): value is '' | null | undefined {
  return value === undefined || value === null || value === '';
}

/**
 * Throws `RowError` when the cell cannot be what the mapping says. `json` is the value as it is in a JSON row, and the
 * JSON that stands in the cell in a CSV row (`isCsv`).
 */
export function convertCell(value: unknown, as: ColumnRule['as'], column: string, isCsv: boolean): unknown {
  if (as === 'text') return textOf(value, column);
  if (as === 'boolean') return booleanOf(value, column);
  if (as === 'json') return isCsv ? parseCell(textOf(value, column), column) : value;
  return numberOf(value, as, column);
}

/** The cell as text: numbers exactly as they were written. */
export function textOf(value: unknown, column: string): string {
  if (typeof value === 'string') return value;
  if (value instanceof InexactNumber) return value.source;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new RowError('invalid_text', column, 'an object or array cannot be text: map it with "as": "json"');
}

function numberOf(value: unknown, as: 'number' | 'integer', column: string): number {
  const text = textOf(value, column).trim();
  if (!(as === 'integer' ? INTEGER : NUMBER).test(text) && typeof value !== 'number') {
    throw new RowError(`invalid_${as}`, column, `"${shown(text)}" is no ${as}`);
  }
  const number = Number(text);
  if (as === 'integer' && !Number.isInteger(number)) {
    throw new RowError('invalid_integer', column, `"${shown(text)}" is no integer`);
  }
  if (!isExact(number)) {
    throw new RowError('number_out_of_range', column, `${shown(text)} cannot be kept exactly: map it as text`);
  }
  return number;
}

function booleanOf(value: unknown, column: string): boolean {
  if (typeof value === 'boolean') return value;
  const text = textOf(value, column).trim().toLowerCase();
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new RowError('invalid_boolean', column, `"${shown(text)}" is none of true, false, 1, 0`);
}

function parseCell(text: string, column: string): unknown {
  try {
    return parseExactly(text);
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new RowError('invalid_json', column, `the cell is no JSON: ${error.message}`);
    throw error;
  }
}

function shown(text: string): string {
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}
