/** What a journal says of itself, for health, metrics and refusals. Bytes are bytes on disk, times milliseconds. */
export interface JournalState {
  /** `full`: past its byte limit, or too little disk left; it goes on by itself. `failed`: the process is about to exit. */
  readonly state: 'open' | 'full' | 'failed' | 'closed';
  /** Why it is full or has failed. */
  readonly reason?: string;
  readonly lastSeq: number;
  readonly durableSeq: number;
  readonly releasedSeq: number;
  /** Bytes of frames that not every sink has released. */
  readonly pendingBytes: number;
  readonly limitBytes: number;
  /** Seconds until the journal is full at the present rate; undefined when it does not grow. */
  readonly secondsUntilFull?: number;
  readonly segments: number;
  /** Ids in the dedupe index, and the span of frame time they cover. */
  readonly dedupeIds: number;
  readonly dedupeWindowMs: number;
  readonly syncMode: 'inline' | 'pool';
  readonly lastSyncMs: number;
  readonly commits: number;
}
