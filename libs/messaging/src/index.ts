export { ConnectionState } from './connection-state.ts';
export {
  createWebSocketHub,
  type OverloadCause,
  type WebSocketHub,
  type WebSocketHubOptions,
  type WebSocketHubStats,
  type WebSocketTotals,
} from './websocket-hub.ts';
export { bunSettings, DEFAULT_WEBSOCKET_LIMITS, type WebSocketLimits } from './websocket-limits.ts';
