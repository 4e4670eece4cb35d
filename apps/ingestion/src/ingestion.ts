/** What the routes and the socket see of the service: the seam between sources and the rest. */
import type { WindowHealth } from '@libs/database/redis';
import type { DeliverState } from '@libs/delivery';
import type { JournalState } from '@libs/journal';
import type { Accept, DeliveredLevel } from '@libs/pipeline';

export interface Ingestion {
  readonly accept: Accept;
  readonly journalId: string;
  journalState(): JournalState;
  /**
   * Everything up to and including this sequence number has reached the level (0: nothing, or not known): in our journal, or
   * in the one of the given tag.
   */
  reachedSeq(level: DeliveredLevel, journalTag?: string): number;
  /** Calls `listener` whenever one of these has grown, with the tag unless it is ours; returns the function that ends it. */
  onReached(listener: (journalTag?: string) => void): () => void;
  /** True when nothing was heard of that journal for 60 s from `sinceMs` (monotonic) on, though it could have been. */
  isSilent(journalTag: string, sinceMs: number): boolean;
  /** Events of this type go to another sink than the store: for them there is a level beyond `stored`. */
  isRouted(eventType: unknown): boolean;
  /** Deliver's last report, and how many milliseconds ago it came; undefined while deliver is away (over 5 s). */
  deliverState(): { readonly state: DeliverState; readonly ageMs: number } | undefined;
  /** The last report, however old: counters must not fall while deliver is away, whichever process is asked for them. */
  lastDeliverState(): DeliverState | undefined;
  /** Asks deliver over its local HTTP socket (`/query`). Throws `Retryable` while deliver cannot be reached. */
  askDeliver(path: string, init: RequestInit): Promise<Response>;
  /** True from the first sign of a shutdown: readiness is 503 and every accept answers `retry`. */
  draining(): boolean;
  /** The dedupe window that instances share; undefined when there is none. */
  readonly sharedWindow?: (() => WindowHealth) | undefined;
}
