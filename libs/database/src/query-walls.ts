/**
 * The first of several walls around /query: decides from the tokens alone whether a statement only reads this
 * database. Behind it stand the engine's own `readonly = 1`, its limits, and an engine without the database that
 * reads files. Every refusal names what was refused.
 */
import {
  CREATE_HIDDEN,
  EXPLAIN_WORDS,
  FOREIGN_TABLE_FUNCTIONS,
  isForbiddenFunction,
  PATH_COLUMNS,
  SHOWABLE,
  STATEMENTS,
  SYSTEM_TABLES,
  SYSTEM_TABLES_WITH_PATHS,
  TABLE_FUNCTIONS,
} from './query-names.ts';
import { QueryRefused } from './query-refused.ts';
import type { Token } from './query-tokens.ts';

export interface WallContext {
  /** Values of `{name:Identifier}`: they stand for names and are checked as such. */
  readonly params: ReadonlyMap<string, string>;
  /** Names of the engine's table functions, in lower case. */
  readonly tableFunctions: ReadonlySet<string>;
}

export interface Statement {
  /** Named in the text by FORMAT. */
  readonly format?: string;
  /** What SETTINGS clauses anywhere in the text ask for: name and value without quotes. */
  readonly settings: ReadonlyMap<string, string>;
}

const FOREIGN = new Set(FOREIGN_TABLE_FUNCTIONS);
const END: Token = { kind: 'mark', value: '', lower: '' };
/** Functions with a FROM of their own: `trim(BOTH 'x' FROM 'text')`. */
const FUNCTIONS_WITH_FROM = new Set([
  'trim',
  'ltrim',
  'rtrim',
  'extract',
  'substring',
  'substr',
  'overlay',
  'position',
]);

/** Throws `QueryRefused` unless the tokens are one statement that reads nothing but this database. */
export function checkStatement(all: readonly Token[], context: WallContext): Statement {
  const tokens = withoutTrailingSemicolons(resolveIdentifiers(all, context.params));
  checkKind(tokens);
  const readsPaths = namesPathTable(tokens);
  const openers: string[] = [];
  tokens.forEach((token, at) => {
    const previous = tokens[at - 1] ?? END;
    const next = tokens[at + 1] ?? END;
    if (isMark(token, ';')) throw prohibited('several statements in one query');
    if (isMark(token, '(')) openers.push(previous.lower);
    if (isMark(token, ')')) openers.pop();
    checkSequence(token, previous, next);
    if (isName(token)) checkFunction(token, isMark(next, '('), context.tableFunctions);
    if (isName(token) && token.lower === 'system' && isMark(next, '.')) checkSystemTable(tokens[at + 2] ?? END);
    if (isFrom(previous) && !FUNCTIONS_WITH_FROM.has(openers.at(-1) ?? '')) checkTableName(token);
    if (readsPaths) checkPathColumn(token, previous, tokens[at - 2] ?? END);
  });
  const format = findFormat(tokens);
  return { settings: findSettings(tokens), ...(format === undefined ? {} : { format }) };
}

function isMark(token: Token, mark: string): boolean {
  return token.kind === 'mark' && token.value === mark;
}

function isName(token: Token): boolean {
  return token.kind === 'word' || token.kind === 'name';
}

function isFrom(token: Token): boolean {
  return token.kind === 'word' && (token.lower === 'from' || token.lower === 'join' || token.lower === 'table');
}

function prohibited(what: string): QueryRefused {
  return new QueryRefused('QUERY_IS_PROHIBITED', `This endpoint only reads: ${what} is not accepted.`);
}

/** `{name:Identifier}` becomes the name that it stands for. */
function resolveIdentifiers(tokens: readonly Token[], params: ReadonlyMap<string, string>): Token[] {
  const out: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const [open, name, colon, type, close] = tokens.slice(at, at + 5);
    const isIdentifier =
      open &&
      isMark(open, '{') &&
      colon &&
      isMark(colon, ':') &&
      type?.lower === 'identifier' &&
      close &&
      isMark(close, '}');
    if (!isIdentifier || !name) {
      out.push(tokens[at] as Token);
      continue;
    }
    const value = params.get(name.value) ?? '';
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) {
      throw new QueryRefused(
        'BAD_ARGUMENTS',
        `The parameter "${name.value}" must be a plain name: letters, digits and underscores.`,
      );
    }
    out.push({ kind: 'name', value, lower: value.toLowerCase() });
    at += 4;
  }
  return out;
}

function withoutTrailingSemicolons(tokens: Token[]): Token[] {
  let end = tokens.length;
  while (end > 0 && isMark(tokens[end - 1] as Token, ';')) end--;
  return tokens.slice(0, end);
}

function checkKind(tokens: readonly Token[]): void {
  const start = tokens.findIndex((token) => !isMark(token, '('));
  const first = tokens[start];
  if (!first) throw new QueryRefused('SYNTAX_ERROR', 'Syntax error: the query is empty.');
  if (first.kind !== 'word' || !STATEMENTS.has(first.lower)) {
    const what = first.value.slice(0, 40);
    throw new QueryRefused(
      'READONLY',
      `This endpoint only reads: a statement that begins with ${what} is not accepted; SELECT, WITH, SHOW, DESCRIBE, EXPLAIN and EXISTS are.`,
    );
  }
  if (first.lower === 'show') checkShow(tokens.slice(start + 1));
  if (first.lower === 'explain') checkExplain(tokens.slice(start + 1));
}

