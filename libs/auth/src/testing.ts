/** Tokens for tests, made by hand: any header, any claims, any signature. */
import { createHmac } from 'node:crypto';

export const TEST_SECRET = 'a secret for tests that has more than 32 bytes';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

export interface TokenParts {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly secret?: string | Uint8Array;
  readonly hash?: 'sha256' | 'sha384' | 'sha512';
}

/** Signs the claims (HS256); `exp` is in an hour unless the claims say otherwise, and absent when they say undefined. */
export function signToken(claims: Readonly<Record<string, unknown>>, parts: TokenParts = {}): string {
  const { header = { alg: 'HS256', typ: 'JWT' }, secret = TEST_SECRET, hash = 'sha256' } = parts;
  const signed = `${encode(header)}.${encode({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
}
