import { describe, expect, test } from 'bun:test';
import { allows, mayWriteTo, type Permission, principalOf } from './principal.ts';

const of = (claims: Record<string, unknown>) => principalOf(claims, 0);
const permissions = (claims: Record<string, unknown>) =>
  (['write', 'read', 'operate'] as const satisfies readonly Permission[]).filter((one) => allows(of(claims), one));

describe('scopes', () => {
  test.each([
    [{}, ['write']],
    [{ scope: 'events:write' }, ['write']],
    [{ scope: 'query' }, ['read']],
    [{ scope: 'admin' }, ['write', 'read', 'operate']],
    [{ scope: ' events:write   query ' }, ['write', 'read']],
    [{ scopes: ['events:write', 'query'] }, ['write', 'read']],
    [{ scope: 'query', scopes: ['events:write'] }, ['write', 'read']],
    [{ scope: ['admin'] }, ['write', 'read', 'operate']],
    [{ scope: '' }, []],
    [{ scopes: [] }, []],
    [{ scope: 'ADMIN' }, []],
    [{ scope: 'administrator events:write:all' }, []],
    [{ scope: 'events:write,admin' }, []],
    // What cannot be read gives nothing.
    [{ scope: 42 }, []],
    [{ scope: null }, []],
    [{ scopes: ['admin', 1] }, []],
    [{ scopes: { admin: true } }, []],
    [{ scope: 'constructor __proto__ toString' }, []],
  ])('%j', (claims, expected) => {
    expect(permissions(claims)).toEqual(expected as Permission[]);
  });
});

describe('stores', () => {
  test('limit what may be written, and exclude what cannot be limited', () => {
    expect(permissions({ scope: 'admin', stores: ['a'] })).toEqual(['write']);
    const bound = of({ stores: ['a', 'b'] });
    expect([mayWriteTo(bound, 'a'), mayWriteTo(bound, 'c'), mayWriteTo(bound, 'A')]).toEqual([true, false, false]);
    expect(mayWriteTo(bound, 7)).toBe(true);
    expect(mayWriteTo(of({}), 'anything')).toBe(true);
    expect(mayWriteTo(of({ stores: 'a' }), 'a')).toBe(true);
    expect(mayWriteTo(of({ stores: 'abc' }), 'a')).toBe(false);
  });

  test.each([[[]], [null], [7], [['a', 1]], [{ a: true }], [true]])('%j: none', (stores) => {
    expect(mayWriteTo(of({ stores }), 'a')).toBe(false);
  });
});
