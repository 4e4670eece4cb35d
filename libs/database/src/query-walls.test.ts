import { describe, expect, test } from 'bun:test';
import { HOSTILE } from '../test/hostile-queries.ts';
import { QueryRefused } from './query-refused.ts';
import { planQuery, QUERY_LIMITS } from './query-request.ts';
import { tokenise } from './query-tokens.ts';
import { checkStatement } from './query-walls.ts';

const context = { params: new Map<string, string>(), tableFunctions: new Set(['numbers', 'newlyinvented']) };

function check(sql: string, params: Record<string, string> = {}) {
  return checkStatement(tokenise(sql).tokens, { ...context, params: new Map(Object.entries(params)) });
}

/** Without any engine behind it, and without knowing its table functions. */
function plan(sql: string) {
  const request = new Request('http://x/query', { method: 'POST', body: sql });
  return planQuery(request, new URL(request.url), {
    database: 'weir',
    limits: QUERY_LIMITS,
    tableFunctions: new Set(),
  });
}

describe('the tokens alone are enough to refuse', () => {
  test.each(HOSTILE.map(([sql, code = 392]): [string, string, number] => [JSON.stringify(sql), sql, code]))(
    '%s',
    async (_name, sql, code) => {
      const error = await plan(sql).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(QueryRefused);
      expect((error as QueryRefused).code).toBe(code);
    },
  );
});

test('what is run is what was checked: comments are gone, quotes are as they were', async () => {
  const { text } = tokenise('SELECT \'/* no */\', `--no`, "# no" /* yes; */, 1 -- yes\n, 2 # yes\n, 3 #! yes');
  expect(text).toBe('SELECT \'/* no */\', `--no`, "# no"  , 1  \n, 2  \n, 3  ');
  expect((await plan('SELECT 1 /* x */ ; ; '))?.sql).toBe('SELECT 1');
});

test('quotes end where ClickHouse ends them', () => {
  const values = (sql: string) => tokenise(sql).tokens.map(({ kind, value }) => `${kind} ${value}`);
  expect(values("'a''b' 'c\\'d' 'e\\\\' f")).toEqual(["string a''b", "string c\\'d", 'string e\\\\', 'word f']);
  expect(values('`a``b` "c""d"')).toEqual(['name a`b', 'name c"d']);
  for (const open of ["'a", "'a\\'", '`a', '"a""', '/* a', '/* /* */ */'])
    expect(() => tokenise(open)).toThrow(QueryRefused);
});

test('a table function that only the engine knows is refused by its list', () => {
  expect(() => check('SELECT * FROM newlyInvented(1)')).toThrow('newlyInvented');
  expect(() => check('SELECT * FROM numbers(1)')).not.toThrow();
});

test('names given as parameters are checked like names', () => {
  expect(() => check('SELECT * FROM {d:Identifier}.{t:Identifier}', { d: 'system', t: 'users' })).toThrow(
    'system.users',
  );
  expect(() => check('SELECT * FROM {t:Identifier}', { t: '/etc/passwd' })).toThrow('plain name');
  expect(() => check('SELECT * FROM {t:Identifier}')).toThrow('plain name');
  expect(() => check('SELECT * FROM {d:Identifier}.{t:Identifier}', { d: 'weir', t: 'events' })).not.toThrow();
});

test('finds the format and the settings, and no others', () => {
  expect(check('SELECT 1 FORMAT CSV')).toEqual({ format: 'CSV', settings: new Map() });
  expect(check("SELECT format, settings FROM t SETTINGS a = 1, b = 'x' FORMAT JSON").format).toBe('JSON');
  expect(check("SELECT 1 FROM (SELECT 2 SETTINGS a = 1.5) SETTINGS b='x', c = -1")).toEqual({
    settings: new Map([
      ['a', '1.5'],
      ['b', 'x'],
      ['c', '-1'],
    ]),
  });
  expect(() => check('SELECT (SELECT 1 SETTINGS a = 1) SETTINGS a = 2')).toThrow('two values');
});