function checkShow([what = END, ...rest]: readonly Token[]): void {
  if (what.kind !== 'word' || !SHOWABLE.has(what.lower)) throw prohibited(`SHOW ${what.value}`);
  if (what.lower !== 'create') return;
  const [object = END] = rest;
  if (object.kind === 'word' && CREATE_HIDDEN.has(object.lower) && !isMark(rest[1] ?? END, '.')) {
    throw prohibited(`SHOW CREATE ${object.value}`);
  }
}

function checkExplain(tokens: readonly Token[]): void {
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token;
    if (isMark(token, '(') || token.lower === 'select' || token.lower === 'with') return;
    if (isMark(token, ',')) continue;
    if (token.kind === 'word' && isMark(tokens[at + 1] ?? END, '=')) at += 2;
    else if (token.kind !== 'word' || !EXPLAIN_WORDS.has(token.lower)) throw prohibited(`EXPLAIN ${token.value}`);
  }
}

function checkSequence(token: Token, previous: Token, next: Token): void {
  if (token.kind !== 'word') return;
  if (token.lower === 'into' && !isMark(previous, '.')) throw prohibited('INTO OUTFILE');
  // WITH … INSERT is one statement.
  if (token.lower === 'insert' && isName(next)) throw prohibited('INSERT');
  if (token.lower === 'parallel' && next.lower === 'with') throw prohibited('PARALLEL WITH');
}

/**
 * A forbidden function is refused wherever its name stands: `arrayMap(file, paths)` and `* APPLY file` call it without
 * brackets of its own. Table functions are only ever called; their names are free for columns.
 */
function checkFunction(token: Token, isCall: boolean, tableFunctions: ReadonlySet<string>): void {
  const { lower } = token;
  const isForeign = isCall && (FOREIGN.has(lower) || tableFunctions.has(lower)) && !TABLE_FUNCTIONS.has(lower);
  if (isForeign || isForbiddenFunction(lower)) throw prohibited(`the function ${token.value}`);
}

function checkSystemTable(table: Token): void {
  if (isName(table) && SYSTEM_TABLES.has(table.lower)) return;
  throw prohibited(`the table system.${table.value}`);
}

function checkTableName(token: Token): void {
  if (token.kind === 'string') throw prohibited(`reading from a file ('${token.value.slice(0, 40)}')`);
  if (token.kind === 'name' && /[/\\:*?]/.test(token.value))
    throw prohibited(`reading from a file ("${token.value.slice(0, 40)}")`);
}

function namesPathTable(tokens: readonly Token[]): boolean {
  return tokens.some((token, at) => {
    const isSystem = isName(token) && token.lower === 'system' && isMark(tokens[at + 1] ?? END, '.');
    return isSystem && SYSTEM_TABLES_WITH_PATHS.has(tokens[at + 2]?.lower ?? '');
  });
}

/** `*` stands for every column when nothing that could be multiplied stands before it; `count(*)` reads none. */
function checkPathColumn(token: Token, previous: Token, beforePrevious: Token): void {
  if (isName(token) && PATH_COLUMNS.has(token.lower))
    throw prohibited(`the column ${token.value}, which holds paths of the server,`);
  if (isName(token) && token.lower === 'columns')
    throw prohibited('COLUMNS(…) over tables with paths of the server: name the columns; it');
  if (!isMark(token, '*')) return;
  const isCount = isMark(previous, '(') && beforePrevious.lower === 'count';
  const startsList =
    [',', '.', '('].some((mark) => isMark(previous, mark)) || ['select', 'distinct', 'all'].includes(previous.lower);
  if (startsList && !isCount)
    throw prohibited('"*" over a system table with paths of the server (name the columns instead)');
}

/** The format is named at the end of the query, before or after its settings. */
function findFormat(tokens: readonly Token[]): string | undefined {
  for (let at = tokens.length - 2; at > 0; at--) {
    const token = tokens[at] as Token;
    if (token.kind !== 'word' || token.lower !== 'format') continue;
    const name = tokens[at + 1] as Token;
    const after = tokens[at + 2];
    if (name.kind === 'word' && (after === undefined || after.lower === 'settings')) return name.value;
  }
  return undefined;
}

/** Reads `SETTINGS a = 1, b = 'x'` wherever it stands. A column of that name is followed by something else. */
function findSettings(tokens: readonly Token[]): Map<string, string> {
  const settings = new Map<string, string>();
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at]?.kind !== 'word' || tokens[at]?.lower !== 'settings') continue;
    let pair = at + 1;
    while (isName(tokens[pair] ?? END) && isMark(tokens[pair + 1] ?? END, '=')) {
      const name = (tokens[pair] as Token).value;
      const { value, end } = settingValue(tokens, pair + 2, name);
      if (settings.has(name) && settings.get(name) !== value) throw prohibited(`two values for the setting ${name}`);
      settings.set(name, value);
      if (!isMark(tokens[end] ?? END, ',')) break;
      pair = end + 1;
    }
  }
  return settings;
}

/** A number (`1`, `-0.5`), a word (`true`) or a string without escapes. */
function settingValue(tokens: readonly Token[], start: number, name: string): { value: string; end: number } {
  let at = start;
  let value = '';
  const first = tokens[at] ?? END;
  if (first.kind === 'string') {
    if (/[\\']/.test(first.value)) throw prohibited(`an escape in the value of the setting ${name}`);
    return { value: first.value, end: at + 1 };
  }
  for (; at < tokens.length; at++) {
    const token = tokens[at] as Token;
    if (!['word'].includes(token.kind) && !['-', '.', '+'].some((mark) => isMark(token, mark))) break;
    if (at > start && token.kind === 'word' && tokens[at - 1]?.kind === 'word') break;
    value += token.value;
  }
  if (value === '') throw prohibited(`the value of the setting ${name}`);
  return { value, end: at };
}
