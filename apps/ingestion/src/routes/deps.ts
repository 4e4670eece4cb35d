/** What every route is given. */
import type { Protect } from '@libs/elysia-server';
import type { Metrics } from '@libs/monitoring';
import type { Ingestion } from '../ingestion.ts';
import type { Turn } from '../turn.ts';
import type { Workers } from '../workers.ts';
import type { Counters } from './counters.ts';
import type { Topic } from './topics-catalog.ts';

export interface RouteLimits {
  /** Bytes of one event; a body or line may be longer by `BODY_SLACK_BYTES`. */
  readonly eventBytesMax: number;
  /** Bytes of a batch after decompression. */
  readonly batchBytesMax: number;
  /** Events in a JSON batch. */
  readonly batchEventsMax: number;
  /** Bytes of a query's text with its data, after decompression. */
  readonly queryBytesMax: number;
  /** Milliseconds until a body must be complete; for a stream, without any progress. */
  readonly requestTimeoutMs: number;
  /** Milliseconds until a query must have been answered: the store's own limit and some. */
  readonly queryTimeoutMs: number;
  /** Milliseconds that accept waits for more than the journal: the connection must stay open that long. */
  readonly ackTimeoutMs: number;
}

export interface RouteSinks {
  readonly kafka: boolean;
  /** Names of the downstream services. */
  readonly downstreams: readonly string[];
}

export interface RouteDeps {
  readonly ingestion: Ingestion;
  readonly turn: Turn;
  readonly limits: RouteLimits;
  readonly counters: Counters;
  readonly metrics: Metrics;
  readonly workers: Workers;
  readonly version: string;
  /** Where events go beside the store; nothing when absent. */
  readonly sinks?: RouteSinks | undefined;
  /** Lets requests in by their token; absent while the service is open to all. */
  readonly protect?: Protect | undefined;
  /** What `GET /topics` knows. */
  readonly topics?: readonly Topic[];
}

/** White space and escapes make an event's text longer than the row it becomes; what is far longer is refused unread. */
export const BODY_SLACK_BYTES = 4096;
