/** Lets a request in by its token, or says with one and the same words why not. */
import type { Auth, Permission, Principal } from '@libs/auth';
import { allows, SCOPES } from '@libs/auth/principal';
import { HttpError } from './http-error.ts';
import { queryOf } from './request-url.ts';

/**
 * Where a token may stand beside `Authorization: Bearer`: as the password of `basic` (what speaks only that), for a
 * browser's EventSource as `?access_token=` (`url`), and for its WebSocket there or as the subprotocol behind
 * `bearer` (`socket`).
 */
export type TokenPlace = 'header' | 'basic' | 'url' | 'socket';

/**
 * Throws 401 `unauthorized` without exactly one valid token, 403 `forbidden` when it does not give the permission. A
 * promise (which rejects likewise) only for a token that was not seen lately.
 */
export type Protect = (request: Request, permission: Permission, place?: TokenPlace) => Principal | Promise<Principal>;

type Verdict = Principal | undefined;

/** One reply for every reason: what is wrong with a token is nothing that its bearer, or a guesser, has to know. */
const UNAUTHORIZED = new HttpError(
  401,
  'unauthorized',
  'This needs "Authorization: Bearer TOKEN" with a JSON Web Token that is signed with HS256 and the secret of this service, whose exp has not passed.',
  { headers: { 'www-authenticate': 'Bearer' } },
);

const FORBIDDEN: Readonly<Record<Permission, HttpError>> = {
  write: forbidden('write'),
  read: forbidden('read'),
  operate: forbidden('operate'),
};

export function createProtect(auth: Auth): Protect {
  function admit(principal: Verdict, permission: Permission): Principal {
    if (principal === undefined) throw UNAUTHORIZED;
    if (!allows(principal, permission)) throw FORBIDDEN[permission];
    return principal;
  }

  return (request, permission, place = 'header') => {
    const verdict = place === 'header' ? byHeader(auth, request) : elsewhere(auth, request, place);
    return verdict instanceof Promise
      ? verdict.then((principal) => admit(principal, permission))
      : admit(verdict, permission);
  };
}

function byHeader(auth: Auth, request: Request): Verdict | Promise<Verdict> {
  const header = request.headers.get('authorization');
  return header === null ? undefined : auth.verifyHeader(header);
}

function elsewhere(auth: Auth, request: Request, place: 'basic' | 'url' | 'socket'): Verdict | Promise<Verdict> {
  const header = request.headers.get('authorization');
  if (place === 'basic') {
    const password = header === null ? undefined : passwordOf(header);
    return password === undefined ? byHeader(auth, request) : auth.verify(password);
  }
  const tokens = queryOf(request).getAll('access_token');
  const protocols = request.headers.get('sec-websocket-protocol');
  if (place === 'socket' && protocols !== null) tokens.push(...protocolTokens(protocols));
  const [token] = tokens;
  if (token === undefined) return byHeader(auth, request);
  // RFC 6750, 2: one way of sending it at a time.
  return tokens.length > 1 || header !== null ? undefined : auth.verify(token);
}

/** `bearer, TOKEN` among the subprotocols; the server then speaks `bearer`. */
function protocolTokens(header: string): string[] {
  const [first, ...rest] = header.split(',').map((one) => one.trim());
  return first === 'bearer' ? rest : [];
}

/** The password of `Basic`; undefined for any other scheme. */
function passwordOf(authorization: string): string | undefined {
  const encoded = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const credentials = Buffer.from(encoded, 'base64').toString();
  return credentials.slice(credentials.indexOf(':') + 1);
}

function forbidden(permission: Permission): HttpError {
  const scopes = [...SCOPES].filter(([, gives]) => gives.includes(permission)).map(([scope]) => scope);
  const unbound = permission === 'write' ? '' : ', and must not be bound to stores';
  return new HttpError(403, 'forbidden', `The token must have the scope ${scopes.join(' or ')} for this${unbound}.`, {
    details: { scopes },
    headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"` },
  });
}
