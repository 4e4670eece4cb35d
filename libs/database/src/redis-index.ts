export {
  type Confirmation,
  type ConfirmationBus,
  type ConfirmationBusDeps,
  type ConfirmationBusHealth,
  type ConfirmationBusOptions,
  createConfirmationBus,
} from './redis-bus.ts';
export type { RedisTls } from './redis-connection.ts';
export type { SkipReason } from './redis-problem.ts';
export { parseRedisUrl } from './redis-url.ts';
export type { ClaimVerdict } from './redis-verdict.ts';
export {
  createSharedWindow,
  type SharedWindow,
  type SharedWindowDeps,
  type SharedWindowOptions,
} from './redis-window.ts';
export type { WindowCounters, WindowHealth, WindowLogger } from './redis-window-health.ts';
