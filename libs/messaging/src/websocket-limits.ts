/** The bounds of a WebSocket server. */
export interface WebSocketLimits {
  readonly connectionsMax: number;
  /** Items of one connection that may be unanswered; what an item is, the app says. */
  readonly creditItems: number;
  /** Bytes of the frames that brought those items. */
  readonly creditBytes: number;
  /** Bytes of one message; Bun closes the connection with 1009 beyond it. */
  readonly frameBytesMax: number;
  /** A connection that is silent for two of these intervals is closed with 1001. */
  readonly heartbeatIntervalMs: number;
  /** This many bad frames within the window close the connection with 1008. */
  readonly badFramesMax: number;
  readonly badFramesWindowMs: number;
  /** Bytes that may wait for one client to read them; it must hold the answers to a whole credit, which leave in one turn. */
  readonly outboundBytesMax: number;
  /** The same for all clients together. */
  readonly outboundTotalBytesMax: number;
  /** How long a close waits for what is in flight. */
  readonly closeTimeoutMs: number;
}

export const DEFAULT_WEBSOCKET_LIMITS: WebSocketLimits = {
  connectionsMax: 15_000,
  creditItems: 10_000,
  creditBytes: 8_388_608,
  frameBytesMax: 1_048_576,
  heartbeatIntervalMs: 30_000,
  badFramesMax: 100,
  badFramesWindowMs: 60_000,
  outboundBytesMax: 8_388_608,
  outboundTotalBytesMax: 268_435_456,
  closeTimeoutMs: 5_000,
};

/** What the farewell may take beyond `outboundBytesMax`, so that it is never the message that does not fit. */
const FAREWELL_BYTES = 65_536;

/**
 * Bun's settings for these limits, each written out. Bun's own idle timeout and pings are off: it counts in steps of
 * seconds and takes the automatic pong of a frozen page as a sign of life. Compression is off because it costs
 * hundreds of kilobytes per connection and a message of a few hundred bytes gains little.
 */
export function bunSettings(limits: WebSocketLimits) {
  return {
    maxPayloadLength: limits.frameBytesMax,
    backpressureLimit: limits.outboundBytesMax + FAREWELL_BYTES,
    closeOnBackpressureLimit: false,
    idleTimeout: 0,
    sendPings: false,
    publishToSelf: false,
    perMessageDeflate: false,
  } as const;
}
