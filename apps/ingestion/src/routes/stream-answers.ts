/** From outcomes to replies, and to what is known of the client's counter. */
import type { WebSocketHub } from '@libs/messaging';
import type { CartEventFrame, FrameProblem } from '@libs/models';
import type { Outcome } from '@libs/pipeline';
import type { CumulativeAcks } from './stream-acks.ts';
import type { Confirmations } from './stream-confirmations.ts';
import type { EventBatch, StreamConnection, StreamSocket } from './stream-connection.ts';
import { namesOf, outcomeText } from './stream-replies.ts';
import type { Resumption } from './stream-resume.ts';
import type { CountLoss, StreamSession } from './stream-session.ts';

export interface AnswersDeps {
  readonly hub: WebSocketHub<StreamConnection>;
  readonly confirmations: Confirmations;
  readonly resumption: Resumption;
  readonly acks: CumulativeAcks;
  readonly timestamp: () => string;
}

export interface Answers {
  /** Events with this number and those after it were taken. */
  counted(ws: StreamSocket, seq: number): void;
  /**
   * One outcome for each event of the batch, in order, from `outcomes[from]` on. A client that has come back hears them on
   * its new connection.
   */
  answer(ws: StreamSocket, batch: EventBatch, outcomes: readonly Outcome[], from: number): void;
  /** A message was refused as a whole, with this text. If its events had numbers, these are settled by that. */
  refused(ws: StreamSocket, problem: FrameProblem, text: string): void;
}

export function createAnswers({ hub, confirmations, resumption, acks, timestamp }: AnswersDeps): Answers {
  /** A number below the first one would lie below every `throughSeq`, which says nothing of it: so none is told any more. */
  function counted(ws: StreamSocket, seq: number): void {
    const { session } = ws.data;
    if (session === undefined) resumption.begin(ws, seq);
    else if (!session.isLost && seq < session.seqs.firstSeq) lose(session, 'seq_below_first');
  }

  function answer(ws: StreamSocket, batch: EventBatch, outcomes: readonly Outcome[], from: number): void {
    const { session } = ws.data;
    const to = session === undefined ? ws : session.owner;
    if (to.readyState === WebSocket.OPEN) {
      // Uncorked, every reply would be a system call of its own.
      if (batch.records.length === 1) answerAll(to, session, batch, outcomes, from);
      else to.cork(() => answerAll(to, session, batch, outcomes, from));
      confirmations.flush(to);
    } else if (session !== undefined) answerAll(to, session, batch, outcomes, from);
    if (session !== undefined) acks.progressed(session);
  }

  function answerAll(
    to: StreamSocket,
    session: StreamSession | undefined,
    { frames, records }: EventBatch,
    outcomes: readonly Outcome[],
    from: number,
  ): void {
    const at = timestamp();
    let first = 0;
    for (const frame of frames) {
      if (session === undefined || frame.seq === undefined || session.isLost) {
        for (let index = 0; index < frame.events.length; index++) {
          const outcome = outcomes[from + first + index] as Outcome;
          if (!answerOne(to, at, frame, index, records[first + index], outcome)) break;
        }
      } else {
        for (let index = 0; index < frame.events.length; index++) {
          const outcome = outcomes[from + first + index] as Outcome;
          answerCounted(to, session, at, frame, frame.seq + index, index, records[first + index], outcome);
        }
        settle(session, frame.seq, from + first, frame.events.length, outcomes);
      }
      first += frame.events.length;
    }
  }

  function answerOne(
    to: StreamSocket,
    at: string,
    frame: CartEventFrame,
    index: number,
    record: unknown,
    outcome: Outcome,
  ): boolean {
    const names = namesIn(frame, index, record);
    if (!hub.send(to, textOf(at, names, frame, index, outcome))) return false;
    if (to.data.confirmations !== undefined) confirmations.acknowledged(to, outcome, names, record);
    return true;
  }

  /** As without a session, but errors are kept, heard or not, and what a cumulative ack will say is left to it. */
  function answerCounted(
    to: StreamSocket,
    session: StreamSession,
    at: string,
    frame: CartEventFrame,
    seq: number,
    index: number,
    record: unknown,
    outcome: Outcome,
  ): void {
    if (outcome.kind === 'rejected' || outcome.kind === 'retry') {
      const text = textOf(at, namesIn(frame, index, record), frame, index, outcome);
      resumption.remember(session, seq, outcome.kind === 'retry', text);
      hub.send(to, text);
    } else if (to.readyState !== WebSocket.OPEN) return;
    else if (outcome.kind === 'duplicate' || !to.data.hasCumulativeAcks || !session.seqs.isOpen(seq))
      answerOne(to, at, frame, index, record, outcome);
    else if (to.data.confirmations !== undefined)
      confirmations.acknowledged(to, outcome, namesIn(frame, index, record), record);
  }

  /** `outcomes` from `first` on belong to the numbers from `seq` on; all but those to be sent again are settled. */
  function settle(
    session: StreamSession,
    seq: number,
    first: number,
    events: number,
    outcomes: readonly Outcome[],
  ): void {
    let start = 0;
    let hasRoom = true;
    for (let index = 0; index <= events; index++) {
      if (index < events && outcomes[first + index]?.kind !== 'retry') continue;
      if (index > start) hasRoom = session.seqs.settle(seq + start, seq + index - 1) && hasRoom;
      start = index + 1;
    }
    if (!hasRoom) lose(session, 'acks_overflow');
  }

  function lose(session: StreamSession, why: CountLoss): void {
    session.loss = why;
    resumption.lose(session);
    if (session.owner.data.hasCumulativeAcks) acks.end(session.owner, why);
  }

  function refused(ws: StreamSocket, { seq, seqs }: FrameProblem, text: string): void {
    if (seq === undefined || seqs === undefined) return;
    counted(ws, seq);
    const { session } = ws.data;
    if (session === undefined || session.isLost) return;
    resumption.remember(session, seq, false, text);
    if (!session.seqs.settle(seq, seq + seqs - 1)) lose(session, 'acks_overflow');
    acks.progressed(session);
  }

  return { counted, answer, refused };
}

function namesIn(frame: CartEventFrame, index: number, record: unknown): string {
  const seq = frame.seq === undefined ? undefined : frame.seq + index;
  // The id beside an array belongs to no one event.
  return namesOf(record, frame.isArray ? undefined : frame.eventId, seq);
}

function textOf(at: string, names: string, frame: CartEventFrame, index: number, outcome: Outcome): string {
  const path = frame.isArray && outcome.kind === 'rejected' ? `payload[${index}]` : 'payload';
  return outcomeText(at, names, path, outcome);
}
