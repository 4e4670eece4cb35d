/**
 * Hands the records of a stream to accept in groups while the reading goes on: a few groups in flight at most, their
 * outcomes counted in the order of the input.
 */
import type { Outcome, Rejected } from '@libs/pipeline';
import type { Counters } from './counters.ts';
import { eventIdOf } from './replies.ts';
import type { Tally } from './tally.ts';

interface GroupOptions {
  readonly accept: (records: readonly unknown[]) => Promise<Outcome[]>;
  readonly tally: Tally;
  readonly counters: Counters;
  /** A group is sent when it has this many records or bytes of text. */
  readonly groupEventsMax: number;
  readonly groupBytesMax: number;
  readonly inFlightMax: number;
}

export interface Groups {
  add(record: unknown, byteLength: number): void;
  /** A record that cannot even be read; its outcome is known. */
  addUnreadable(outcome: Rejected): void;
  /** Sends what has gathered. */
  send(): void;
  /** Sends what has gathered unless accept is still busy with an earlier group; then it goes as that one is done. */
  sendWhenIdle(): void;
  full(): boolean;
  /** Resolves once another group may be sent. */
  room(): Promise<void>;
  /** Resolves once every group that was sent has been answered and counted. */
  settled(): Promise<void>;
}

interface Group {
  readonly records: unknown[];
  readonly unreadable: Map<number, Rejected>;
  byteLength: number;
}

/** Stands for an unreadable record: never a valid event, so that an atomic batch with one of them stores nothing. */
const UNREADABLE = null;

export function createGroups(options: GroupOptions): Groups {
  const { accept, tally, counters } = options;
  let group = emptyGroup();
  let inFlight = 0;
  let sendNext = false;
  let answered: Promise<void> = Promise.resolve();
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;

  function add(record: unknown, byteLength: number): void {
    group.records.push(record);
    group.byteLength += byteLength;
    if (group.records.length >= options.groupEventsMax || group.byteLength >= options.groupBytesMax) send();
  }

  function addUnreadable(outcome: Rejected): void {
    group.unreadable.set(group.records.length, outcome);
    add(UNREADABLE, 0);
  }

  function send(): void {
    sendNext = false;
    if (group.records.length === 0) return;
    const sent = group;
    group = emptyGroup();
    inFlight += 1;
    const startedMs = performance.now();
    answered = Promise.all([answered, accept(sent.records)]).then(
      ([, outcomes]) => done(() => count(sent, outcomes, startedMs)),
      (error: unknown) => done(() => fail(error)),
    );
  }

  function sendWhenIdle(): void {
    if (inFlight === 0) send();
    else sendNext = true;
  }

  function done(apply: () => void): void {
    inFlight -= 1;
    apply();
    if (sendNext && inFlight === 0) send();
    wake?.();
  }

  function count(sent: Group, answers: readonly Outcome[], startedMs: number): void {
    const outcomes = sent.unreadable.size === 0 ? answers : answers.map((o, index) => sent.unreadable.get(index) ?? o);
    counters.count(outcomes, startedMs);
    for (const [index, outcome] of outcomes.entries()) {
      tally.add(outcome.kind === 'accepted' ? null : eventIdOf(sent.records[index]), outcome);
    }
  }

  function fail(error: unknown): void {
    failure ??= { error };
  }

  async function room(): Promise<void> {
    while (inFlight >= options.inFlightMax && failure === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    throwFailure();
  }

  async function settled(): Promise<void> {
    while (inFlight > 0) await answered;
    throwFailure();
  }

  function throwFailure(): void {
    if (failure !== undefined) throw failure.error;
  }

  return { add, addUnreadable, send, sendWhenIdle, full: () => inFlight >= options.inFlightMax, room, settled };
}

function emptyGroup(): Group {
  return { records: [], unreadable: new Map(), byteLength: 0 };
}
