/** From frames to accept and back: few accept calls, one reply per event. */
import type { WebSocketHub } from '@libs/messaging';
import type { CartEventFrame } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import type { Outcome } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import { acceptFor } from './guard.ts';
import type { Confirmations } from './stream-confirmations.ts';
import {
  connectionIdOf,
  type EventBatch,
  originOf,
  type StreamConnection,
  type StreamSocket,
} from './stream-connection.ts';
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
  /** Counts turns of the event loop in which events came. */
  let turnNumber = 1;
  let isScheduled = false;
  /** Connections with events that wait for the end of the turn. */
  let waiting: StreamSocket[] = [];

  /**
   * A connection's first frame of a turn goes to accept at once, so that it joins the journal's next commit; what follows
   * it in the same turn shares a second call, without which a client that streams would cost twice as much per event.
   */
  function take(ws: StreamSocket, frame: CartEventFrame, bytes: number): void {
    if (!hub.take(ws, frame.events.length, bytes)) return;
    scheduleTurnEnd();
    if (ws.data.lastTurnNumber === turnNumber) return join(ws, frame, bytes);
    ws.data.lastTurnNumber = turnNumber;
    submit(ws, { frames: [frame], records: frame.events, bytes });
  }

  function join(ws: StreamSocket, frame: CartEventFrame, bytes: number): void {
    let turn = ws.data.turn;
    if (turn !== undefined && turn.records.length + frame.events.length > TURN_EVENTS_MAX) {
      submit(ws, turn);
      turn = undefined;
    }
    if (turn === undefined) {
      turn = { frames: [], records: [], bytes: 0 };
      ws.data.turn = turn;
      waiting.push(ws);
    }
    turn.frames.push(frame);
    turn.bytes += bytes;
    for (const record of frame.events) turn.records.push(record);
  }

  /**
   * Bun runs microtasks between the frames of one read, so only an immediate sees all of them. It is set before anything
   * is appended: the journal commits in an immediate too, which is then the later one.
   */
  function scheduleTurnEnd(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(endTurn);
  }

  function endTurn(): void {
    isScheduled = false;
    turnNumber += 1;
    const sockets = waiting;
    waiting = [];
    for (const ws of sockets) if (ws.data.turn !== undefined) submit(ws, ws.data.turn);
  }

  function submit(ws: StreamSocket, batch: EventBatch): void {
    ws.data.turn = undefined;
    void acceptAndAnswer(ws, batch);
  }

  async function acceptAndAnswer(ws: StreamSocket, batch: EventBatch): Promise<void> {
    const startedMs = now();
    const outcomes = await outcomesOf(ws, batch.records);
    deps.count(outcomes, startedMs);
    if (ws.readyState === WebSocket.OPEN) {
      // Uncorked, every reply would be a system call of its own.
      if (outcomes.length === 1) answer(ws, batch, outcomes);
      else ws.cork(() => answer(ws, batch, outcomes));
      confirmations.flush(ws);
    }
    hub.settle(ws, batch.records.length, batch.bytes);
  }

  async function outcomesOf(ws: StreamSocket, records: readonly unknown[]): Promise<readonly Outcome[]> {
    try {
      const outcomes = await acceptFor(ingestion.accept, ws.data.principal)(records, {
        ack: 'journal',
        origin: originOf(ws),
      });
      if (outcomes.length === records.length) return outcomes;
      throw new Error(`accept gave ${outcomes.length} outcomes for ${records.length} records`);
    } catch (error) {
      deps.logger.error({ error, connectionId: connectionIdOf(ws.data), events: records.length }, 'accept failed');
      hub.end(ws, 1011, 'internal error');
      return records.map(() => UNKNOWN_FATE);
    }
  }

  function answer(ws: StreamSocket, batch: EventBatch, outcomes: readonly Outcome[]): void {
    const at = timestamp();
    let first = 0;
    for (const frame of batch.frames) {
      for (let index = 0; index < frame.events.length; index++) {
        const outcome = outcomes[first + index];
        if (outcome === undefined || !answerOne(ws, at, frame, index, batch.records[first + index], outcome)) return;
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
    if (ws.data.confirmations !== undefined) confirmations.acknowledged(ws, outcome, names, record);
    return true;
  }

  return { take };
}
