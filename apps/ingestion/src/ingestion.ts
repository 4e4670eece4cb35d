/** What the routes and the socket see of the service: the seam between sources and the rest. */
import type { WindowHealth } from '@libs/database/redis';
import type { DeliverState } from '@libs/delivery';
import type { JournalState } from '@libs/journal';
import type { Accept } from '@libs/pipeline';

export interface Ingestion {
  readonly accept: Accept;
  readonly journalId: string;
  journalState(): JournalState;
  /** The store has everything up to and including this sequence number of our journal (0: nothing, or not known). */
  storedSeq(): number;
  /** Calls `listener` whenever `storedSeq` has grown; returns the function that ends it. */
  onStored(listener: (storedSeq: number) => void): () => void;
  /** Deliver's last report, and how many milliseconds ago it came; undefined while deliver is away (over 5 s). */
  deliverState(): { readonly state: DeliverState; readonly ageMs: number } | undefined;
  /** Asks deliver over its local HTTP socket (`/query`). Throws `Retryable` while deliver cannot be reached. */
  askDeliver(path: string, init: RequestInit): Promise<Response>;
  /** True from the first sign of a shutdown: readiness is 503 and every accept answers `retry`. */
  draining(): boolean;
  /** The dedupe window that instances share; undefined when there is none. */
  readonly sharedWindow?: (() => WindowHealth) | undefined;
}
