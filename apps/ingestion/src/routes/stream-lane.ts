/**
 * Events of one connection that wait for one journal to be stored and routed. A journal moves forward one sequence number
 * at a time, so a queue in its order, with one head for each level, is all it takes.
 */
import type { DeliveredLevel } from '@libs/pipeline';

/** First in, first out. What stands before `storedHead` has been confirmed as stored, what stands before `routedHead` is done with. */
export interface Lane {
  storedHead: number;
  /** Never beyond `storedHead`. */
  routedHead: number;
  /** The journal must have got here before the event at the same index is confirmed; never decreasing. */
  seqs: number[];
  /** What the event is called in its replies. */
  names: string[];
  /** Whether it goes further than the store. */
  routed: boolean[];
  /** When the first of them began to wait (monotonic). */
  readonly sinceMs: number;
}

/** How far the journal is. */
export type Reached = Readonly<Record<DeliveredLevel, number>>;

/** Finished events are cut off the front once there are this many. */
const COMPACT_AT = 4_096;

export function createLane(sinceMs: number): Lane {
  return { storedHead: 0, routedHead: 0, seqs: [], names: [], routed: [], sinceMs };
}

/** An event whose number is lower than that of the one before waits for that one, which costs it little. */
export function addToLane(lane: Lane, seq: number, names: string, isRouted: boolean): void {
  lane.seqs.push(Math.max(seq, lane.seqs.at(-1) ?? 0));
  lane.names.push(names);
  lane.routed.push(isRouted);
}

/** Events that have not been confirmed at every level they go to. */
export function waitingIn(lane: Lane): number {
  return lane.seqs.length - lane.routedHead;
}

export function isDue(lane: Lane, reached: Reached): boolean {
  const isStored = isWithin(lane, lane.storedHead, reached.stored);
  return isStored || (lane.routedHead < lane.storedHead && isWithin(lane, lane.routedHead, reached.routed));
}

/**
 * Confirms what is due, in order, each event as stored before it is confirmed as routed, until `send` says that it took
 * nothing. Returns how many events are done with.
 */
export function sendDue(lane: Lane, reached: Reached, send: (level: DeliveredLevel, names: string) => boolean): number {
  const before = lane.routedHead;
  while (isWithin(lane, lane.storedHead, reached.stored)) {
    // The connection may be gone by now, and the lane counted as over: it must not move any more.
    if (!send('stored', lane.names[lane.storedHead] as string)) return 0;
    lane.storedHead += 1;
  }
  while (lane.routedHead < lane.storedHead) {
    if (lane.routed[lane.routedHead] === true) {
      if (!isWithin(lane, lane.routedHead, reached.routed)) break;
      if (!send('routed', lane.names[lane.routedHead] as string)) break;
    }
    lane.routedHead += 1;
  }
  const done = lane.routedHead - before;
  if (lane.routedHead >= COMPACT_AT || lane.routedHead === lane.seqs.length) compact(lane);
  return done;
}

function isWithin(lane: Lane, at: number, seq: number): boolean {
  return (lane.seqs[at] ?? Number.POSITIVE_INFINITY) <= seq;
}

function compact(lane: Lane): void {
  const done = lane.routedHead;
  lane.seqs = lane.seqs.slice(done);
  lane.names = lane.names.slice(done);
  lane.routed = lane.routed.slice(done);
  lane.storedHead -= done;
  lane.routedHead = 0;
}
