/** The few words that a supervisor and its child exchange over Bun's IPC socket. No event ever passes here. */
import type { ProcessIdentity } from './identity.ts';

/** supervisor → child: it is on record, so it may begin. */
export interface Go {
  readonly t: 'go';
  readonly supervisor: ProcessIdentity;
}

/** child → supervisor: it serves. */
export interface Ready {
  readonly t: 'ready';
  readonly info: unknown;
}

/** Sends when there is a supervisor to hear it; without one (or after its end) there is nobody to tell. */
export function tellSupervisor(message: Ready): void {
  if (process.send !== undefined && process.connected) process.send(message);
}

export function isGo(value: unknown): value is Go {
  return typeof value === 'object' && value !== null && (value as { t?: unknown }).t === 'go';
}

export function isReady(value: unknown): value is Ready {
  return typeof value === 'object' && value !== null && (value as { t?: unknown }).t === 'ready';
}
