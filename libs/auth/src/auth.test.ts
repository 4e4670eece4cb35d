import { describe, expect, test } from 'bun:test';
import { createAuth, SECRET_BYTES_MIN, secretProblem, TOKEN_CHARS_MAX } from './auth.ts';
import { signToken, TEST_SECRET } from './testing.ts';

const NOW_MS = 1_800_000_000_000;
const NOW = NOW_MS / 1000;
const LEEWAY = 30;

function authAt(clock = { ms: NOW_MS }) {
  return createAuth({ secret: TEST_SECRET, nowMs: () => clock.ms });
}

const verify = async (token: string) => authAt().verify(token);
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a token', () => {
  test('that is signed and in time names its principal', async () => {
    const token = signToken({ sub: 'shop', scope: 'events:write query', stores: ['a', 'b'], exp: NOW + 60, nbf: NOW });
    expect(await verify(token)).toEqual({
      subject: 'shop',
      scopes: new Set(['events:write', 'query']),
      stores: new Set(['a', 'b']),
      expiresAtMs: NOW_MS + (60 + LEEWAY) * 1000,
    });
  });

  test.each([
    ['exp has passed', { exp: NOW - LEEWAY }, false],
    ['exp has passed by less than the leeway', { exp: NOW - LEEWAY + 1 }, true],
    ['nbf is ahead', { nbf: NOW + LEEWAY + 1 }, false],
    ['nbf is ahead by the leeway', { nbf: NOW + LEEWAY }, true],
    ['there is no exp', { exp: undefined }, false],
    ['exp is a text', { exp: String(NOW + 60) }, false],
    ['nbf is a text', { nbf: '0' }, false],
  ])('%s', async (_name, claims, valid) => {
    expect((await verify(signToken({ exp: NOW + 60, ...claims }))) !== undefined).toBe(valid);
  });

  const claims = { exp: NOW + 60, scope: 'admin' };
  const good = signToken(claims);
  const [head, body, signature] = good.split('.') as [string, string, string];
  test.each([
    ['of another secret', signToken(claims, { secret: 'another secret that has more than 32 bytes' })],
    ['with alg none and no signature', `${base64url({ alg: 'none' })}.${body}.`],
    ['with alg none and a signature', `${base64url({ alg: 'none' })}.${body}.${signature}`],
    ['with alg None', signToken(claims, { header: { alg: 'None' } })],
    ['signed with HS384', signToken(claims, { header: { alg: 'HS384' }, hash: 'sha384' })],
    ['signed with HS512', signToken(claims, { header: { alg: 'HS512' }, hash: 'sha512' })],
    ['that claims RS256', signToken(claims, { header: { alg: 'RS256' } })],
    ['that claims ES256', signToken(claims, { header: { alg: 'ES256' } })],
    ['without alg', signToken(claims, { header: { typ: 'JWT' } })],
    ['with an extension that must be understood', signToken(claims, { header: { alg: 'HS256', crit: ['x'], x: 1 } })],
    [
      'that brings its own key',
      signToken(claims, { header: { alg: 'HS256', jwk: { kty: 'oct', k: 'YQ' } }, secret: 'a' }),
    ],
    ['with other claims', `${head}.${base64url({ ...claims, sub: 'x' })}.${signature}`],
    ['with a shortened signature', good.slice(0, -1)],
    ['with a signature of nothing', `${head}.${body}.AA`],
    ['without signature', `${head}.${body}`],
    ['with five parts', `${good}.a.b`],
    ['whose payload is a list', signToken([] as never)],
    ['with a line feed', `${good}\n`],
    ['with padding', `${good}=`],
    ['of nothing', ''],
    ['of dots', '..'],
    ['of base64url that is no JSON', 'AAAA.BBBB.CCCC'],
  ])('%s is refused', async (_name, token) => {
    expect(await verify(token)).toBeUndefined();
  });

  test('is refused unread when it is too long, and taken just below that', async () => {
    const padded = (length: number) => signToken({ ...claims, pad: 'x'.repeat(length) });
    const spare = TOKEN_CHARS_MAX - padded(0).length;
    const fits = padded(Math.floor((spare * 3) / 4) - 3);
    expect(fits.length).toBeGreaterThan(TOKEN_CHARS_MAX - 20);
    expect(await verify(fits)).toBeDefined();
    expect(authAt().verify(padded(TOKEN_CHARS_MAX))).toBeUndefined();
  });
});

describe('a header', () => {
  const token = signToken({ exp: NOW + 60 });
  test.each([
    [`Bearer ${token}`, true],
    [`bearer ${token}`, true],
    [`BEARER   ${token} `, true],
    [token, false],
    [`Bearer${token}`, false],
    ['Bearer', false],
    ['Bearer ', false],
    [`Basic ${token}`, false],
    [`Bearer ${token} ${token}`, false],
    // Two headers of one name reach us joined.
    [`Bearer ${token}, Bearer ${token}`, false],
    [`Bearer ${token},`, false],
    [`Bearer "${token}"`, false],
  ])('%#', async (header, valid) => {
    expect((await authAt().verifyHeader(header)) !== undefined).toBe(valid);
  });
});

describe('a verified token', () => {
  test('is known at once the next time, until it expires', async () => {
    const clock = { ms: NOW_MS };
    const auth = authAt(clock);
    const token = signToken({ sub: 'a', exp: NOW + 60 });
    const first = auth.verify(token);
    expect(first).toBeInstanceOf(Promise);
    const principal = await first;
    expect(auth.verify(token)).toBe(principal as never);
    clock.ms = NOW_MS + (60 + LEEWAY) * 1000 - 1;
    expect(auth.verify(token)).toBe(principal as never);
    clock.ms += 1;
    expect(await auth.verify(token)).toBeUndefined();
  });

  test('makes no other text valid, and what was refused is not remembered', async () => {
    const auth = authAt();
    const token = signToken({ exp: NOW + 60 });
    await auth.verify(token);
    const forged = `${token.slice(0, -6)}AAAAAA`;
    expect(await auth.verify(forged)).toBeUndefined();
    expect(auth.verify(forged)).toBeInstanceOf(Promise);
    expect(await auth.verify(`Bearer ${token}`)).toBeUndefined();
    expect(await auth.verifyHeader(token)).toBeUndefined();
  });
});

describe('the secret', () => {
  test('must have enough bytes', () => {
    expect(secretProblem('x'.repeat(SECRET_BYTES_MIN))).toBeUndefined();
    expect(secretProblem('ä'.repeat(SECRET_BYTES_MIN / 2))).toBeUndefined();
    expect(secretProblem('x'.repeat(SECRET_BYTES_MIN - 1))).toContain('31 bytes');
    expect(() => createAuth({ secret: 'short' })).toThrow('5 bytes');
    expect(() => createAuth({ secret: 'short-and-secret' })).not.toThrow('short-and-secret');
  });
});
