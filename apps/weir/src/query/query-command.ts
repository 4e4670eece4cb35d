/** `weir query`: a table for people, ClickHouse's own formats for machines. */
import { CommandError, EXIT_CODE, type ExitCode } from '../exit-code.ts';
import { readLines } from '../import/lines.ts';
import { type Reply, readServiceError, type Service } from '../service.ts';
import { printable, type Terminal } from '../terminal.ts';
import { type Cell, parseTabSeparated } from './tab-separated.ts';
import { formatTable, type Table } from './table.ts';

export interface QueryCommandOptions {
  readonly sql: string;
  /** A ClickHouse format whose bytes are passed on untouched; undefined: a table. */
  readonly format: string | undefined;
  /** Values for `{name:Type}` in the statement. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Columns of the terminal that a cell may take; 0: never cut. */
  readonly cellColumnsMax: number;
}

const TABLE_FORMAT = 'TabSeparatedWithNamesAndTypes';
/** A table is aligned over all its rows, so these are held in memory. */
const TABLE_ROWS_MAX = 1_000;
/** A longer line of the answer ends the table with an error that names `--format`. */
const LINE_BYTES_MAX = 16 * 1_048_576;

/** Throws `CommandError` with the service's words when the statement is refused or fails. */
export async function runQueryCommand(
  options: QueryCommandOptions,
  service: Service,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<ExitCode> {
  const search = new URLSearchParams({ default_format: options.format ?? TABLE_FORMAT });
  for (const [name, value] of options.parameters) search.set(`param_${name}`, value);
  const init = { method: 'POST', headers: { 'content-type': 'text/plain; charset=utf-8' }, body: options.sql };
  const reply = await service.request(`/query?${search}`, init, stop);
  if (reply.status !== 200) throw refused(reply.status, await reply.text());
  // The statement's own FORMAT clause goes before ours, and then its bytes are what was asked for.
  const format = reply.headers.get('x-clickhouse-format') ?? options.format ?? TABLE_FORMAT;
  if (options.format !== undefined || format !== TABLE_FORMAT) {
    for await (const chunk of reply.chunks()) await terminal.out(chunk);
    return EXIT_CODE.ok;
  }
  await terminal.out(formatTable(await readTable(reply), options.cellColumnsMax));
  return EXIT_CODE.ok;
}

function refused(status: number, body: string): CommandError {
  const { code, message } = readServiceError(status, body);
  return new CommandError(EXIT_CODE.failed, code, printable(message).replaceAll('\\n', '\n'));
}

async function readTable(reply: Reply): Promise<Table> {
  let names: string[] | undefined;
  let types: string[] | undefined;
  const rows: Cell[][] = [];
  let rowCount = 0;
  for await (const lines of readLines(reply.chunks(), { lineBytesMax: LINE_BYTES_MAX })) {
    for (const line of lines) {
      if ('code' in line) throw unshowable(line.message);
      const text = line.text;
      if (names === undefined) names = textsOf(parseTabSeparated(text));
      else if (types === undefined) types = textsOf(parseTabSeparated(text));
      else {
        rowCount++;
        if (text.split('\t').length !== names.length) throw brokenOff(text);
        if (rows.length < TABLE_ROWS_MAX) rows.push(parseTabSeparated(text));
      }
    }
  }
  return { names: names ?? [], types: types ?? [], rows, rowCount };
}

function textsOf(cells: readonly Cell[]): string[] {
  return cells.map((cell) => cell ?? '');
}

function unshowable(message: string): CommandError {
  return new CommandError(EXIT_CODE.failed, 'unshowable', `The answer is no table (${message}): add --format.`);
}

/** An exception in mid-answer arrives behind the rows that were sent before it. */
function brokenOff(text: string): CommandError {
  return new CommandError(
    EXIT_CODE.failed,
    'query_failed',
    `The query failed while it was answered: ${printable(text)}`,
  );
}
