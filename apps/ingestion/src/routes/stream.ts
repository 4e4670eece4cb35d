/**
 * WebSocket /events/stream (docs/websocket.md): what a frame means. How many frames of a turn of the event loop reach
 * accept together is decided in stream-events.ts, how long a connection may go on by the hub.
 */
import type { Principal } from '@libs/auth';
import type { ElysiaServer } from '@libs/elysia-server';
import {
  bunSettings,
  createWebSocketHub,
  DEFAULT_WEBSOCKET_LIMITS,
  type OverloadCause,
  type WebSocketHub,
  type WebSocketHubStats,
  type WebSocketLimits,
} from '@libs/messaging';
import { type CartEventFrame, createFrameParser, type FrameProblem } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import type { Server, WebSocketHandler } from 'bun';
import type { Ingestion } from '../ingestion.ts';
import { TURN_EVENTS_MAX, type Turn } from '../turn.ts';
import type { Counters } from './counters.ts';
import { guarded } from './guard.ts';
import { eventIdOf } from './replies.ts';
import { createCumulativeAcks } from './stream-acks.ts';
import { createAnswers } from './stream-answers.ts';
import { type ConfirmationLimits, createConfirmations, DEFAULT_CONFIRMATION_LIMITS } from './stream-confirmations.ts';
import { connectionIdOf, type StreamConnection, type StreamSocket } from './stream-connection.ts';
import { createEventFlow } from './stream-events.ts';
import { createExpiry } from './stream-expiry.ts';
import { STREAM_DETAIL } from './stream-openapi.ts';
import {
  createTimestamps,
  errorText,
  goingAwayText,
  heartbeatAckText,
  helloText,
  overloadedText,
  problemText,
} from './stream-replies.ts';
import { createResumption, DEFAULT_RESUME_LIMITS, type ResumeLimits, type Resumption } from './stream-resume.ts';
import { createUpgrade } from './stream-upgrade.ts';

type AdjustableLimit =
  | 'badFramesMax'
  | 'badFramesWindowMs'
  | 'outboundBytesMax'
  | 'outboundTotalBytesMax'
  | 'closeTimeoutMs';

export interface StreamLimits
  extends Pick<WebSocketLimits, 'connectionsMax' | 'creditBytes' | 'frameBytesMax' | 'heartbeatIntervalMs'>,
    Partial<Pick<WebSocketLimits, AdjustableLimit>>,
    Partial<ConfirmationLimits>,
    Partial<ResumeLimits> {
  /** Unacknowledged events of one connection. */
  readonly creditEvents: number;
}

export interface StreamDeps {
  readonly ingestion: Ingestion;
  readonly limits: StreamLimits;
  readonly turn: Turn;
  readonly counters?: Pick<Counters, 'websocket'>;
  readonly logger: Pick<Logger, 'debug' | 'error'>;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** Milliseconds since 1970, for the messages' timestamps. */
  readonly wallMs?: () => number;
}

export interface Stream {
  /** Undefined: the connection is a WebSocket now. A response: it is not, and this says why. */
  upgrade(request: Request, server: Server<StreamConnection>, principal?: Principal): Response | undefined;
  /** For Bun.serve as it is. */
  readonly websocket: WebSocketHandler<StreamConnection>;
  /** Lets nobody in any more, answers what is in flight, then closes every connection; resolves when all have gone. */
  closeAll(code: number, reason: string): Promise<void>;
  stats(): WebSocketHubStats & ReturnType<Resumption['stats']> & { readonly confirmationsWaiting: number };
}

const OVERLOADED: Record<OverloadCause, string> = {
  credit:
    'More events or bytes are unacknowledged than the credit allows. Nothing sent from here on is taken; what was sent before is still answered, then the connection closes. Connect again and send what was not acknowledged.',
  slow_reader:
    'Too many replies wait to be read: the connection closes. Connect again and send what was not acknowledged.',
};

/** From the range that is left to applications (RFC 6455, 7.4.2). */
const RESUMED_CODE = 4001;

function seqMissing({ events, isArray, eventId }: CartEventFrame): FrameProblem {
  const id = isArray ? undefined : (eventIdOf(events[0]) ?? eventId);
  return {
    ok: false,
    code: 'missing_field',
    field: 'seq',
    message: "With cumulative acks every cart_event needs seq: the client's own counter, one more for each event.",
    ...(id === undefined ? {} : { eventId: id }),
  };
}

const MALFORMED_TOKEN = {
  code: 'invalid_resume_token',
  field: 'resume',
  message: 'resume must be the token that hello gave, as it was. This connection has begun anew.',
};

