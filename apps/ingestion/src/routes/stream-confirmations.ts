/**
 * Tells subscribed connections when their events have been stored and routed: events of our own journal, and duplicates
 * whose first copy is in another one, of this machine or of another instance.
 */
import { type DeliveredLevel, journalTag, type Outcome } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import type { StreamSocket } from './stream-connection.ts';
import { addToLane, createLane, isDue, type Lane, type Reached, sendDue, waitingIn } from './stream-lane.ts';
import { confirmedText, errorText } from './stream-replies.ts';

/** What a connection waits for. */
export interface ConfirmationQueue {
  readonly own: Lane;
  /** By the tag of the journal; absent while there are none. */
  others?: Map<string, Lane>;
}

export interface ConfirmationLimits {
  /** Events of one connection that may wait; beyond it the subscription ends. */
  readonly confirmationsMax: number;
  /** The same for all connections together. */
  readonly confirmationsTotalMax: number;
}

export const DEFAULT_CONFIRMATION_LIMITS: ConfirmationLimits = {
  confirmationsMax: 100_000,
  confirmationsTotalMax: 2_000_000,
};

export interface ConfirmationsDeps {
  readonly ingestion: Pick<
    Ingestion,
    'journalId' | 'journalState' | 'reachedSeq' | 'onReached' | 'isSilent' | 'isRouted'
  >;
  readonly limits: ConfirmationLimits;
  readonly send: (ws: StreamSocket, text: string) => boolean;
  readonly timestamp: () => string;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

export interface Confirmations {
  subscribe(ws: StreamSocket): void;
  unsubscribe(ws: StreamSocket): void;
  /** An event of a subscribed connection was acknowledged. `names` is what its ack calls it. */
  acknowledged(ws: StreamSocket, outcome: Outcome, names: string, record: unknown): void;
  /** Sends what is due: after acks, and when the client has read what waited. */
  flush(ws: StreamSocket): void;
  waiting(): number;
  stop(): void;
}

/** No further confirmation is sent while this much waits for the client to read: it goes on when the client has. */
const OUTBOUND_PAUSE_BYTES = 262_144;
/** How often it is looked whether anything is heard of the journals that are waited for. */
const SWEEP_MS = 1_000;

export function createConfirmations({ ingestion, limits, send, timestamp, now }: ConfirmationsDeps): Confirmations {
  const subscribers = new Set<StreamSocket>();
  /** Those of them that wait for journals which are not ours. */
  const lookingElsewhere = new Set<StreamSocket>();
  const ownTag = journalTag(ingestion.journalId);
  let waiting = 0;
  let sweep: ReturnType<typeof setInterval> | undefined;
  const stopListening = ingestion.onReached((tag) => {
    if (tag !== undefined) for (const ws of lookingElsewhere) flushOthers(ws);
    else {
      const reached = reachedOf(ownTag);
      for (const ws of subscribers) flushOwn(ws, reached);
    }
  });

  function subscribe(ws: StreamSocket): void {
    if (ws.data.confirmations !== undefined) return;
    ws.data.confirmations = { own: createLane(now()) };
    subscribers.add(ws);
  }

  function unsubscribe(ws: StreamSocket): void {
    const queue = ws.data.confirmations;
    if (queue === undefined) return;
    waiting -= waitingOf(queue);
    ws.data.confirmations = undefined;
    subscribers.delete(ws);
    noLongerElsewhere(ws);
  }

  function acknowledged(ws: StreamSocket, outcome: Outcome, names: string, record: unknown): void {
    const queue = ws.data.confirmations;
    const place = queue === undefined ? undefined : placeOf(outcome);
    if (queue === undefined || place === undefined) return;
    if (waitingOf(queue) >= limits.confirmationsMax || waiting >= limits.confirmationsTotalMax) {
      overflow(ws);
      return;
    }
    const lane = place.tag === ownTag ? queue.own : otherLane(ws, queue, place.tag);
    addToLane(lane, place.seq, names, ingestion.isRouted(eventTypeOf(record)));
    waiting += 1;
  }

  /**
   * A duplicate without a position has a first copy that was durable before the verdict: in another journal, somewhere up to
   * the number that came with it, or in ours, somewhere up to the durable end. It is confirmed once that has been stored.
   */
  function placeOf(outcome: Outcome): { readonly tag: string; readonly seq: number } | undefined {
    if (outcome.kind === 'accepted') return { tag: ownTag, seq: outcome.seq };
    if (outcome.kind !== 'duplicate') return undefined;
    const { position, elsewhere } = outcome;
    if (elsewhere !== undefined) return { tag: elsewhere.journalTag, seq: elsewhere.throughSeq };
    return { tag: ownTag, seq: position?.seq ?? ingestion.journalState().durableSeq };
  }

  function otherLane(ws: StreamSocket, queue: ConfirmationQueue, tag: string): Lane {
    queue.others ??= new Map();
    const lane = queue.others.get(tag) ?? createLane(now());
    queue.others.set(tag, lane);
    lookingElsewhere.add(ws);
    sweep ??= setInterval(giveUp, SWEEP_MS);
    return lane;
  }

  function noLongerElsewhere(ws: StreamSocket): void {
    lookingElsewhere.delete(ws);
    if (lookingElsewhere.size > 0) return;
    clearInterval(sweep);
    sweep = undefined;
  }

  function overflow(ws: StreamSocket): void {
    unsubscribe(ws);
    const message =
      'Too many events wait for the store: the subscription has ended. Events are still accepted and acknowledged; subscribe again later.';
    send(ws, errorText(timestamp(), '', { code: 'confirmations_overflow', message }));
  }

  /** An instance that went silent for good must not hold up anything for ever; what it has is never guessed. */
  function giveUp(): void {
    for (const ws of lookingElsewhere)
      for (const [tag, lane] of ws.data.confirmations?.others ?? [])
        if (ingestion.isSilent(tag, lane.sinceMs)) abandon(ws, tag, lane);
  }

  function abandon(ws: StreamSocket, tag: string, lane: Lane): void {
    const events = waitingIn(lane);
    waiting -= events;
    dropLane(ws, tag);
    const message = `${events} events were duplicates of events that another instance has, and nothing is heard of it: they are not confirmed any more. They are on its disk.`;
    send(ws, errorText(timestamp(), '', { code: 'confirmations_abandoned', message }));
  }

  function dropLane(ws: StreamSocket, tag: string): void {
    const others = ws.data.confirmations?.others;
    others?.delete(tag);
    if (others?.size === 0) noLongerElsewhere(ws);
  }

  function flush(ws: StreamSocket): void {
    if (ws.data.confirmations === undefined) return;
    flushOwn(ws, reachedOf(ownTag));
    flushOthers(ws);
  }

  function flushOwn(ws: StreamSocket, reached: Reached): void {
    if (ws.data.confirmations !== undefined) flushLane(ws, ws.data.confirmations.own, reached);
  }

  function flushOthers(ws: StreamSocket): void {
    for (const [tag, lane] of ws.data.confirmations?.others ?? []) {
      flushLane(ws, lane, reachedOf(tag));
      if (waitingIn(lane) === 0) dropLane(ws, tag);
    }
  }

  function reachedOf(tag: string): Reached {
    return { stored: ingestion.reachedSeq('stored', tag), routed: ingestion.reachedSeq('routed', tag) };
  }

  function flushLane(ws: StreamSocket, lane: Lane, reached: Reached): void {
    if (!isDue(lane, reached)) return;
    ws.cork(() => {
      const now = timestamp();
      waiting -= sendDue(lane, reached, (level, names) => confirm(ws, now, level, names));
    });
  }

  function confirm(ws: StreamSocket, at: string, level: DeliveredLevel, names: string): boolean {
    return ws.data.outboundBytes <= OUTBOUND_PAUSE_BYTES && send(ws, confirmedText(at, names, level));
  }

  return {
    subscribe,
    unsubscribe,
    acknowledged,
    flush,
    waiting: () => waiting,
    stop() {
      stopListening();
      clearInterval(sweep);
    },
  };
}

function waitingOf({ own, others }: ConfirmationQueue): number {
  let sum = waitingIn(own);
  if (others !== undefined) for (const lane of others.values()) sum += waitingIn(lane);
  return sum;
}

function eventTypeOf(record: unknown): unknown {
  return typeof record === 'object' && record !== null && 'eventType' in record ? record.eventType : undefined;
}
