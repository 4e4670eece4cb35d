/** JSON Web Tokens, signed with one shared secret (HS256, RFC 7518) and verified by @elysiajs/jwt, which stands on jose. */
import { createSecretKey } from 'node:crypto';
import { jwt } from '@elysiajs/jwt';
import { type Principal, principalOf } from './principal.ts';
import { createTokenCache, type TokenCache } from './token-cache.ts';

export interface AuthOptions {
  /** At least `SECRET_BYTES_MIN` bytes of UTF-8. */
  readonly secret: string;
  /** Milliseconds, whole seconds, by which the clocks of whoever signs and of this machine may differ (30,000). */
  readonly leewayMs?: number;
  /** Verified tokens that are remembered, of headers and of others (10,000). */
  readonly cacheTokensMax?: number;
  /** Milliseconds since 1970. */
  readonly nowMs?: () => number;
}

type Verdict = Principal | undefined;

export interface Auth {
  /** Whom a token speaks for; undefined when it is not valid. A promise only for a token that was not seen lately. */
  verify(token: string): Verdict | Promise<Verdict>;
  /** The same for the value of an Authorization header, which must be `Bearer <token>`. */
  verifyHeader(authorization: string): Verdict | Promise<Verdict>;
}

/** RFC 7518, 3.2: a key for HS256 has at least as many bytes as its hash. */
export const SECRET_BYTES_MIN = 32;
/** What is longer is refused unread. */
export const TOKEN_CHARS_MAX = 8_192;

const LEEWAY_MS = 30_000;
const CACHE_TOKENS_MAX = 10_000;
const ALGORITHM = 'HS256';
/** Three parts of base64url. What looks different is no signed token, whatever it is. */
const TOKEN_PATTERN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** The scheme's name has no case (RFC 9110, 11.1). */
const BEARER_PATTERN = /^bearer +([^ ]+) *$/i;

/** What is wrong with a secret, as a sentence; undefined when it will do. */
export function secretProblem(secret: string): string | undefined {
  const bytes = Buffer.byteLength(secret);
  if (bytes >= SECRET_BYTES_MIN) return undefined;
  return `the secret has ${bytes} bytes, and with fewer than ${SECRET_BYTES_MIN} it could be guessed: make one with "openssl rand -base64 48"`;
}

/** Throws when the secret is too short. */
export function createAuth(options: AuthOptions): Auth {
  const problem = secretProblem(options.secret);
  if (problem !== undefined) throw new RangeError(`JWT: ${problem}.`);
  const { nowMs = Date.now, leewayMs = LEEWAY_MS } = options;
  const tokensMax = options.cacheTokensMax ?? CACHE_TOKENS_MAX;
  // Apart, so that a token which came as such is not taken for a header, nor the other way round.
  const tokens = createTokenCache(tokensMax);
  const headers = createTokenCache(tokensMax);
  // A key object is imported once by jose; a text would be imported for every token.
  const plugin = jwt({ name: 'jwt', secret: createSecretKey(Buffer.from(options.secret)), alg: ALGORITHM });
  const { verify: verifySignature } = plugin.decorator.jwt;

  async function verifyNew(cache: TokenCache, text: string, token: string): Promise<Verdict> {
    const claims = await verifySignature(token, {
      algorithms: [ALGORITHM],
      requiredClaims: ['exp'],
      clockTolerance: leewayMs / 1000,
      currentDate: new Date(nowMs()),
    });
    if (claims === false) return undefined;
    const principal = principalOf(claims, Number(claims.exp) * 1000 + leewayMs);
    cache.set(text, principal);
    return principal;
  }

  function verify(token: string): Verdict | Promise<Verdict> {
    return tokens.get(token, nowMs()) ?? checkNew(tokens, token, token);
  }

  function verifyHeader(authorization: string): Verdict | Promise<Verdict> {
    const known = headers.get(authorization, nowMs());
    if (known !== undefined || authorization.length > TOKEN_CHARS_MAX) return known;
    return checkNew(headers, authorization, BEARER_PATTERN.exec(authorization)?.[1]);
  }

  function checkNew(cache: TokenCache, text: string, token: string | undefined): Verdict | Promise<Verdict> {
    if (token === undefined || token.length > TOKEN_CHARS_MAX || !TOKEN_PATTERN.test(token)) return undefined;
    return verifyNew(cache, text, token);
  }

  return { verify, verifyHeader };
}
