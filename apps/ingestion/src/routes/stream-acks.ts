/** Cumulative acks: one `event_ack` with `throughSeq` for what a commit made durable, instead of one per event. */
import type { StreamSocket } from './stream-connection.ts';
import { cumulativeAckText, errorText } from './stream-replies.ts';
import type { CountLoss, StreamSession } from './stream-session.ts';

const LOSSES: Record<CountLoss, string> = {
  acks_overflow: 'seq has too many gaps',
  seq_below_first: 'seq has gone below the first one, and the oldest event must be sent first',
};

export interface CumulativeAcksDeps {
  readonly send: (ws: StreamSocket, text: string) => boolean;
  readonly timestamp: () => string;
}

export interface CumulativeAcks {
  subscribe(ws: StreamSocket): void;
  unsubscribe(ws: StreamSocket): void;
  /** Numbers of this session were settled. What a commit settled in several calls is told at once, in the next turn. */
  progressed(session: StreamSession): void;
  /** The session was lost: single acks from here on. */
  end(ws: StreamSocket, why: CountLoss): void;
  /** The ack that has still to leave before this connection is closed. */
  lastAck(ws: StreamSocket): string | undefined;
}

export function createCumulativeAcks({ send, timestamp }: CumulativeAcksDeps): CumulativeAcks {
  /** Sessions that have something to be told at the end of this turn of the event loop. */
  let waiting: StreamSession[] = [];

  function subscribe(ws: StreamSocket): void {
    const loss = ws.data.session?.loss;
    if (loss !== undefined) end(ws, loss);
    else ws.data.hasCumulativeAcks = true;
  }

  function unsubscribe(ws: StreamSocket): void {
    if (ws.data.session !== undefined) tell(ws.data.session);
    ws.data.hasCumulativeAcks = false;
  }

  function progressed(session: StreamSession): void {
    if (session.owner.data.hasCumulativeAcks) session.owedSeq = session.seqs.highestSeq;
    if (session.isAckScheduled || !isDue(session)) return;
    session.isAckScheduled = true;
    if (waiting.push(session) === 1) setImmediate(tellAll);
  }

  function tellAll(): void {
    const sessions = waiting;
    waiting = [];
    for (const session of sessions) {
      session.isAckScheduled = false;
      tell(session);
    }
  }

  function tell(session: StreamSession): void {
    if (isDue(session) && send(session.owner, cumulativeAckText(timestamp(), session.seqs.throughSeq)))
      session.toldSeq = session.seqs.throughSeq;
  }

  function end(ws: StreamSocket, why: CountLoss): void {
    ws.data.hasCumulativeAcks = false;
    const message = `${LOSSES[why]}: every event is acknowledged by itself from here on, until you connect again. Send again what has no answer yet.`;
    send(ws, errorText(timestamp(), '', { code: why, field: 'seq', message }));
  }

  return {
    subscribe,
    unsubscribe,
    progressed,
    end,
    lastAck(ws) {
      const { session } = ws.data;
      if (session === undefined || session.owner !== ws || !isDue(session)) return undefined;
      session.toldSeq = session.seqs.throughSeq;
      return cumulativeAckText(timestamp(), session.toldSeq);
    },
  };
}

/** Whether `throughSeq` is news, and somebody waits for it. Without cumulative acks nobody does. */
function isDue({ seqs, toldSeq, owedSeq, isLost }: StreamSession): boolean {
  return seqs.throughSeq > toldSeq && toldSeq < owedSeq && !isLost;
}
