import type { CopyElsewhere } from '@libs/pipeline';

/** What the shared window says of an id. A closed union. */
export type ClaimVerdict =
  /** It is ours to append now. */
  | { readonly kind: 'claimed' }
  /** The window could not be asked: what is known locally decides, and the view `events` has the last word. */
  | { readonly kind: 'skipped' }
  /** Somebody has it durably: where, unless that was not said or is forgotten. */
  | { readonly kind: 'duplicate'; readonly copy?: CopyElsewhere }
  /** Somebody else has claimed it, and may yet die before the write: ask again after `afterMs` milliseconds. */
  | { readonly kind: 'busy'; readonly afterMs: number };

export const CLAIMED: ClaimVerdict = { kind: 'claimed' };
export const SKIPPED: ClaimVerdict = { kind: 'skipped' };
export const DUPLICATE: ClaimVerdict = { kind: 'duplicate' };
