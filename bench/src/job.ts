/** What the bench asks of a generator process, and what it gets back: JSON both ways. */
import type { Titles } from './events.ts';
import type { Mix } from './mix.ts';
import type { CpuUse, NamedProcess } from './processes.ts';
import type { Acks, BodyForm, LoadKind } from './request-ring.ts';
import type { Percentiles } from './samples.ts';

export interface LoadJob {
  readonly kind: LoadKind;
  /** Of WebSocket frames; default: one for each event. */
  readonly acks?: Acks;
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly eventsPerRequest: number;
  /** Closed loop: requests in flight per connection. Open loop: requests per second over all connections. */
  readonly pace: { readonly inFlight: number } | { readonly requestsPerSecond: number };
  /** Seconds of load before the measurement. */
  readonly warmupSeconds: number;
  /** Seconds that are measured. */
  readonly seconds: number;
  /** How long replies are waited for when nothing more is sent. */
  readonly answerTimeoutSeconds: number;
  readonly seed: number;
  readonly titles: Titles;
  /** Default: plain events. */
  readonly mix?: Mix;
  /** `exact`: as Weir documents it; `plain`: 202, or one ack per event. */
  readonly answers: 'exact' | 'plain';
  /** Default: `weir`. */
  readonly form?: BodyForm;
  /** Processes whose CPU time is read as the measurement starts and ends. */
  readonly watch: readonly NamedProcess[];
}

export interface LoadResult {
  /** Events sent, with the warm-up. */
  readonly eventsSent: number;
  /** Events answered while it was measured: what CPU time and rate are divided by. Late ones of an open loop are not among them. */
  readonly events: number;
  readonly eventsPerSecond: number;
  /** Mean bytes of an event's JSON. */
  readonly eventBytes: number;
  /** Closed loop: from the sending, of those. Open loop: from the moment at which it was due, of every request due while it was measured. */
  readonly latency: Percentiles;
  /** Open loop: how long after it was due a request was sent. What is not the server's doing is in here. */
  readonly sendLag?: Percentiles;
  /** The watched processes, and `generator` itself. */
  readonly cpu: CpuUse;
  /** Requests that had no answer when the generator gave up. */
  readonly unanswered: number;
  /** Wrong answers and lost connections, by what they were; over the whole load, not only the measured part. */
  readonly problems: Readonly<Record<string, number>>;
}

/** What a generator sends to its parent. */
export type GeneratorMessage =
  | { readonly type: 'began' }
  | { readonly type: 'result'; readonly result: LoadResult }
  | { readonly type: 'failed'; readonly message: string };
