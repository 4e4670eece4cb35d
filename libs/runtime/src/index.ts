export type { Backoff, ProcessSpec } from './child.ts';
export { isRunning, ownIdentity, type ProcessIdentity } from './identity.ts';
export type { LinkFault, LinkLimits } from './lines.ts';
export {
  connectLink,
  createLinkServer,
  type LinkClient,
  type LinkClientOptions,
  type LinkConnection,
  type LinkServer,
  type LinkServerOptions,
} from './link.ts';
export { acquireLock, type Lock, LockedError } from './locks.ts';
export { type AttachOptions, attachToSupervisor, type SupervisedProcess } from './parent.ts';
export { REFUSAL_EXIT_CODE, Refusal, refuse } from './refusal.ts';
export { onShutdown, type ShutdownOptions, type ShutdownSignal } from './signals.ts';
export { socketPath } from './socket-path.ts';
export { type SuperviseOptions, supervise } from './supervisor.ts';
