/**
 * Cuts a query into tokens as ClickHouse's own lexer does. Where two readings are possible at all (heredocs, nested
 * comments, characters outside ASCII that ClickHouse takes for quotes), the query is refused: what is checked must be
 * what is run.
 */
import { QueryRefused } from './query-refused.ts';

export interface Token {
  /** `word`: a keyword, bare name or number; `name`: a quoted name; `string`: a literal; `mark`: one character. */
  readonly kind: 'word' | 'name' | 'string' | 'mark';
  /** What it stands for: quotes removed; a string's escapes are left as they are. */
  readonly value: string;
  /** `value` in lower case. */
  readonly lower: string;
}

export interface Tokenised {
  readonly tokens: readonly Token[];
  /** The query with a blank in place of each comment: this is what is run. */
  readonly text: string;
}

const WORD = /[A-Za-z0-9_]+/y;
const BLANK = /[ \t\n\v\f\r]+/y;
const MARKS = new Set([...'()[]{},.;:?!=<>+-*/%|&^@~']);

/** Throws `QueryRefused` (62 SYNTAX_ERROR) for what cannot be read with certainty. */
export function tokenise(sql: string): Tokenised {
  const tokens: Token[] = [];
  const pieces: string[] = [];
  let at = 0;
  while (at < sql.length) {
    const char = sql[at] as string;
    const commentEnd = endOfComment(sql, at);
    if (commentEnd !== undefined) {
      pieces.push(' ');
      at = commentEnd;
      continue;
    }
    const end = endOfToken(sql, at, char);
    const raw = sql.slice(at, end);
    pieces.push(raw);
    const token = toToken(raw, char, at);
    if (token) tokens.push(token);
    at = end;
  }
  return { tokens, text: pieces.join('') };
}

/** The end of the comment that begins here; undefined when none does. */
function endOfComment(sql: string, at: number): number | undefined {
  const pair = sql.slice(at, at + 2);
  if (pair === '--' || pair === '# ' || pair === '#!') {
    const end = sql.indexOf('\n', at);
    return end === -1 ? sql.length : end;
  }
  if (pair === '//') throw unreadable(at, '"//" starts no comment in SQL: use "--"');
  if (pair !== '/*') return undefined;
  const end = sql.indexOf('*/', at + 2);
  if (end === -1) throw unreadable(at, 'a comment does not end');
  if (sql.slice(at + 2, end).includes('/*')) throw unreadable(at, 'comments within comments are not accepted');
  return end + 2;
}

function endOfToken(sql: string, at: number, char: string): number {
  for (const pattern of [BLANK, WORD]) {
    pattern.lastIndex = at;
    if (pattern.test(sql)) return pattern.lastIndex;
  }
  if (char === "'" || char === '"' || char === '`') return endOfQuoted(sql, at, char);
  if (MARKS.has(char)) return at + 1;
  if (char === '$') throw unreadable(at, 'heredocs and names with "$" are not accepted: use \'quotes\'');
  throw unreadable(at, `the character ${JSON.stringify(sql.slice(at, at + 2))} can only stand within quotes`);
}

/** A quote within quotes is doubled or follows a backslash. */
function endOfQuoted(sql: string, start: number, quote: string): number {
  for (let at = start + 1; at < sql.length; at++) {
    const char = sql[at];
    if (char === '\\') at++;
    else if (char === quote) {
      if (sql[at + 1] !== quote) return at + 1;
      at++;
    }
  }
  throw unreadable(start, `the quote ${quote} is not closed`);
}

function toToken(raw: string, char: string, at: number): Token | undefined {
  if (/^\s/.test(raw)) return undefined;
  if (char === "'") return make('string', raw.slice(1, -1));
  if (char === '"' || char === '`') {
    // An escape could spell a name that no check would recognise.
    if (raw.includes('\\')) throw unreadable(at, 'a backslash within a quoted name is not accepted');
    return make('name', raw.slice(1, -1).replaceAll(char + char, char));
  }
  return make(/^[A-Za-z0-9_]/.test(raw) ? 'word' : 'mark', raw);
}

function make(kind: Token['kind'], value: string): Token {
  return { kind, value, lower: value.toLowerCase() };
}

function unreadable(at: number, why: string): QueryRefused {
  return new QueryRefused('SYNTAX_ERROR', `Syntax error at position ${at + 1}: ${why}.`);
}
