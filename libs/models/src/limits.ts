/** The bounds of one event. */
export interface EventLimits {
  /** UTF-8 bytes of the stored row without what the journal appends. */
  readonly eventBytesMax: number;
  /** How far ahead of the server clock a timestamp may be, in milliseconds. */
  readonly timestampFutureMaxMs: number;
  /** How old a timestamp may be, in milliseconds; without it any age is fine (carts made offline are legitimate). */
  readonly timestampAgeMaxMs?: number;
  /** Levels of objects and arrays in `data` and in `metadata`, each counted as level 1. */
  readonly dataDepthMax: number;
  /** Keys at every depth together, in `data` and in `metadata` apart. */
  readonly dataKeysMax: number;
}

export const DEFAULT_EVENT_LIMITS: EventLimits = {
  eventBytesMax: 65_536,
  timestampFutureMaxMs: 300_000,
  dataDepthMax: 32,
  dataKeysMax: 1_000,
};
