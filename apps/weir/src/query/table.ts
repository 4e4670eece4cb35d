/** Rows as a table for people. */
import { formatCount, printable } from '../terminal.ts';
import type { Cell } from './tab-separated.ts';

export interface Table {
  readonly names: readonly string[];
  readonly types: readonly string[];
  /** The first rows; `rowCount` may be more. */
  readonly rows: readonly (readonly Cell[])[];
  readonly rowCount: number;
}

const NUMERIC = /^(?:Nullable\()?(?:U?Int|Float|BFloat|Decimal)/;
const GAP = '  ';

/** `cellColumnsMax`: wider cells are cut with … (0: never). */
export function formatTable(table: Table, cellColumnsMax: number): string {
  const shown = (cell: Cell | undefined) => cut(cell === null ? 'NULL' : printable(cell ?? ''), cellColumnsMax);
  const right = table.types.map((type) => NUMERIC.test(type));
  const body = table.rows.map((row) => table.names.map((_name, index) => shown(row[index])));
  const head = [table.names.map(shown), table.types.map(shown)];
  const widths = table.names.map((_name, index) =>
    [...head, ...body].reduce((widest, row) => Math.max(widest, Bun.stringWidth(row[index] ?? '')), 0),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => pad(cell, widths[index] ?? 0, right[index] === true))
      .join(GAP)
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width)).join(GAP);
  return `${[...head.map(line), rule, ...body.map(line), footer(table)].join('\n')}\n`;
}

function footer({ rows, rowCount }: Table): string {
  const count = `${formatCount(rowCount)} row${rowCount === 1 ? '' : 's'}`;
  if (rows.length === rowCount) return `(${count})`;
  return `(${count}; the first ${formatCount(rows.length)} are shown: add LIMIT, or --format for all of them)`;
}

function pad(text: string, width: number, right: boolean): string {
  const blanks = ' '.repeat(Math.max(0, width - Bun.stringWidth(text)));
  return right ? blanks + text : text + blanks;
}

function cut(text: string, columnsMax: number): string {
  if (columnsMax === 0 || text.length <= columnsMax / 2 || Bun.stringWidth(text) <= columnsMax) return text;
  let width = 0;
  let kept = '';
  for (const character of text) {
    width += Bun.stringWidth(character);
    if (width > columnsMax - 1) break;
    kept += character;
  }
  return `${kept}…`;
}
