/**
 * Lets a client go on where its last connection ended: finds its session by the token that this connection was given, for
 * a minute, and within bounds. Connections that never counted an event have none.
 */
import type { Principal } from '@libs/auth';
import type { StreamSocket } from './stream-connection.ts';
import { StreamSession } from './stream-session.ts';

export interface ResumeLimits {
  /** How long a session is kept once its connection has ended. */
  readonly resumeWindowMs: number;
  /** Sessions without a connection; beyond it, the one that ended first is forgotten. */
  readonly resumableMax: number;
  /** UTF-16 units of the errors that are remembered for one client; beyond it, the oldest are forgotten. */
  readonly resumeErrorCharsMax: number;
  /** The same for all clients together; beyond it, further ones are not remembered. */
  readonly resumeErrorCharsTotalMax: number;
}

export const DEFAULT_RESUME_LIMITS: ResumeLimits = {
  resumeWindowMs: 60_000,
  resumableMax: 20_000,
  resumeErrorCharsMax: 16_384,
  resumeErrorCharsTotalMax: 67_108_864,
};

export interface Resumption {
  /** At a connection's first event with a `seq`. */
  begin(ws: StreamSocket, firstSeq: number): StreamSession;
  /** The connection that the client has left behind; undefined when nothing is known of the token, for this principal. */
  takeOver(ws: StreamSocket, token: string): StreamSocket | undefined;
  /** The client has its hello: the token that it came with is used up. */
  heard(session: StreamSession): void;
  /** From the close handler. */
  ended(ws: StreamSocket): void;
  /** Keeps an error to repeat it. */
  remember(session: StreamSession, seq: number, isRetry: boolean, text: string): void;
  /** What a client that came back may not have heard, in order. */
  errorsOf(session: StreamSession): readonly string[];
  lose(session: StreamSession): void;
  stats(): { readonly resumable: number; readonly resumeErrorChars: number };
  stop(): void;
}

const SWEEP_MS = 1_000;

export function createResumption(limits: ResumeLimits, now: () => number): Resumption {
  const byToken = new Map<string, StreamSession>();
  /** Those without a connection, in the order in which they ended. */
  const endedSessions = new Set<StreamSession>();
  let errorChars = 0;
  let sweepTimer: ReturnType<typeof setInterval> | undefined;

  function begin(ws: StreamSocket, firstSeq: number): StreamSession {
    const session = new StreamSession(ws, firstSeq);
    ws.data.session = session;
    byToken.set(ws.data.resumeToken, session);
    return session;
  }

  function takeOver(ws: StreamSocket, token: string): StreamSocket | undefined {
    const session = byToken.get(token);
    if (session === undefined || now() - session.endedMs >= limits.resumeWindowMs) return undefined;
    const before = session.owner;
    if (!isSamePrincipal(before.data.principal, ws.data.principal)) return undefined;
    byToken.delete(before.data.resumeToken);
    if (session.formerToken !== undefined) byToken.delete(session.formerToken);
    session.formerToken = token;
    session.owner = ws;
    session.endedMs = Number.POSITIVE_INFINITY;
    // Hello tells it, and the client asks anew for cumulative acks if it wants them.
    session.toldSeq = session.seqs.throughSeq;
    session.owedSeq = session.toldSeq;
    endedSessions.delete(session);
    byToken.set(token, session);
    byToken.set(ws.data.resumeToken, session);
    ws.data.session = session;
    return before;
  }

  function heard(session: StreamSession): void {
    if (session.formerToken === undefined) return;
    byToken.delete(session.formerToken);
    session.formerToken = undefined;
  }

  function ended(ws: StreamSocket): void {
    const { session } = ws.data;
    if (session === undefined || session.isLost || session.owner !== ws) return;
    session.endedMs = now();
    endedSessions.add(session);
    if (endedSessions.size > limits.resumableMax)
      for (const oldest of endedSessions) {
        lose(oldest);
        break;
      }
    sweepTimer ??= setInterval(sweep, SWEEP_MS).unref();
  }

  function sweep(): void {
    const nowMs = now();
    for (const session of endedSessions) {
      if (nowMs - session.endedMs < limits.resumeWindowMs) break;
      lose(session);
    }
    if (endedSessions.size === 0) stopSweep();
  }

  function stopSweep(): void {
    clearInterval(sweepTimer);
    sweepTimer = undefined;
  }

  function remember(session: StreamSession, seq: number, isRetry: boolean, text: string): void {
    if (session.isLost) return;
    if (isRetry) forgetRetry(session, seq);
    if (errorChars + text.length > limits.resumeErrorCharsTotalMax) {
      session.errorsDropped += 1;
      return;
    }
    session.errors.push({ seq, isRetry, text });
    addChars(session, text.length);
    let dropped = 0;
    while (session.errorChars > limits.resumeErrorCharsMax) {
      addChars(session, -(session.errors[dropped]?.text.length ?? 0));
      dropped += 1;
    }
    if (dropped === 0) return;
    session.errors.splice(0, dropped);
    session.errorsDropped += dropped;
  }

  /** An event that is refused again and again must not push out the others. */
  function forgetRetry(session: StreamSession, seq: number): void {
    const at = session.errors.findIndex((error) => error.isRetry && error.seq === seq);
    if (at >= 0) for (const { text } of session.errors.splice(at, 1)) addChars(session, -text.length);
  }

  function addChars(session: StreamSession, chars: number): void {
    session.errorChars += chars;
    errorChars += chars;
  }

  function errorsOf({ errors, seqs }: StreamSession): readonly string[] {
    // What was refused for a while and has got in since is no news.
    return errors.filter(({ seq, isRetry }) => !isRetry || seqs.isOpen(seq)).map(({ text }) => text);
  }

  function lose(session: StreamSession): void {
    session.isLost = true;
    byToken.delete(session.owner.data.resumeToken);
    heard(session);
    endedSessions.delete(session);
    addChars(session, -session.errorChars);
    session.errors = [];
  }

  return {
    begin,
    takeOver,
    heard,
    ended,
    remember,
    errorsOf,
    lose,
    stats: () => ({ resumable: endedSessions.size, resumeErrorChars: errorChars }),
    stop() {
      for (const session of endedSessions) lose(session);
      stopSweep();
    },
  };
}

/**
 * A subject comes back with a fresh token, for the same stores. A token without one speaks for nobody in particular: it
 * has to be the same, as far as can be told by when it expires.
 */
function isSamePrincipal(one: Principal | undefined, other: Principal | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  if (one.subject !== other.subject || !isSameSet(one.stores, other.stores)) return false;
  return one.subject !== undefined || one.expiresAtMs === other.expiresAtMs;
}

function isSameSet(one: ReadonlySet<string> | undefined, other: ReadonlySet<string> | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.size === other.size && one.isSubsetOf(other);
}
