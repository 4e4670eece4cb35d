/** ClickHouse's TabSeparatedWithNamesAndTypes: exact for every type, and NULL cannot be mistaken for text. */

/** A cell; null is SQL's NULL. */
export type Cell = string | null;

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  r: '\r',
  n: '\n',
  t: '\t',
  '0': '\0',
  "'": "'",
  '\\': '\\',
};

/** One line without its line feed. */
export function parseTabSeparated(line: string): Cell[] {
  return line.split('\t').map(unescapeCell);
}

function unescapeCell(text: string): Cell {
  if (text === '\\N') return null;
  return text.includes('\\') ? text.replace(/\\(.)/g, (whole, letter: string) => ESCAPES[letter] ?? whole) : text;
}
