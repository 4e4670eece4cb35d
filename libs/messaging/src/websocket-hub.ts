/**
 * Keeps every WebSocket connection of a server within its bounds: credit, heartbeats, bad frames, slow readers and the
 * end. The app decides what frames mean; the hub decides how long a connection may go on.
 *
 * Bun neither awaits a message handler nor can it pause a connection, so credit is the only brake on a client that
 * floods, and a queue that Bun keeps is the only sign of one that does not read.
 */
import type { ServerWebSocket } from 'bun';
import type { ConnectionState } from './connection-state.ts';
import { createHeartbeatSweep } from './heartbeat-sweep.ts';
import { reconnectDelayMs } from './reconnect-delay.ts';
import { createSlidingBudget } from './sliding-budget.ts';
import type { WebSocketLimits } from './websocket-limits.ts';

/** Why a connection is told that it is too much for the server. */
export type OverloadCause = 'credit' | 'slow_reader';

/** Counted by the hub; the owner may read (or bring) the object. */
export interface WebSocketTotals {
  activeConnections: number;
  totalConnections: number;
  messagesReceived: number;
  messagesSent: number;
}

export interface WebSocketHubOptions<T extends ConnectionState> {
  readonly limits: WebSocketLimits;
  /** The app's last message to a connection that is closed with 1013. */
  readonly overloaded: (cause: OverloadCause) => string;
  /** The app's message to a connection that ends with 1001, said once, as soon as that is decided. */
  readonly goingAway?: (reason: string) => string;
  /** What the app still owes a connection that is about to be closed, whatever the reason; also asked before `goingAway`. */
  readonly lastWords?: (ws: ServerWebSocket<T>) => string | undefined;
  readonly totals?: WebSocketTotals;
  /** Told whenever the hub itself decides to close a connection. */
  readonly onClose?: (ws: ServerWebSocket<T>, code: number, reason: string) => void;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** Numbers in [0, 1). */
  readonly random?: () => number;
}

export interface WebSocketHubStats {
  readonly connections: number;
  /** Bytes that wait for clients to read, all together, as last looked at. */
  readonly outboundBytes: number;
  /** How many connections the hub has closed, by close code. */
  readonly closed: Readonly<Record<number, number>>;
}

export interface WebSocketHub<T extends ConnectionState> {
  /** False while no further connection may be upgraded: too many, or the server is going away. */
  hasRoom(): boolean;
  opened(ws: ServerWebSocket<T>): void;
  /** From Bun's close handler. */
  closed(ws: ServerWebSocket<T>): void;
  /** The client was heard: a frame, a ping, a pong. */
  heard(ws: ServerWebSocket<T>): void;
  /** A message arrived. False: the connection is about to end, take no notice of it. */
  received(ws: ServerWebSocket<T>): boolean;
  /**
   * Takes items into credit. False: the credit is used up; the client has been told, and the connection ends with 1013
   * once what it sent before has been answered.
   */
  take(ws: ServerWebSocket<T>, items: number, bytes: number): boolean;
  /** Those items have been answered. */
  settle(ws: ServerWebSocket<T>, items: number, bytes: number): void;
  /** Counts a bad frame; the one that uses up the budget ends the connection with 1008. Answer it first. */
  bad(ws: ServerWebSocket<T>): void;
  /**
   * Sends a text frame. False: it was not sent, and nothing more will be, because the connection has gone or its client
   * reads too slowly (it is then told and closed with 1013).
   */
  send(ws: ServerWebSocket<T>, text: string): boolean;
  /** From Bun's drain handler: the client has read what waited. */
  drained(ws: ServerWebSocket<T>): void;
  /** Ends a connection once everything in flight on it has been answered, at the latest after `closeTimeoutMs`. */
  end(ws: ServerWebSocket<T>, code: number, reason: string): void;
  /** Ends a connection at once: nobody waits for its answers any more. */
  close(ws: ServerWebSocket<T>, code: number, reason: string): void;
  /** Lets nobody in any more, tells everyone to go, then ends everyone; resolves when the last one has gone. */
  closeAll(code: number, reason: string): Promise<void>;
  /** When a client that is sent away should come back: another number for each, higher the more there are. */
  retryAfterMs(): number;
  stats(): WebSocketHubStats;
}

