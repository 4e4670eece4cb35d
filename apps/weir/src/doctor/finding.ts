/** What a check found. */

export type FindingState =
  | 'ok'
  /** Worth knowing; nothing is wrong. */
  | 'info'
  /** It works, and may not one day. */
  | 'warning'
  /** It does not work. */
  | 'failure';

export interface Finding {
  readonly area: 'settings' | 'folder' | 'limits' | 'service' | 'journal';
  readonly name: string;
  readonly state: FindingState;
  readonly message: string;
  /** What to do about it. */
  readonly remedy?: string;
}

export type Check = () => Promise<readonly Finding[]> | readonly Finding[];
