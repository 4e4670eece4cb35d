/** What is remembered of a client that counts its events, across the connections that it resumes. */
import { randomBytes } from 'node:crypto';
import type { StreamSocket } from './stream-connection.ts';
import { SettledSeqs } from './stream-seqs.ts';

/** An `event_error` as it was sent, or would have been. */
interface RememberedError {
  readonly seq: number;
  readonly isRetry: boolean;
  readonly text: string;
}

/** Why a client's numbers cannot be followed any more. */
export type CountLoss = 'acks_overflow' | 'seq_below_first';

/** Made at the first event with a `seq`. */
export class StreamSession {
  readonly seqs: SettledSeqs;
  /** The connection that answers go to, also for events of the ones before it. */
  owner: StreamSocket;
  /** The token that the owner came with; it is good until the owner is heard, since its hello may have been lost. */
  formerToken: string | undefined = undefined;
  /** The last `throughSeq` of a cumulative ack. */
  toldSeq: number;
  /** The highest number that only a cumulative ack answers. */
  owedSeq: number;
  isAckScheduled = false;
  /** Its numbers cannot be followed: nothing is known any more. */
  isLost = false;
  /** What the client did to it; undefined also when it was only forgotten. */
  loss: CountLoss | undefined = undefined;
  /** When the owner ended (monotonic); infinite while it lives. */
  endedMs = Number.POSITIVE_INFINITY;
  errors: RememberedError[] = [];
  errorChars = 0;
  errorsDropped = 0;

  constructor(owner: StreamSocket, firstSeq: number) {
    this.owner = owner;
    this.seqs = new SettledSeqs(firstSeq);
    this.toldSeq = firstSeq - 1;
    this.owedSeq = firstSeq - 1;
  }
}

const TOKEN_BYTES = 16;
/** 16 bytes in base64url. */
const TOKEN = /^[A-Za-z0-9_-]{22}$/;

export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}
