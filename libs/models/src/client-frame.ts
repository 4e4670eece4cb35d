/** Reads one message of a WebSocket client: fast for events, with a code and a field for what is wrong. */
import { z } from 'zod';
import { ID_CHARS_MAX } from './cart-event.ts';
import type { Problem } from './codes.ts';
import { shorten } from './field-path.ts';
import { cartEventFrameSchema, clientFrameSchema } from './frames.ts';
import { problemOfIssue } from './issue-problem.ts';
import { parseJson, parseJsonText } from './json-text.ts';

interface FrameEnvelope {
  readonly timestamp?: string;
  readonly eventId?: string;
  readonly seq?: number;
}

export interface CartEventFrame extends FrameEnvelope {
  readonly type: 'cart_event';
  /** The event or the events as they came, unvalidated; at least one. */
  readonly events: readonly unknown[];
  /** True when the payload was an array, so that fields may be given as `payload[3].storeId`. */
  readonly isArray: boolean;
}

export interface ControlFrame extends FrameEnvelope {
  readonly type: 'heartbeat' | 'subscribe' | 'unsubscribe';
  /** What `subscribe` and `unsubscribe` name: confirmations when they name nothing. */
  readonly confirmations: boolean;
  readonly cumulativeAcks: boolean;
}

export type ClientFrame = CartEventFrame | ControlFrame;

/** A message that cannot be used, with what an `event_error` can repeat of it. */
export interface FrameProblem extends Problem {
  readonly ok: false;
  readonly eventId?: string;
  readonly seq?: number;
  /** How many numbers from `seq` on the events of a refused `cart_event` have. */
  readonly seqs?: number;
}

export type ParsedFrame = { readonly ok: true; readonly frame: ClientFrame } | FrameProblem;

type RawCartEvent = z.infer<typeof cartEventFrameSchema>;
type RawClientFrame = z.infer<typeof clientFrameSchema>;

/**
 * Returns a function that reads a text message, or the same JSON as the bytes of a binary one; it never throws.
 * `eventsMax` bounds the events of one message. The events themselves are judged by the event model.
 */
export function createFrameParser(limits: {
  readonly eventsMax: number;
}): (message: string | Uint8Array) => ParsedFrame {
  const cartEvent = z.compile(cartEventFrameSchema, { strict: true });

  return (message) => {
    const parsed = typeof message === 'string' ? parseJsonText(message) : parseJson(message);
    if (!parsed.ok) {
      const text = `${parsed.message.slice(0, -1)} (byte ${parsed.offset}).`;
      return { ok: false, code: 'malformed_json', field: '', message: text };
    }
    const value = parsed.value;
    if (cartEvent.validate(value)) return readCartEvent(value, limits.eventsMax);
    const frame = clientFrameSchema.safeParse(value);
    if (!frame.success) return frameProblem(frame.error, value);
    // What Zod takes is what the check for events would have taken.
    return frame.data.type === 'cart_event'
      ? readCartEvent(value as RawCartEvent, limits.eventsMax)
      : readControl(frame.data);
  };
}

function readCartEvent(raw: RawCartEvent, eventsMax: number): ParsedFrame {
  const { payload } = raw;
  const isArray = Array.isArray(payload);
  const events: readonly unknown[] = isArray ? payload : [payload];
  if (events.length === 0) {
    return withEcho(raw, {
      code: 'empty_batch',
      field: 'payload',
      message: 'payload holds no event; send at least one.',
    });
  }
  if (events.length > eventsMax) {
    const message = `payload holds ${events.length} events; one message may carry ${eventsMax}.`;
    return withEcho(raw, { code: 'too_many_events', field: 'payload', message });
  }
  if (raw.seq !== undefined && raw.seq > Number.MAX_SAFE_INTEGER - events.length + 1) {
    const message = `seq is too high: the last of the ${events.length} events would be beyond ${Number.MAX_SAFE_INTEGER}.`;
    return withEcho(raw, { code: 'number_out_of_range', field: 'seq', message });
  }
  return { ok: true, frame: { type: 'cart_event', events, isArray, ...envelopeOf(raw) } };
}

function readControl(raw: Exclude<RawClientFrame, RawCartEvent>): ParsedFrame {
  const named = raw.type === 'heartbeat' ? undefined : raw.payload;
  const cumulativeAcks = named?.acks !== undefined;
  const confirmations = named?.confirmations ?? !cumulativeAcks;
  return { ok: true, frame: { type: raw.type, confirmations, cumulativeAcks, ...envelopeOf(raw) } };
}

function envelopeOf(raw: {
  timestamp?: string | undefined;
  eventId?: string | undefined;
  seq?: number | undefined;
}): FrameEnvelope {
  const { timestamp, eventId, seq } = raw;
  return {
    ...(timestamp === undefined ? {} : { timestamp }),
    ...(eventId === undefined ? {} : { eventId }),
    ...(seq === undefined ? {} : { seq }),
  };
}

function frameProblem(error: z.ZodError, value: unknown): FrameProblem {
  const [issue] = error.issues;
  if (issue === undefined) throw new Error('Zod refused a message without an issue', { cause: error });
  return withEcho(value, specialProblem(issue, value) ?? problemOfIssue(issue, value, 'The message'));
}

function specialProblem(issue: z.core.$ZodIssue, value: unknown): Problem | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const field = issue.path.join('.');
  const { type, payload } = value as { type?: unknown; payload?: unknown };
  if (field === 'type' && type !== undefined) {
    const sent = typeof type === 'string' ? JSON.stringify(shorten(type)) : 'that is no string';
    const message = `There is no message type ${sent}; a client may send cart_event, heartbeat, subscribe and unsubscribe.`;
    return { code: 'unknown_message_type', field, message };
  }
  if ((type === 'subscribe' || type === 'unsubscribe') && field === 'payload.acks') {
    return {
      code: 'unsupported',
      field,
      message: 'payload.acks may be "cumulative"; without it, every event has an ack.',
    };
  }
  if (type === 'cart_event' && field === 'payload' && payload !== undefined) {
    return { code: 'invalid_type', field, message: 'payload must be an event or an array of events.' };
  }
  return undefined;
}

function withEcho(value: unknown, problem: Problem): FrameProblem {
  const raw = typeof value === 'object' && value !== null ? (value as { eventId?: unknown; seq?: unknown }) : {};
  const eventId = typeof raw.eventId === 'string' && raw.eventId.length <= ID_CHARS_MAX && raw.eventId.isWellFormed();
  return {
    ok: false,
    ...problem,
    ...(eventId ? { eventId: raw.eventId as string } : {}),
    ...(Number.isSafeInteger(raw.seq) ? { seq: raw.seq as number } : {}),
    ...seqsOf(value),
  };
}

/** So that a client's counter has no gap where a `cart_event` with a valid seq was refused as a whole. */
function seqsOf(value: unknown): { readonly seqs?: number } {
  if (typeof value !== 'object' || value === null) return {};
  const { type, seq, payload } = value as { type?: unknown; seq?: unknown; payload?: unknown };
  if (type !== 'cart_event' || !Number.isSafeInteger(seq) || (seq as number) < 0) return {};
  const seqs = Array.isArray(payload) ? payload.length : 1;
  return seqs > 0 && (seq as number) <= Number.MAX_SAFE_INTEGER - seqs + 1 ? { seqs } : {};
}
