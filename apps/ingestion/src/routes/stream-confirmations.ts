/**
 * Tells subscribed connections when their events have been stored. What waits for the store is kept as a number and a
 * short text per event; the store moves one sequence number forward, so a queue in its order is all it takes.
 */
import type { Outcome } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import type { StreamSocket } from './stream-connection.ts';
import { confirmedText, errorText } from './stream-replies.ts';

/** First in, first out: what stands before `head` has been sent. */
export interface ConfirmationQueue {
  head: number;
  /** The store must have got here before the name at the same index is confirmed; never decreasing. */
  seqs: number[];
  names: string[];
}

export interface ConfirmationLimits {
  /** Events of one connection that may wait for the store; beyond it the subscription ends. */
  readonly confirmationsMax: number;
  /** The same for all connections together. */
  readonly confirmationsTotalMax: number;
}

export const DEFAULT_CONFIRMATION_LIMITS: ConfirmationLimits = {
  confirmationsMax: 100_000,
  confirmationsTotalMax: 2_000_000,
};

export interface ConfirmationsDeps {
  readonly ingestion: Pick<Ingestion, 'journalId' | 'journalState' | 'storedSeq' | 'onStored'>;
  readonly limits: ConfirmationLimits;
  readonly send: (ws: StreamSocket, text: string) => boolean;
  readonly timestamp: () => string;
}

export interface Confirmations {
  subscribe(ws: StreamSocket): void;
  unsubscribe(ws: StreamSocket): void;
  /** An event of a subscribed connection was acknowledged. `names` is what its ack calls it. */
  acknowledged(ws: StreamSocket, outcome: Outcome, names: string): void;
  /** Sends what is due: after acks, and when the client has read what waited. */
  flush(ws: StreamSocket): void;
  waiting(): number;
  stop(): void;
}

/** No further confirmation is sent while this much waits for the client to read: it goes on when the client has. */
const OUTBOUND_PAUSE_BYTES = 262_144;
/** Sent confirmations are cut off the front of a queue once there are this many. */
const COMPACT_AT = 4_096;

export function createConfirmations({ ingestion, limits, send, timestamp }: ConfirmationsDeps): Confirmations {
  const subscribers = new Set<StreamSocket>();
  let waiting = 0;
  const stopListening = ingestion.onStored(() => {
    for (const ws of subscribers) flush(ws);
  });

  function subscribe(ws: StreamSocket): void {
    if (ws.data.confirmations !== undefined) return;
    ws.data.confirmations = { head: 0, seqs: [], names: [] };
    subscribers.add(ws);
  }

  function unsubscribe(ws: StreamSocket): void {
    const queue = ws.data.confirmations;
    if (queue === undefined) return;
    waiting -= queue.seqs.length - queue.head;
    ws.data.confirmations = undefined;
    subscribers.delete(ws);
  }

  function acknowledged(ws: StreamSocket, outcome: Outcome, names: string): void {
    const queue = ws.data.confirmations;
    const seq = queue === undefined ? undefined : seqToWaitFor(outcome);
    if (queue === undefined || seq === undefined) return;
    if (queue.seqs.length - queue.head >= limits.confirmationsMax || waiting >= limits.confirmationsTotalMax) {
      overflow(ws);
      return;
    }
    // A duplicate of an earlier event may have a lower number: it waits for those before it, which costs it little.
    queue.seqs.push(Math.max(seq, queue.seqs.at(-1) ?? 0));
    queue.names.push(names);
    waiting += 1;
  }

  /**
   * A duplicate without a position has a first copy that was durable before the verdict, somewhere up to the durable
   * end: it is confirmed once the store has got there.
   */
  function seqToWaitFor(outcome: Outcome): number | undefined {
    const position =
      outcome.kind === 'accepted' ? outcome : outcome.kind === 'duplicate' ? outcome.position : undefined;
    if (position !== undefined) return position.journal === ingestion.journalId ? position.seq : undefined;
    return outcome.kind === 'duplicate' ? ingestion.journalState().durableSeq : undefined;
  }

  function overflow(ws: StreamSocket): void {
    unsubscribe(ws);
    const message =
      'Too many events wait for the store: the subscription has ended. Events are still accepted and acknowledged; subscribe again later.';
    send(ws, errorText(timestamp(), '', { code: 'confirmations_overflow', message }));
  }

  function flush(ws: StreamSocket): void {
    const queue = ws.data.confirmations;
    const storedSeq = ingestion.storedSeq();
    if (queue === undefined || !((queue.seqs[queue.head] ?? Number.POSITIVE_INFINITY) <= storedSeq)) return;
    ws.cork(() => sendDue(ws, queue, storedSeq));
    if (queue.head < COMPACT_AT && queue.head < queue.seqs.length) return;
    queue.seqs = queue.seqs.slice(queue.head);
    queue.names = queue.names.slice(queue.head);
    queue.head = 0;
  }

  function sendDue(ws: StreamSocket, queue: ConfirmationQueue, storedSeq: number): void {
    const now = timestamp();
    while (queue.head < queue.seqs.length && ws.data.outboundBytes <= OUTBOUND_PAUSE_BYTES) {
      if ((queue.seqs[queue.head] ?? 0) > storedSeq) return;
      if (!send(ws, confirmedText(now, queue.names[queue.head] ?? ''))) return;
      queue.head += 1;
      waiting -= 1;
    }
  }

  return { subscribe, unsubscribe, acknowledged, flush, waiting: () => waiting, stop: stopListening };
}
