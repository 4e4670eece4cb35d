/** What keeps Redis from answering, by the code that it sends (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors). */

/** Why the shared window was not asked. Stable: they name counters and stand in /health. */
export const SKIP_REASONS = [
  'connecting',
  'disconnected',
  'timeout',
  'full',
  'readonly',
  'loading',
  'not_permitted',
  'cluster',
  'wrong_value',
  'overloaded',
  'error',
  'closed',
] as const;
export type SkipReason = (typeof SKIP_REASONS)[number];

export interface Problem {
  readonly reason: SkipReason;
  /** For a person; holds neither keys nor passwords. */
  readonly message: string;
}

const REASON_BY_CODE: Readonly<Record<string, SkipReason>> = {
  OOM: 'full',
  MISCONF: 'full',
  READONLY: 'readonly',
  NOREPLICAS: 'readonly',
  LOADING: 'loading',
  MASTERDOWN: 'loading',
  NOAUTH: 'not_permitted',
  WRONGPASS: 'not_permitted',
  NOPERM: 'not_permitted',
  MOVED: 'cluster',
  ASK: 'cluster',
  CROSSSLOT: 'cluster',
  CLUSTERDOWN: 'cluster',
  WRONGTYPE: 'wrong_value',
  WRONGVALUE: 'wrong_value',
  WRONGCOUNT: 'wrong_value',
};

const EXPLANATION: Partial<Readonly<Record<SkipReason, string>>> = {
  full: 'Redis refuses writes (memory or disk)',
  readonly: 'Redis is a replica, or has too few of them; the URL must lead to the primary',
  loading: 'Redis is loading its data',
  not_permitted: 'Redis refuses the user, the password or a command',
  cluster:
    'Redis runs in cluster mode, which is not supported: one call touches ids of many slots. Use one primary (with replicas, behind a name that follows failovers)',
  wrong_value: 'a key of the dedupe window holds something else: does another program use the same prefix?',
};

/** A server that does not know a command (AUTH can be renamed away) repeats what came with it: the password. */
const ARGUMENTS = /, with args beginning with:.*$/s;

/** Sorts an error of the client or the server. */
export function problemOf(error: unknown): Problem {
  const message = error instanceof Error ? error.message : String(error);
  const code = errorCode(message);
  const reason = code === undefined ? undefined : REASON_BY_CODE[code];
  if (reason !== undefined) return { reason, message: `${EXPLANATION[reason] ?? reason} (${code})` };
  if (error instanceof Error && error.name === 'ReplyError')
    return { reason: 'error', message: clip(message.replace(ARGUMENTS, '')) };
  return { reason: 'disconnected', message: clip(message) };
}

/** A problem that is known without an error. */
export function problem(reason: SkipReason, message = EXPLANATION[reason] ?? reason): Problem {
  return { reason, message };
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && errorCode(error.message) === 'NOSCRIPT';
}

/** The first word; before version 7 an error inside a script is wrapped, with its code after a dash. */
function errorCode(message: string): string | undefined {
  const code = /^([A-Z]{3,})\b/.exec(message)?.[1];
  return code === undefined || code === 'ERR' ? (/(?:^|\s)-([A-Z]{3,})\b/.exec(message)?.[1] ?? code) : code;
}

const MESSAGE_LENGTH_MAX = 200;

function clip(message: string): string {
  return message.length > MESSAGE_LENGTH_MAX ? `${message.slice(0, MESSAGE_LENGTH_MAX)}…` : message;
}
