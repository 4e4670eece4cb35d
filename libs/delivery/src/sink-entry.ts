/** A sink as it is configured: where it begins, and whether the journal waits for it. */
import type { Sink } from '@libs/pipeline';
import type { Backlog } from './limits.ts';
import { STORE_SINK } from './messages.ts';
import type { State } from './state.ts';

export interface SinkEntry {
  readonly sink: Sink;
  /**
   * Where the sink begins in a journal that was in use before it was added: with what is journalled from the service's
   * start on, or with the oldest event that is left. Default `now`. The store begins at the first event.
   */
  readonly from?: 'oldest' | 'now';
  /** Default true: what it is not done with stays in the journal, until that is full. */
  readonly required?: boolean;
  /** Needed with `required: false`, and only then: past either limit what waits is parked as one dead letter. */
  readonly backlogEventsMax?: number;
  readonly backlogBytesMax?: number;
  /** Milliseconds from one block to the next that is not full, where few large ones are much cheaper. Default 0. */
  readonly blockIntervalMs?: number;
}

/** The limits of an optional sink; undefined for a required one. */
export function backlogOf({ required, backlogEventsMax, backlogBytesMax }: SinkEntry): Backlog | undefined {
  if (required !== false) return undefined;
  return {
    ...(backlogEventsMax === undefined ? {} : { eventsMax: backlogEventsMax }),
    ...(backlogBytesMax === undefined ? {} : { bytesMax: backlogBytesMax }),
  };
}

/** Throws for sinks that contradict themselves. */
export function checkEntries(sinks: readonly SinkEntry[]): void {
  const names = new Set(sinks.map(({ sink }) => sink.name));
  if (names.size < sinks.length) throw new Error('two sinks have the same name');
  for (const entry of sinks) {
    const isLimited = entry.backlogEventsMax !== undefined || entry.backlogBytesMax !== undefined;
    const isOptional = entry.required === false;
    if (isOptional && entry.sink.name === STORE_SINK) throw new Error('the store cannot be optional');
    if (isOptional !== isLimited) {
      throw new Error(`sink ${entry.sink.name}: required: false and a backlog limit belong together`);
    }
  }
}

/** The sinks of a new installation have always been there. */
export function registerSinks(state: State, sinks: readonly SinkEntry[], startedAtMs: number): void {
  const known = new Set(state.knownSinks().map(({ sink }) => sink));
  const isNew = known.size === 0;
  for (const { sink } of sinks) {
    if (!known.has(sink.name)) state.registerSink({ sink: sink.name, sinceMs: isNew ? 0 : startedAtMs });
  }
}
