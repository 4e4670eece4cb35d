/** From frames to accept and back: one accept call for what a connection sent in one turn of the event loop, one reply per event. */
import type { WebSocketHub } from '@libs/messaging';
import type { CartEventFrame } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import type { Outcome } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import type { Confirmations } from './stream-confirmations.ts';
import { connectionIdOf, originOf, type StreamConnection, type StreamSocket, type Turn } from './stream-connection.ts';
import { namesOf, outcomeText } from './stream-replies.ts';

export interface EventFlowDeps {
  readonly ingestion: Pick<Ingestion, 'accept'>;
  readonly hub: WebSocketHub<StreamConnection>;
  readonly confirmations: Confirmations;
  readonly count: (outcomes: readonly Outcome[], startedMs: number) => void;
  readonly logger: Pick<Logger, 'error'>;
  readonly now: () => number;
  readonly timestamp: () => string;
}

export interface EventFlow {
  /** Takes the events of a `cart_event` frame of `bytes` bytes, unless the connection has used up its credit. */
  take(ws: StreamSocket, frame: CartEventFrame, bytes: number): void;
}

/** Accept failing is a bug of ours: the events' fate is not known, and sending them again is safe. */
const UNKNOWN_FATE: Outcome = {
  kind: 'retry',
  code: 'internal_error',
  message: 'The server made a mistake; whether this event was stored is not known. Send it again.',
  afterMs: 1_000,
};

/** Events in one accept call, and in one frame. */
export const TURN_EVENTS_MAX = 1_000;

export function createEventFlow(deps: EventFlowDeps): EventFlow {
  const { ingestion, hub, confirmations, now, timestamp } = deps;
  /** Connections with a turn that has not been submitted. */
  let waiting: StreamSocket[] = [];

  function take(ws: StreamSocket, frame: CartEventFrame, bytes: number): void {
    const { events } = frame;
    if (!hub.take(ws, events.length, bytes)) return;
    let turn = ws.data.turn;
    if (turn !== undefined && turn.records.length + events.length > TURN_EVENTS_MAX) {
      submit(ws, turn);
      turn = undefined;
    }
    turn ??= open(ws);
    turn.frames.push(frame);
    turn.bytes += bytes;
    for (const record of events) turn.records.push(record);
  }

  function open(ws: StreamSocket): Turn {
    const turn: Turn = { frames: [], records: [], bytes: 0 };
    ws.data.turn = turn;
    waiting.push(ws);
    // Bun runs microtasks between the frames of one read, so only an immediate sees all of them.
    if (waiting.length === 1) setImmediate(submitAll);
    return turn;
  }

  function submitAll(): void {
    const sockets = waiting;
    waiting = [];
    for (const ws of sockets) if (ws.data.turn !== undefined) submit(ws, ws.data.turn);
  }

  function submit(ws: StreamSocket, turn: Turn): void {
    ws.data.turn = undefined;
    void acceptAndAnswer(ws, turn);
  }

  async function acceptAndAnswer(ws: StreamSocket, turn: Turn): Promise<void> {
    const startedMs = now();
    const outcomes = await outcomesOf(ws, turn.records);
    deps.count(outcomes, startedMs);
    if (ws.readyState === WebSocket.OPEN) {
      // Uncorked, every reply would be a system call of its own.
      if (outcomes.length === 1) answer(ws, turn, outcomes);
      else ws.cork(() => answer(ws, turn, outcomes));
      confirmations.flush(ws);
    }
    hub.settle(ws, turn.records.length, turn.bytes);
  }

  async function outcomesOf(ws: StreamSocket, records: readonly unknown[]): Promise<readonly Outcome[]> {
    try {
      const outcomes = await ingestion.accept(records, { ack: 'journal', origin: originOf(ws) });
      if (outcomes.length === records.length) return outcomes;
      throw new Error(`accept gave ${outcomes.length} outcomes for ${records.length} records`);
    } catch (error) {
      deps.logger.error({ error, connectionId: connectionIdOf(ws.data), events: records.length }, 'accept failed');
      hub.end(ws, 1011, 'internal error');
      return records.map(() => UNKNOWN_FATE);
    }
  }

  function answer(ws: StreamSocket, turn: Turn, outcomes: readonly Outcome[]): void {
    const at = timestamp();
    let first = 0;
    for (const frame of turn.frames) {
      for (let index = 0; index < frame.events.length; index++) {
        const outcome = outcomes[first + index];
        if (outcome === undefined || !answerOne(ws, at, frame, index, turn.records[first + index], outcome)) return;
      }
      first += frame.events.length;
    }
  }

  function answerOne(
    ws: StreamSocket,
    at: string,
    frame: CartEventFrame,
    index: number,
    record: unknown,
    outcome: Outcome,
  ): boolean {
    const seq = frame.seq === undefined ? undefined : frame.seq + index;
    // The id beside an array belongs to no one event.
    const names = namesOf(record, frame.isArray ? undefined : frame.eventId, seq);
    const path = frame.isArray && outcome.kind === 'rejected' ? `payload[${index}]` : 'payload';
    if (!hub.send(ws, outcomeText(at, names, path, outcome))) return false;
    if (ws.data.confirmations !== undefined) confirmations.acknowledged(ws, outcome, names);
    return true;
  }

  return { take };
}
