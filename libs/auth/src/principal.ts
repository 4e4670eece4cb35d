/** Who a token speaks for, and what that one may do. */

/** What a call needs. */
export type Permission =
  /** To send events. */
  | 'write'
  /** To read them: queries and topics. */
  | 'read'
  /** To see and change how the service works: dead letters, sinks, reconciliation. */
  | 'operate';

export interface Principal {
  /** The `sub` claim. */
  readonly subject: string | undefined;
  /** From `scope` and `scopes`; undefined when the token has neither. */
  readonly scopes: ReadonlySet<string> | undefined;
  /** The stores that it may write for; undefined: every one. */
  readonly stores: ReadonlySet<string> | undefined;
  /** Milliseconds since 1970 from which the token is no longer taken: its `exp` and the leeway. */
  readonly expiresAtMs: number;
}

/** What each scope gives. `admin` may do everything. */
export const SCOPES: ReadonlyMap<string, readonly Permission[]> = new Map([
  ['events:write', ['write']],
  ['query', ['read']],
  ['admin', ['write', 'read', 'operate']],
]);

/**
 * A token without any scope may write: it was signed for that with the service's own secret. Reading and operating must
 * be named; and they show the events of every store, so a token that is bound to some cannot have them.
 */
export function allows({ scopes, stores }: Principal, permission: Permission): boolean {
  if (permission !== 'write' && stores !== undefined) return false;
  if (scopes === undefined) return permission === 'write';
  for (const scope of scopes) if (SCOPES.get(scope)?.includes(permission) === true) return true;
  return false;
}

/** Whether events of this store may be written. A value that is no string is left to validation. */
export function mayWriteTo({ stores }: Principal, storeId: unknown): boolean {
  return stores === undefined || typeof storeId !== 'string' || stores.has(storeId);
}

/**
 * Reads the claims of a verified token. A claim that is there but cannot be read gives nothing: it was meant to limit
 * the token, and must not widen it.
 */
export function principalOf(claims: Readonly<Record<string, unknown>>, expiresAtMs: number): Principal {
  const { sub, scope, scopes, stores } = claims;
  const named = scope === undefined && scopes === undefined ? undefined : new Set([...words(scope), ...words(scopes)]);
  return {
    subject: typeof sub === 'string' ? sub : undefined,
    scopes: named,
    stores: stores === undefined ? undefined : new Set(typeof stores === 'string' ? [stores] : strings(stores)),
    expiresAtMs,
  };
}

/** The names in a text, separated by blanks (RFC 8693, 4.2), or in a list. */
function words(claim: unknown): readonly string[] {
  return typeof claim === 'string' ? claim.split(' ').filter((word) => word !== '') : strings(claim);
}

function strings(claim: unknown): readonly string[] {
  return Array.isArray(claim) && claim.every((one) => typeof one === 'string') ? claim : [];
}