export function createStream(deps: StreamDeps): Stream {
  const { ingestion, logger, counters } = deps;
  const limits = {
    ...DEFAULT_WEBSOCKET_LIMITS,
    ...DEFAULT_CONFIRMATION_LIMITS,
    ...DEFAULT_RESUME_LIMITS,
    ...deps.limits,
    creditItems: deps.limits.creditEvents,
  };
  const now = deps.now ?? (() => performance.now());
  const timestamp = createTimestamps(deps.wallMs ?? Date.now);
  const hub: WebSocketHub<StreamConnection> = createWebSocketHub({
    limits,
    now,
    overloaded: (cause) => overloadedText(timestamp(), OVERLOADED[cause], hub.retryAfterMs()),
    goingAway: (reason) => goingAwayText(timestamp(), reason, hub.retryAfterMs()),
    lastWords: (ws) => acks.lastAck(ws),
    ...(counters === undefined ? {} : { totals: counters.websocket }),
    onClose: (ws, code, reason) => {
      logger.debug({ connectionId: connectionIdOf(ws.data), code, reason }, 'closing a WebSocket');
    },
  });
  const resumption = createResumption(limits, now);
  const acks = createCumulativeAcks({ send: hub.send, timestamp });
  const confirmations = createConfirmations({ ingestion, limits, send: hub.send, timestamp, now });
  const expiry = createExpiry({ wallMs: deps.wallMs ?? Date.now, expired: (ws) => hub.end(ws, 1008, 'token_expired') });
  const parse = createFrameParser({ eventsMax: TURN_EVENTS_MAX });
  const answers = createAnswers({ hub, confirmations, resumption, acks, timestamp });
  const flow = createEventFlow({ ingestion, turn: deps.turn, hub, answers, logger });

  function message(ws: StreamSocket, data: string | Uint8Array): void {
    if (!hub.received(ws)) return;
    if (ws.data.session !== undefined) resumption.heard(ws.data.session);
    const parsed = parse(data);
    if (!parsed.ok) return refuse(ws, parsed);
    const { frame } = parsed;
    switch (frame.type) {
      case 'cart_event':
        if (frame.seq === undefined && ws.data.hasCumulativeAcks) return refuse(ws, seqMissing(frame));
        // A text's length in UTF-16 units is never more than its bytes: the credit is at least what hello says.
        flow.take(ws, frame, data.length);
        return;
      case 'heartbeat':
        hub.send(ws, heartbeatAckText(timestamp()));
        return;
      case 'subscribe':
        if (frame.confirmations) confirmations.subscribe(ws);
        if (frame.cumulativeAcks) acks.subscribe(ws);
        return;
      case 'unsubscribe':
        if (frame.confirmations) confirmations.unsubscribe(ws);
        if (frame.cumulativeAcks) acks.unsubscribe(ws);
        return;
    }
  }

  function refuse(ws: StreamSocket, problem: FrameProblem): void {
    const text = problemText(timestamp(), problem);
    answers.refused(ws, problem, text);
    if (hub.send(ws, text)) hub.bad(ws);
  }

  function greet(ws: StreamSocket): void {
    const { resume } = ws.data;
    ws.data.resume = undefined;
    const before = resume === undefined || resume === '' ? undefined : resumption.takeOver(ws, resume);
    const { session } = ws.data;
    const isSettled = session !== undefined && session.seqs.throughSeq >= session.seqs.firstSeq;
    hub.send(
      ws,
      helloText(timestamp(), {
        connectionId: connectionIdOf(ws.data),
        credit: limits.creditItems,
        creditBytes: limits.creditBytes,
        maxFrameBytes: limits.frameBytesMax,
        heartbeatIntervalMs: limits.heartbeatIntervalMs,
        resume: ws.data.resumeToken,
        ...(resume === undefined ? {} : { recovered: session !== undefined }),
        ...(isSettled ? { throughSeq: session.seqs.throughSeq } : {}),
        ...(session !== undefined && session.errorsDropped > 0 ? { errorsDropped: session.errorsDropped } : {}),
      }),
    );
    if (resume === '') hub.send(ws, errorText(timestamp(), '', MALFORMED_TOKEN));
    if (session !== undefined) for (const text of resumption.errorsOf(session)) hub.send(ws, text);
    // Half open, it may never notice by itself.
    if (before !== undefined) hub.close(before, RESUMED_CODE, 'resumed by another connection');
  }

  const websocket: WebSocketHandler<StreamConnection> = {
    ...bunSettings(limits),
    open(ws) {
      hub.opened(ws);
      // Not when it was sent away at once.
      if (ws.readyState !== WebSocket.OPEN) return;
      greet(ws);
      expiry.watch(ws);
    },
    message,
    ping: hub.heard,
    pong: hub.heard,
    drain(ws) {
      hub.drained(ws);
      // Sending may close a connection, and a close inside this handler would send its FIN only after 16 s.
      if (ws.data.confirmations !== undefined) setImmediate(confirmations.flush, ws);
    },
    close(ws) {
      confirmations.unsubscribe(ws);
      expiry.forget(ws);
      resumption.ended(ws);
      hub.closed(ws);
    },
  };

  return {
    upgrade: createUpgrade({
      hasRoom: () => !ingestion.draining() && hub.hasRoom(),
      retryAfterMs: hub.retryAfterMs,
    }),
    websocket,
    async closeAll(code, reason) {
      await hub.closeAll(code, reason);
      confirmations.stop();
      resumption.stop();
    },
    stats: () => ({ ...hub.stats(), ...resumption.stats(), confirmationsWaiting: confirmations.waiting() }),
  };
}

/** Serves the handshake on `server`, whose `websocket` must be the stream's. */
export function streamRoutes(server: ElysiaServer, stream: Stream): void {
  server.app.get(
    '/events/stream',
    guarded(
      server.protect,
      'write',
      (request, principal) => stream.upgrade(request, server.server(), principal),
      'socket',
    ),
    { detail: STREAM_DETAIL },
  );
}
