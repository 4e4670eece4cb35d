/**
 * The text of every message that `/events/stream` sends: one JSON object per frame, all fields flat. Acks are put
 * together from pieces that are JSON already, because there is one for every event.
 */
import type { FrameProblem } from '@libs/models';
import { type DeliveredLevel, formatPosition, type Outcome } from '@libs/pipeline';
import { clip, eventIdOf } from './replies.ts';

export interface Hello {
  readonly connectionId: string;
  readonly credit: number;
  readonly creditBytes: number;
  readonly maxFrameBytes: number;
  readonly heartbeatIntervalMs: number;
  readonly resume: string;
  /** Present when the client asked to resume. */
  readonly recovered?: boolean;
  /** Present when something is settled. */
  readonly throughSeq?: number;
  /** Present when there are some. */
  readonly errorsDropped?: number;
}

/** `timestamp` is ISO 8601 text, as in all of these. */
export function helloText(timestamp: string, hello: Hello): string {
  return JSON.stringify({ type: 'hello', timestamp, ...hello });
}

export function heartbeatAckText(timestamp: string): string {
  return `{"type":"heartbeat_ack","timestamp":"${timestamp}"}`;
}

export function overloadedText(timestamp: string, message: string, retryAfterMs: number): string {
  return JSON.stringify({ type: 'overloaded', timestamp, code: 'overloaded', message, retryAfterMs });
}

export function goingAwayText(timestamp: string, message: string, retryAfterMs: number): string {
  return JSON.stringify({ type: 'going_away', timestamp, message, retryAfterMs });
}

export function cumulativeAckText(timestamp: string, throughSeq: number): string {
  return `{"type":"event_ack","timestamp":"${timestamp}","throughSeq":${throughSeq}}`;
}

/** `"eventId":"…","seq":…`, each only when it is known, with a comma in front. */
export function namesOf(record: unknown, envelopeId: string | undefined, seq: number | undefined): string {
  const eventId = eventIdOf(record) ?? envelopeId;
  const id = eventId === undefined ? '' : `,"eventId":${JSON.stringify(eventId)}`;
  return seq === undefined ? id : `${id},"seq":${seq}`;
}

/** What an event is told. `path` is where it stands in the frame: `payload`, `payload[3]`. */
export function outcomeText(timestamp: string, names: string, path: string, outcome: Outcome): string {
  switch (outcome.kind) {
    case 'accepted': {
      const local = outcome.deduplication === undefined ? '' : `,"deduplication":"${outcome.deduplication}"`;
      return `{"type":"event_ack","timestamp":"${timestamp}"${names},"status":"received","position":"${outcome.journal}:${outcome.seq}"${local}}`;
    }
    case 'duplicate': {
      const position = outcome.position === undefined ? '' : `,"position":"${formatPosition(outcome.position)}"`;
      return `{"type":"event_ack","timestamp":"${timestamp}"${names},"status":"duplicate"${position}}`;
    }
    case 'rejected': {
      const { code, field, message } = outcome;
      return errorText(timestamp, names, { code, field: joinPath(path, field), message });
    }
    case 'retry': {
      const { code, message, afterMs } = outcome;
      return errorText(timestamp, names, { code, message, retryAfterMs: afterMs });
    }
  }
}

/** What a frame is told that cannot be used. */
export function problemText(timestamp: string, problem: FrameProblem): string {
  const names = namesOf(undefined, problem.eventId, problem.seq);
  const field = problem.field === '' ? {} : { field: problem.field };
  return errorText(timestamp, names, { code: problem.code, ...field, message: problem.message });
}

export interface ErrorFields {
  readonly code: string;
  readonly field?: string;
  readonly message: string;
  readonly retryAfterMs?: number;
}

export function errorText(
  timestamp: string,
  names: string,
  { code, field, message, retryAfterMs }: ErrorFields,
): string {
  const place = field === undefined ? '' : `,"field":${JSON.stringify(clip(field))}`;
  const wait = retryAfterMs === undefined ? '' : `,"retryAfterMs":${retryAfterMs}`;
  const what = `"code":"${code}"${place},"message":${JSON.stringify(clip(message))}${wait}`;
  return `{"type":"event_error","timestamp":"${timestamp}"${names},${what}}`;
}

export function confirmedText(timestamp: string, names: string, level: DeliveredLevel): string {
  return `{"type":"event_confirmed","timestamp":"${timestamp}"${names},"level":"${level}"}`;
}

/** ISO 8601 text of the wall clock, made once a millisecond. */
export function createTimestamps(wallMs: () => number): () => string {
  let madeFor = Number.NaN;
  let text = '';
  return () => {
    const nowMs = wallMs();
    if (nowMs !== madeFor) {
      madeFor = nowMs;
      text = new Date(nowMs).toISOString();
    }
    return text;
  };
}

function joinPath(path: string, field: string): string {
  if (field === '') return path;
  return field.startsWith('[') ? `${path}${field}` : `${path}.${field}`;
}
