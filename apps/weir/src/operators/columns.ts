/** Rows in aligned columns. */
import { formatCount, printable } from '../terminal.ts';

export type Value = string | number | undefined;

const GAP = '  ';

/** Numbers stand to the right with thousands separated; an absent value is a dash. What would steer a terminal is escaped. */
export function formatColumns(names: readonly string[], rows: readonly (readonly Value[])[]): string {
  const lines = [names, ...rows.map((row) => names.map((_, at) => shown(row[at])))];
  const isRight = names.map((_, at) => rows.length > 0 && rows.every((row) => typeof row[at] !== 'string'));
  const widths = names.map((_, at) =>
    lines.reduce((widest, line) => Math.max(widest, Bun.stringWidth(line[at] ?? '')), 0),
  );
  return lines
    .map((line) =>
      line
        .map((text, at) => {
          const blanks = ' '.repeat((widths[at] ?? 0) - Bun.stringWidth(text));
          return isRight[at] === true ? blanks + text : text + blanks;
        })
        .join(GAP)
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function shown(value: Value): string {
  if (value === undefined) return '-';
  return typeof value === 'number' ? formatCount(value) : printable(value);
}
