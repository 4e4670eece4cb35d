/** Verified tokens by their exact text, so that a client that comes back costs a look-up and no cryptography. */
import type { Principal } from './principal.ts';

export interface TokenCache {
  /** Undefined when the text is not known, or no longer valid at `nowMs`. */
  get(text: string, nowMs: number): Principal | undefined;
  set(text: string, principal: Principal): void;
}

/**
 * Two generations of `tokensMax / 2` texts each: when the young one is full, the old one is forgotten. What is used in
 * between moves over, so this keeps what a list by last use would keep, and a hit changes nothing.
 */
export function createTokenCache(tokensMax: number): TokenCache {
  const generationMax = Math.max(1, Math.floor(tokensMax / 2));
  let young = new Map<string, Principal>();
  let old = new Map<string, Principal>();

  function set(text: string, principal: Principal): void {
    if (young.size >= generationMax) {
      old = young;
      young = new Map();
    }
    young.set(text, principal);
  }

  function get(text: string, nowMs: number): Principal | undefined {
    let principal = young.get(text);
    if (principal === undefined) {
      principal = old.get(text);
      if (principal === undefined) return undefined;
      old.delete(text);
      set(text, principal);
    }
    if (nowMs < principal.expiresAtMs) return principal;
    young.delete(text);
    return undefined;
  }

  return { get, set };
}
