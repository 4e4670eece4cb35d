/** What an accept call waits for. */
import { allowTime } from '@libs/elysia-server';
import type { AckLevel } from '@libs/pipeline';

/** The ack level; waiting for more than the journal has accept's own time limit, and ends when the client has gone. */
export function waitFor(ack: AckLevel, request: Request): { readonly ack: AckLevel; readonly signal?: AbortSignal } {
  return ack === 'journal' ? { ack } : { ack, signal: request.signal };
}

/** Keeps the connection open while accept waits for more than the journal, for at most `timeoutMs`. */
export function allowWait(ack: AckLevel, request: Request, timeoutMs: number): void {
  if (ack !== 'journal') allowTime(request, timeoutMs);
}
