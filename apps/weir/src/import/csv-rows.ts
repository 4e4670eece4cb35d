/**
 * CSV as RFC 4180 has it: quoted fields, doubled quotes, line breaks inside quotes, CRLF or LF.
 *
 * It is read line by line rather than by a library because of what must happen to a broken row: it alone is
 * rejected, with its line number, and the next line is read as if nothing had been. (csv-parse 7 drops everything
 * from a bad quote to the next fitting one, or to the end of the file, and from an overlong record to the end.)
 * A field whose quote is never closed reads on for `recordBytesMax` at most; then only its first line is rejected.
 */
import { CommandError, EXIT_CODE } from '../exit-code.ts';
import { type Line, readLines } from './lines.ts';
import { badRow, type Row, type Rows } from './row.ts';

export interface CsvOptions {
  readonly delimiter: string;
  readonly lineBytesMax: number;
  /** How far a quoted field may reach over line ends, in characters. */
  readonly recordCharactersMax: number;
}

export const CSV_DEFAULTS: CsvOptions = { delimiter: ',', lineBytesMax: 1_048_576, recordCharactersMax: 262_144 };

export type CsvRecord =
  | { readonly kind: 'record'; readonly cells: string[] }
  /** A quoted field goes on beyond the end of the text. */
  | { readonly kind: 'open' }
  | { readonly kind: 'bad'; readonly message: string };

/** Reads one record from text without its last line feed. */
export function parseCsvRecord(text: string, delimiter: string): CsvRecord {
  const end = text.endsWith('\r') ? text.length - 1 : text.length;
  const cells: string[] = [];
  let start = 0;
  for (;;) {
    if (start < end && text[start] === '"') {
      const close = findClosingQuote(text, start + 1);
      if (close < 0) return { kind: 'open' };
      if (close + 1 < end && text[close + 1] !== delimiter) {
        return { kind: 'bad', message: `field ${cells.length + 1} has text behind its closing quote` };
      }
      const inside = text.slice(start + 1, close);
      cells.push(inside.includes('"') ? inside.replaceAll('""', '"') : inside);
      start = close + 1;
    } else {
      const next = text.indexOf(delimiter, start);
      const stop = next < 0 || next > end ? end : next;
      const cell = text.slice(start, stop);
      if (cell.includes('"')) {
        return { kind: 'bad', message: `field ${cells.length + 1} has a quote in it but does not begin with one` };
      }
      cells.push(cell);
      start = stop;
    }
    if (start >= end) return { kind: 'record', cells };
    start++;
  }
}

function findClosingQuote(text: string, from: number): number {
  let at = text.indexOf('"', from);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}

function hasOddQuotes(text: string): boolean {
  let odd = false;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) odd = !odd;
  return odd;
}

/** The rows of a CSV input, and its header row, which is read first. */
export interface Csv {
  readonly header: readonly string[];
  readonly rows: Rows;
}

/** Reads the header. Throws `CommandError` (usage) when there is none that can be used. */
export async function openCsv(chunks: AsyncIterable<Uint8Array>, options: CsvOptions): Promise<Csv> {
  const groups = readRecords(chunks, options);
  for (;;) {
    const next = await groups.next();
    if (next.done === true) throw badHeader('The input is empty: a CSV file begins with a row of column names.');
    const [first, ...rest] = next.value;
    if (first === undefined) continue;
    const header = readHeader(first);
    return { header, rows: withColumnCount(header, rest, groups) };
  }
}

async function* withColumnCount(header: readonly string[], first: readonly Row[], groups: Rows): AsyncGenerator<Row[]> {
  yield first.map((row) => checkColumnCount(header, row));
  for await (const group of groups) yield group.map((row) => checkColumnCount(header, row));
}

function checkColumnCount(header: readonly string[], row: Row): Row {
  if (row.kind !== 'cells' || row.cells.length === header.length) return row;
  const message = `the row has ${row.cells.length} fields, the header has ${header.length}`;
  return badRow(row.number, row.raw, 'column_count', message);
}

function readHeader(row: Row): readonly string[] {
  if (row.kind !== 'cells') {
    throw badHeader(`The header row cannot be read: ${row.kind === 'bad' ? row.rejection.message : row.raw}.`);
  }
  const names = row.cells.map((name) => name.trim());
  const twice = names.filter((name, index) => name !== '' && names.indexOf(name) !== index);
  if (twice.length > 0) throw badHeader(`The header row names a column twice: ${[...new Set(twice)].join(', ')}.`);
  return names;
}

function badHeader(message: string): CommandError {
  return new CommandError(EXIT_CODE.usage, 'invalid_header', message);
}

async function* readRecords(chunks: AsyncIterable<Uint8Array>, options: CsvOptions): AsyncGenerator<Row[]> {
  const reader = createRecordReader(options);
  for await (const lines of readLines(chunks, options)) {
    const rows: Row[] = [];
    for (const line of lines) reader.push(line, rows);
    if (rows.length > 0) yield rows;
  }
  const rows: Row[] = [];
  reader.end(rows);
  if (rows.length > 0) yield rows;
}

/** Joins lines to records; a record that turns out to be broken gives back all its lines but the first. */
function createRecordReader({ delimiter, recordCharactersMax }: CsvOptions) {
  let held: { readonly number: number; readonly text: string }[] = [];
  let heldCharacters = 0;

  function push(line: Line, rows: Row[]): void {
    if ('code' in line) {
      // Nothing can be said of what lies behind it: what was still open ends here.
      giveUp(rows, 'the quote that opens a field is not closed before a line that cannot be read');
      rows.push(badRow(line.number, '', line.code, line.message));
      return;
    }
    if (held.length === 0 && (line.text === '' || line.text === '\r')) return;
    held.push(line);
    heldCharacters += line.text.length + 1;
    // A record is complete only with an even number of quotes, so a further line with an even number (none, mostly)
    // cannot end it. Without this a long quoted text would be read again for each of its lines.
    if (held.length === 1 || hasOddQuotes(line.text)) tryRecord(rows);
    if (heldCharacters > recordCharactersMax) {
      giveUp(rows, `the quote that opens a field is not closed within ${recordCharactersMax} characters`);
    }
  }

  function tryRecord(rows: Row[]): void {
    const first = held[0];
    if (first === undefined) return;
    const raw = held.length === 1 ? first.text : held.map((line) => line.text).join('\n');
    const record = parseCsvRecord(raw, delimiter);
    if (record.kind === 'open') return;
    if (record.kind === 'bad') return rejectFirst(rows, record.message);
    release();
    rows.push({ kind: 'cells', number: first.number, raw, cells: record.cells });
  }

  function rejectFirst(rows: Row[], message: string): void {
    const [first, ...rest] = held;
    release();
    if (first === undefined) return;
    rows.push(badRow(first.number, first.text, 'malformed_csv', message));
    for (const line of rest) push(line, rows);
  }

  function giveUp(rows: Row[], message: string): void {
    while (held.length > 0) rejectFirst(rows, message);
  }

  function release(): void {
    held = [];
    heldCharacters = 0;
  }

  return { push, end: (rows: Row[]) => giveUp(rows, 'the quote that opens a field is not closed') };
}
