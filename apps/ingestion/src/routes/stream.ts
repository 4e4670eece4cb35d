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
  type WebSocketHubStats,
  type WebSocketLimits,
} from '@libs/messaging';
import { createFrameParser } from '@libs/models';
import type { Logger } from '@libs/monitoring';
import type { Server, WebSocketHandler } from 'bun';
import type { Ingestion } from '../ingestion.ts';
import type { Counters } from './counters.ts';
import { guarded } from './guard.ts';
import { type ConfirmationLimits, createConfirmations, DEFAULT_CONFIRMATION_LIMITS } from './stream-confirmations.ts';
import { connectionIdOf, type StreamConnection, type StreamSocket } from './stream-connection.ts';
import { createEventFlow, TURN_EVENTS_MAX } from './stream-events.ts';
import { createExpiry } from './stream-expiry.ts';
import { STREAM_DETAIL } from './stream-openapi.ts';
import { createTimestamps, heartbeatAckText, helloText, overloadedText, problemText } from './stream-replies.ts';
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
    Partial<ConfirmationLimits> {
  /** Unacknowledged events of one connection. */
  readonly creditEvents: number;
}

export interface StreamDeps {
  readonly ingestion: Ingestion;
  readonly limits: StreamLimits;
  readonly counters?: Pick<Counters, 'websocket' | 'count'>;
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
  stats(): WebSocketHubStats & { readonly confirmationsWaiting: number };
}

const OVERLOADED: Record<OverloadCause, string> = {
  credit:
    'More events or bytes are unacknowledged than the credit allows. Nothing sent from here on is taken; what was sent before is still answered, then the connection closes. Connect again and send what was not acknowledged.',
  slow_reader:
    'Too many replies wait to be read: the connection closes. Connect again and send what was not acknowledged.',
};

export function createStream(deps: StreamDeps): Stream {
  const { ingestion, logger, counters } = deps;
  const limits = {
    ...DEFAULT_WEBSOCKET_LIMITS,
    ...DEFAULT_CONFIRMATION_LIMITS,
    ...deps.limits,
    creditItems: deps.limits.creditEvents,
  };
  const now = deps.now ?? (() => performance.now());
  const timestamp = createTimestamps(deps.wallMs ?? Date.now);
  const hub = createWebSocketHub<StreamConnection>({
    limits,
    now,
    overloaded: (cause) => overloadedText(timestamp(), OVERLOADED[cause]),
    ...(counters === undefined ? {} : { totals: counters.websocket }),
    onClose: (ws, code, reason) => {
      logger.debug({ connectionId: connectionIdOf(ws.data), code, reason }, 'closing a WebSocket');
    },
  });
  const confirmations = createConfirmations({ ingestion, limits, send: hub.send, timestamp, now });
  const expiry = createExpiry({ wallMs: deps.wallMs ?? Date.now, expired: (ws) => hub.end(ws, 1008, 'token_expired') });
  const count = counters === undefined ? () => {} : counters.count;
  const parse = createFrameParser({ eventsMax: TURN_EVENTS_MAX });
  const flow = createEventFlow({ ingestion, hub, confirmations, count, logger, now, timestamp });

  function message(ws: StreamSocket, data: string | Uint8Array): void {
    if (!hub.received(ws)) return;
    const parsed = parse(data);
    if (!parsed.ok) {
      if (hub.send(ws, problemText(timestamp(), parsed))) hub.bad(ws);
      return;
    }
    const { frame } = parsed;
    switch (frame.type) {
      case 'cart_event':
        // A text's length in UTF-16 units is never more than its bytes: the credit is at least what hello says.
        flow.take(ws, frame, data.length);
        return;
      case 'heartbeat':
        hub.send(ws, heartbeatAckText(timestamp()));
        return;
      case 'subscribe':
        if (frame.confirmations) confirmations.subscribe(ws);
        return;
      case 'unsubscribe':
        if (frame.confirmations) confirmations.unsubscribe(ws);
        return;
    }
  }

  function hello(ws: StreamSocket): string {
    return helloText(timestamp(), {
      connectionId: connectionIdOf(ws.data),
      credit: limits.creditItems,
      creditBytes: limits.creditBytes,
      maxFrameBytes: limits.frameBytesMax,
      heartbeatIntervalMs: limits.heartbeatIntervalMs,
    });
  }

  const websocket: WebSocketHandler<StreamConnection> = {
    ...bunSettings(limits),
    open(ws) {
      hub.opened(ws);
      hub.send(ws, hello(ws));
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
      hub.closed(ws);
    },
  };

  return {
    upgrade: createUpgrade({ hasRoom: () => !ingestion.draining() && hub.hasRoom() }),
    websocket,
    async closeAll(code, reason) {
      await hub.closeAll(code, reason);
      confirmations.stop();
    },
    stats: () => ({ ...hub.stats(), confirmationsWaiting: confirmations.waiting() }),
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
