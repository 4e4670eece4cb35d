/** From frames to accept: what a connection sends in one turn of the event loop goes there together, beside everyone else's. */
import type { WebSocketHub } from '@libs/messaging';
import type { CartEventFrame } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import type { Accept, Origin, Outcome } from '@libs/pipeline';
import type { Ingestion } from '../ingestion.ts';
import { TURN_EVENTS_MAX, type Turn, type TurnItem } from '../turn.ts';
import { acceptFor } from './guard.ts';
import type { Answers } from './stream-answers.ts';
import {
  connectionIdOf,
  type EventBatch,
  originOf,
  type StreamConnection,
  type StreamSocket,
} from './stream-connection.ts';

export interface EventFlowDeps {
  readonly ingestion: Pick<Ingestion, 'accept'>;
  readonly turn: Turn;
  readonly hub: WebSocketHub<StreamConnection>;
  readonly answers: Pick<Answers, 'answer' | 'counted'>;
  readonly logger: Pick<Logger, 'error'>;
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

export function createEventFlow(deps: EventFlowDeps): EventFlow {
  const { turn, hub, answers } = deps;

  function take(ws: StreamSocket, frame: CartEventFrame, bytes: number): void {
    if (!hub.take(ws, frame.events.length, bytes)) return;
    if (frame.seq !== undefined) answers.counted(ws, frame.seq);
    const { batch } = ws.data;
    if (batch !== undefined && batch.records.length + frame.events.length <= TURN_EVENTS_MAX) {
      add(batch, frame, bytes);
      return;
    }
    ws.data.batch = { frames: [frame], records: [...frame.events], bytes };
    turn.take(new BatchItem(deps, ws, ws.data.batch));
  }

  return { take };
}

function add(batch: NonNullable<StreamConnection['batch']>, frame: CartEventFrame, bytes: number): void {
  batch.frames.push(frame);
  batch.bytes += bytes;
  for (const record of frame.events) batch.records.push(record);
}

class BatchItem implements TurnItem {
  readonly origin: Origin;
  readonly accept: Accept | undefined;
  readonly #deps: EventFlowDeps;
  readonly #ws: StreamSocket;
  readonly #batch: EventBatch;

  constructor(deps: EventFlowDeps, ws: StreamSocket, batch: EventBatch) {
    const { accept } = deps.ingestion;
    const own = acceptFor(accept, ws.data.principal);
    this.accept = own === accept ? undefined : own;
    // Now: when the turn ends, the client may have gone, and its address with it.
    this.origin = originOf(ws);
    this.#deps = deps;
    this.#ws = ws;
    this.#batch = batch;
  }

  records(): readonly unknown[] {
    const { data } = this.#ws;
    if (data.batch === this.#batch) data.batch = undefined;
    return this.#batch.records;
  }

  settled(outcomes: readonly Outcome[], first: number): void {
    const { answers, hub } = this.#deps;
    const ws = this.#ws;
    const { records, bytes } = this.#batch;
    if (ws.readyState === WebSocket.OPEN || ws.data.session !== undefined)
      answers.answer(ws, this.#batch, outcomes, first);
    hub.settle(ws, records.length, bytes);
  }

  failed(error: unknown): void {
    const { hub, logger } = this.#deps;
    const { records } = this.#batch;
    const connectionId = connectionIdOf(this.#ws.data);
    logger.error({ error, connectionId, events: records.length }, 'accept failed');
    hub.end(this.#ws, 1011, 'internal error');
    this.settled(
      records.map(() => UNKNOWN_FATE),
      0,
    );
  }
}