/** Connections that are told, or closed, in one turn of the event loop, which takes a few milliseconds. */
const TELL_SLICE = 500;
const CLOSE_SLICE = 250;
/** RFC 6455, 7.4.1. */
const GOING_AWAY_CODE = 1001;

/** Builds a hub. It runs one timer for all connections, and none while there is no connection. */
export function createWebSocketHub<T extends ConnectionState>(options: WebSocketHubOptions<T>): WebSocketHub<T> {
  const { limits } = options;
  const totals = options.totals ?? { activeConnections: 0, totalConnections: 0, messagesReceived: 0, messagesSent: 0 };
  const connections = new Set<ServerWebSocket<T>>();
  const sweep = createHeartbeatSweep({
    connections,
    limits,
    now: options.now ?? (() => performance.now()),
    onSilent: (ws) => close(ws, GOING_AWAY_CODE, 'silent for two heartbeat intervals'),
    onEndOverdue: (ws, ending) => close(ws, ending.code, ending.reason),
  });
  const closedByCode: Record<number, number> = {};
  let outboundBytes = 0;
  let goingAway = false;
  /** How many there were when they were all sent away: those who are left have not come back yet. */
  let sentAway = 0;
  const empty = Promise.withResolvers<void>();

  function opened(ws: ServerWebSocket<T>): void {
    connections.add(ws);
    totals.activeConnections += 1;
    totals.totalConnections += 1;
    sweep.start();
    heard(ws);
    if (goingAway) end(ws, GOING_AWAY_CODE, 'going away');
  }

  function closed(ws: ServerWebSocket<T>): void {
    if (!connections.delete(ws)) return;
    totals.activeConnections -= 1;
    outboundBytes -= ws.data.outboundBytes;
    ws.data.outboundBytes = 0;
    if (connections.size > 0) return;
    sweep.stop();
    if (goingAway) empty.resolve();
  }

  function heard(ws: ServerWebSocket<T>): void {
    ws.data.lastSeenMs = sweep.coarseNowMs();
  }

  function received(ws: ServerWebSocket<T>): boolean {
    totals.messagesReceived += 1;
    heard(ws);
    return ws.data.ending === undefined;
  }

  function take(ws: ServerWebSocket<T>, items: number, bytes: number): boolean {
    const state = ws.data;
    if (state.pendingItems + items > limits.creditItems || state.pendingBytes + bytes > limits.creditBytes) {
      if (send(ws, options.overloaded('credit'))) end(ws, 1013, 'overloaded');
      return false;
    }
    state.pendingItems += items;
    state.pendingBytes += bytes;
    return true;
  }

  function settle(ws: ServerWebSocket<T>, items: number, bytes: number): void {
    const state = ws.data;
    state.pendingItems -= items;
    state.pendingBytes -= bytes;
    if (state.ending !== undefined && state.pendingItems === 0) close(ws, state.ending.code, state.ending.reason);
  }

  function bad(ws: ServerWebSocket<T>): void {
    const state = ws.data;
    state.badFrames ??= createSlidingBudget(limits.badFramesMax, limits.badFramesWindowMs);
    if (state.badFrames.spend(sweep.nowMs())) end(ws, 1008, 'too many bad frames');
  }

  function send(ws: ServerWebSocket<T>, text: string): boolean {
    if (ws.readyState !== WebSocket.OPEN) return false;
    const status = ws.sendText(text);
    if (status > 0) {
      totals.messagesSent += 1;
      return true;
    }
    if (status < 0) totals.messagesSent += 1;
    measureOutbound(ws);
    if (status < 0 && !readsTooSlowly(ws.data.outboundBytes)) return true;
    sendLast(ws, options.overloaded('slow_reader'));
    close(ws, 1013, 'overloaded');
    return false;
  }

  /** When all together hold too much, those go that hold more than their equal share. */
  function readsTooSlowly(bytes: number): boolean {
    if (bytes > limits.outboundBytesMax) return true;
    return outboundBytes > limits.outboundTotalBytesMax && bytes > limits.outboundTotalBytesMax / connections.size;
  }

  function measureOutbound(ws: ServerWebSocket<T>): void {
    const bytes = ws.getBufferedAmount();
    outboundBytes += bytes - ws.data.outboundBytes;
    ws.data.outboundBytes = bytes;
  }

  function end(ws: ServerWebSocket<T>, code: number, reason: string): void {
    const state = ws.data;
    if (ws.readyState !== WebSocket.OPEN || state.ending !== undefined) return;
    if (state.pendingItems === 0) close(ws, code, reason);
    else announce(ws, code, reason);
  }

  function close(ws: ServerWebSocket<T>, code: number, reason: string): void {
    if (ws.readyState !== WebSocket.OPEN) return;
    sayLastWords(ws);
    if (ws.data.ending === undefined) announce(ws, code, reason);
    closedByCode[code] = (closedByCode[code] ?? 0) + 1;
    options.onClose?.(ws, code, reason);
    // Bun calls its close handler before this returns, flushes what waits and drops a client that never reads within seconds.
    ws.close(code, reason);
  }

  function announce(ws: ServerWebSocket<T>, code: number, reason: string): void {
    ws.data.ending = { code, reason, sinceMs: sweep.nowMs() };
    if (code === GOING_AWAY_CODE && options.goingAway !== undefined) sendLast(ws, options.goingAway(reason));
  }

  function sayLastWords(ws: ServerWebSocket<T>): void {
    const text = options.lastWords?.(ws);
    if (text !== undefined) sendLast(ws, text);
  }

  /** Not `send`, which would close a connection that reads too slowly, and so come back here. */
  function sendLast(ws: ServerWebSocket<T>, text: string): void {
    if (ws.sendText(text) !== 0) totals.messagesSent += 1;
  }

  /**
   * Everyone is told before the first is closed, which takes twice as long (17 µs and 9 µs each), beside what comes of it:
   * if the time for an orderly end runs out meanwhile, those who are cut off know when to come back.
   */
  async function closeAll(code: number, reason: string): Promise<void> {
    goingAway = true;
    sentAway = Math.max(sentAway, connections.size);
    await inSlices(TELL_SLICE, (ws) => {
      if (ws.readyState !== WebSocket.OPEN || ws.data.ending !== undefined) return;
      sayLastWords(ws);
      announce(ws, code, reason);
    });
    // Those who wait for answers are closed when they have them.
    await inSlices(CLOSE_SLICE, (ws) => {
      const { ending, pendingItems } = ws.data;
      if (ending !== undefined && pendingItems === 0) close(ws, ending.code, ending.reason);
    });
    if (connections.size > 0) await empty.promise;
  }

  /** Tens of thousands at once would hold up the answers to those who still have some to come. */
  async function inSlices(size: number, visit: (ws: ServerWebSocket<T>) => void): Promise<void> {
    let visited = 0;
    for (const ws of connections) {
      visit(ws);
      visited += 1;
      if (visited % size === 0) await new Promise(setImmediate);
    }
  }

  return {
    hasRoom: () => !goingAway && connections.size < limits.connectionsMax,
    opened,
    closed,
    heard,
    received,
    take,
    settle,
    bad,
    send,
    drained: measureOutbound,
    end,
    close,
    closeAll,
    retryAfterMs: () => reconnectDelayMs(Math.max(sentAway, connections.size), options.random ?? Math.random),
    stats: () => ({ connections: connections.size, outboundBytes, closed: { ...closedByCode } }),
  };
}
