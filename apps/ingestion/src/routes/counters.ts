/**
 * What the sources count, as plain numbers that `/health` and `/metrics` read when they are asked. Counting costs a
 * few additions per accept call; the per-second ring means that no event carries a timer.
 */
import type { Outcome } from '@libs/pipeline';

/** Seconds that errorRate and averageProcessingTime look back. */
const RING_SECONDS = 60;
/** Seconds that eventsPerSecond looks back: short enough to follow a burst, long enough to be readable. */
const RATE_SECONDS = 10;
/** Codes are a closed set of ours; the limit only guards the map against a code that is not. */
const CODES_MAX = 100;

export interface EventTotals {
  received: number;
  accepted: number;
  duplicates: number;
  rejected: number;
  retries: number;
  /** Accept calls, and the milliseconds that they took; what arrives in one turn of the event loop shares a call. */
  calls: number;
  timeMs: number;
}

export interface WebSocketTotals {
  activeConnections: number;
  totalConnections: number;
  messagesReceived: number;
  messagesSent: number;
}

/** What the rates are made of, so that those of several processes can be added. */
export interface Recent {
  readonly eventsPerSecond: number;
  /** Of the last minute. */
  readonly received: number;
  readonly failed: number;
  readonly calls: number;
  readonly timeMs: number;
}

interface Rates {
  /** Events that arrived per second, mean of the last 10 seconds. */
  readonly eventsPerSecond: number;
  /** Share (0 to 1) of the last minute's events that were rejected or must be sent again. */
  readonly errorRate: number;
  /** Milliseconds that an accept call took, mean of the last minute. */
  readonly averageProcessingTime: number;
}

export interface Counters {
  readonly events: EventTotals;
  readonly websocket: WebSocketTotals;
  /** How many events were rejected or sent back, by code. */
  readonly failuresByCode: ReadonlyMap<string, number>;
  /** Counts the outcomes of one accept call that began at `startedMs` on the clock of `performance.now()`. */
  count(outcomes: readonly Outcome[], startedMs: number): void;
  recent(): Recent;
}

/** `now` gives monotonic milliseconds. */
export function createCounters(now: () => number = () => performance.now()): Counters {
  const events: EventTotals = { received: 0, accepted: 0, duplicates: 0, rejected: 0, retries: 0, calls: 0, timeMs: 0 };
  const websocket: WebSocketTotals = {
    activeConnections: 0,
    totalConnections: 0,
    messagesReceived: 0,
    messagesSent: 0,
  };
  const failuresByCode = new Map<string, number>();
  const ring = createRing();
  const startedAtMs = now();

  function count(outcomes: readonly Outcome[], startedMs: number): void {
    let failed = 0;
    for (const outcome of outcomes) {
      if (outcome.kind === 'accepted') events.accepted += 1;
      else if (outcome.kind === 'duplicate') events.duplicates += 1;
      else {
        failed += 1;
        if (outcome.kind === 'rejected') events.rejected += 1;
        else events.retries += 1;
        countCode(outcome.code);
      }
    }
    events.received += outcomes.length;
    const nowMs = now();
    events.calls += 1;
    events.timeMs += nowMs - startedMs;
    ring.add(Math.floor(nowMs / 1000), outcomes.length, failed, nowMs - startedMs);
  }

  function countCode(code: string): void {
    const name = failuresByCode.has(code) || failuresByCode.size < CODES_MAX ? code : 'other';
    failuresByCode.set(name, (failuresByCode.get(name) ?? 0) + 1);
  }

  function recent(): Recent {
    const nowMs = now();
    const second = Math.floor(nowMs / 1000);
    const seconds = Math.min(RATE_SECONDS, Math.max(1, (nowMs - startedAtMs) / 1000));
    const eventsPerSecond = ring.sum(second, RATE_SECONDS).received / seconds;
    return { eventsPerSecond, ...ring.sum(second, RING_SECONDS) };
  }

  return { events, websocket, failuresByCode, count, recent };
}

/** Of all these processes together. */
export function ratesOf(processes: readonly Recent[]): Rates {
  const received = sumOf(processes, (one) => one.received);
  const calls = sumOf(processes, (one) => one.calls);
  return {
    eventsPerSecond: round(sumOf(processes, (one) => one.eventsPerSecond)),
    errorRate: received === 0 ? 0 : round(sumOf(processes, (one) => one.failed) / received),
    averageProcessingTime: calls === 0 ? 0 : round(sumOf(processes, (one) => one.timeMs) / calls),
  };
}

export function sumOf<T>(all: readonly T[], read: (one: T) => number): number {
  return all.reduce((total, one) => total + read(one), 0);
}

interface Sums {
  received: number;
  failed: number;
  calls: number;
  timeMs: number;
}

function createRing() {
  const slots = Array.from({ length: RING_SECONDS }, () => ({
    second: -1,
    received: 0,
    failed: 0,
    calls: 0,
    timeMs: 0,
  }));

  function add(second: number, received: number, failed: number, timeMs: number): void {
    const slot = slots[second % RING_SECONDS];
    if (slot === undefined) return;
    if (slot.second !== second) Object.assign(slot, { second, received: 0, failed: 0, calls: 0, timeMs: 0 });
    slot.received += received;
    slot.failed += failed;
    slot.calls += 1;
    slot.timeMs += timeMs;
  }

  function sum(second: number, seconds: number): Sums {
    const sums: Sums = { received: 0, failed: 0, calls: 0, timeMs: 0 };
    for (const slot of slots) {
      if (slot.second < 0 || slot.second > second || slot.second <= second - seconds) continue;
      sums.received += slot.received;
      sums.failed += slot.failed;
      sums.calls += slot.calls;
      sums.timeMs += slot.timeMs;
    }
    return sums;
  }

  return { add, sum };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
