/** The sink that routes rows to Kafka topics by event type: keyed by session, in order, at least once. */
import { readStoredRows, type StoredRow } from '@libs/models';
import {
  type Block,
  Overloaded,
  Retryable,
  type RowFailure,
  type Sink,
  type SinkHealth,
  type WriteContext,
} from '@libs/pipeline';
import type { LaneRow } from './kafka-batches.ts';
import { type KafkaClient, KafkaError, type NewTopicSettings } from './kafka-client.ts';
import { createLane, type KafkaStored, type Lane, type LaneResult } from './kafka-lane.ts';
import type { KafkaLogger } from './kafka-log.ts';
import { partitionOf } from './kafka-partition.ts';
import { createKafkaTopics } from './kafka-topics.ts';

export interface KafkaSinkOptions {
  /** Event type → topic. Rows of other types are none of this sink's. */
  readonly routes: ReadonlyMap<string, { readonly topic: string }>;
  /** Present: topics that are not there are created so. Absent: they are only looked for. */
  readonly createTopics?: NewTopicSettings | undefined;
  /** Messages in a batch. Default 10,000: more than fit into its bytes, unless they are tiny. */
  readonly batchRowsMax?: number | undefined;
  /** Bytes in a batch before compression; brokers take 1,048,588 by default (message.max.bytes). Default 900,000. */
  readonly batchBytesMax?: number | undefined;
  /** How long a topic must be missing, by the cluster's own answers, before its rows are refused for good. Default 30,000 ms. */
  readonly topicMissingMaxMs?: number | undefined;
}

export interface KafkaSinkDeps {
  readonly client: KafkaClient;
  readonly logger: KafkaLogger;
  /** A monotonic clock in milliseconds. */
  readonly nowMs: () => number;
  /** Told of every batch that the brokers have acknowledged, once. */
  readonly onStored?: (stored: KafkaStored) => void;
}

export interface KafkaSink extends Sink {
  /** What an operator has to do something about: one sentence for each topic that is missing. Known after `connect`. */
  topicProblems(): readonly string[];
}

const BATCH_ROWS_MAX = 10_000;
const BATCH_BYTES_MAX = 900_000;
const TOPIC_MISSING_MAX_MS = 30_000;
const OVERLOADED_AFTER_MS = 2_000;
/** Longer than any healthy write takes: brokers that fell silent show in the health long before a request times out. */
const SILENT_MS = 5_000;
/** Producers at a time, one for each journal and topic; beyond it the one that was not used for the longest time is closed. */
const LANES_MAX = 256;
const LANE_CLOSE_TIMEOUT_MS = 1_000;

/**
 * Builds the sink, named `kafka`. `connect` throws `Retryable` while the cluster does not answer; a missing topic does not
 * keep the others. `write` throws `Retryable` or `Overloaded` when nothing of the block could be sent; else it resolves
 * with the rows that were not: permanent when a broker refuses the message itself, or when its topic stays missing.
 * Errors of login and permission are retried: the events are not at fault, and what is wrong is put right elsewhere.
 */
export function createKafkaSink(options: KafkaSinkOptions, deps: KafkaSinkDeps): KafkaSink {
  const { client, logger, nowMs } = deps;
  const { batchRowsMax = BATCH_ROWS_MAX, batchBytesMax = BATCH_BYTES_MAX } = options;
  const topicMissingMaxMs = options.topicMissingMaxMs ?? TOPIC_MISSING_MAX_MS;
  const eventTypes = new Set(options.routes.keys());
  const names = [...new Set([...options.routes.values()].map(({ topic }) => topic))];
  const topics = createKafkaTopics({ names, create: options.createTopics, client, logger, nowMs });
  /** By journal and topic; the one used last stands last. */
  const lanes = new Map<string, Lane>();
  let isClosed = false;
  let health: SinkHealth = { state: 'unhealthy', lastError: 'not connected yet' };
  /** When the writes that are under way began. */
  const writing = new Set<{ readonly startMs: number }>();

  async function connect(signal: AbortSignal): Promise<void> {
    assertOpen();
    const startMs = nowMs();
    try {
      await topics.refresh(signal);
    } catch (error) {
      health = { ...health, state: 'unhealthy', lastError: (error as Error).message };
      throw error instanceof KafkaError ? asPipelineError(error, false) : error;
    }
    for (const lane of lanes.values()) lane.clusterAnswered();
    noteSuccess(nowMs() - startMs);
  }

  function assertOpen(): void {
    if (isClosed) throw new Retryable('sink_closed', 'The Kafka sink is closed.');
  }

  function noteSuccess(latencyMs: number): void {
    const [problem] = topics.problems();
    health =
      problem === undefined ? { state: 'healthy', latencyMs } : { state: 'degraded', latencyMs, lastError: problem };
  }

  function laneOf(journal: string, topic: string): Lane {
    const key = `${journal} ${topic}`;
    const found = lanes.get(key);
    const lane =
      found ??
      createLane({
        journal,
        topic,
        client,
        logger,
        batchRowsMax,
        batchBytesMax,
        onStored: (one) => deps.onStored?.(one),
      });
    lanes.delete(key);
    lanes.set(key, lane);
    if (lanes.size > LANES_MAX) closeIdle(lane);
    return lane;
  }

  /** But for the one that is about to be used. */
  function closeIdle(needed: Lane): void {
    const idle = [...lanes].find(([, lane]) => lane !== needed && !lane.isBusy());
    if (idle === undefined) return;
    lanes.delete(idle[0]);
    void idle[1].close(AbortSignal.timeout(LANE_CLOSE_TIMEOUT_MS));
  }

  /** The rows of one topic. What cannot be sent now is told as failures with the error, not thrown. */
  async function sendTo(topic: string, rows: readonly StoredRow[], block: Block, signal: AbortSignal): Promise<Sent> {
    try {
      const state = await topics.find(topic, signal);
      if ('missing' in state) {
        const error = new KafkaError('no_topic', 'kafka_unknown_topic', state.missing);
        const permanent = state.missingForMs >= topicMissingMaxMs;
        return { stored: 0, failures: failuresOf(rows, error, permanent), maybeStored: false, error };
      }
      assertOpen();
      const lane = laneOf(block.journal, topic);
      const result = await lane.send(laneRows(rows, state.partitions), signal);
      if (result.error?.kind === 'no_topic') topics.doubt(topic);
      return { ...result, lane };
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      return { stored: 0, failures: failuresOf(rows, error, false), maybeStored: false, error };
    }
  }

  async function write(block: Block, context: WriteContext): Promise<readonly RowFailure[]> {
    assertOpen();
    const startMs = nowMs();
    const byTopic = groupRows(readStoredRows(block.chunks, block.firstSeq, eventTypes), context.only, options.routes);
    const sending = [...byTopic].map(([topic, rows]) => sendTo(topic, rows, block, context.signal));
    // All of them have ended before anything is thrown: nothing of this block is sent behind the caller's back.
    const settled = await Promise.allSettled(sending);
    const rejected = settled.find((one) => one.status === 'rejected');
    if (rejected !== undefined) throw rejected.reason;
    const results = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));

    const failures = results.flatMap((one) => one.failures).toSorted((a, b) => a.seq - b.seq);
    const error = results.find((one) => one.error !== undefined)?.error;
    const hasStored = results.some(({ stored }) => stored > 0);
    const hasMoved = hasStored || failures.some(({ permanent }) => permanent);
    if (error !== undefined && !hasMoved) {
      health = { ...health, state: 'unhealthy', lastError: error.message };
      throw asPipelineError(
        error,
        results.some(({ maybeStored }) => maybeStored),
      );
    }
    for (const { lane } of results) {
      lane?.reported();
      if (hasStored) lane?.clusterAnswered();
    }
    if (error === undefined) noteSuccess(nowMs() - startMs);
    else health = { ...health, state: 'degraded', lastError: error.message };
    return failures;
  }

  function currentHealth(): SinkHealth {
    const silentMs = nowMs() - Math.min(...[...writing].map(({ startMs }) => startMs));
    if (silentMs < SILENT_MS || health.state === 'unhealthy') return health;
    return {
      ...health,
      state: 'degraded',
      lastError: `The brokers have not answered for ${Math.floor(silentMs / 1_000)} s.`,
    };
  }

  async function close(signal: AbortSignal): Promise<void> {
    isClosed = true;
    await Promise.all([...lanes.values()].map((lane) => lane.close(signal)));
    lanes.clear();
  }

  return {
    name: 'kafka',
    eventTypes,
    connect,
    async write(block, context) {
      const one = { startMs: nowMs() };
      writing.add(one);
      try {
        return await write(block, context);
      } finally {
        writing.delete(one);
      }
    },
    close,
    health: currentHealth,
    topicProblems: topics.problems,
  };
}

interface Sent extends LaneResult {
  readonly lane?: Lane;
}

function groupRows(
  rows: readonly StoredRow[],
  only: ReadonlySet<number> | undefined,
  routes: ReadonlyMap<string, { readonly topic: string }>,
): Map<string, StoredRow[]> {
  const byTopic = new Map<string, StoredRow[]>();
  for (const row of rows) {
    const topic = routes.get(row.eventType)?.topic;
    if (topic === undefined || only?.has(row.seq) === false) continue;
    const own = byTopic.get(topic);
    if (own === undefined) byTopic.set(topic, [row]);
    else own.push(row);
  }
  return byTopic;
}

function laneRows(rows: readonly StoredRow[], partitions: number): LaneRow[] {
  return rows.map(({ seq, sessionId: key, eventId, bytes: value }) => {
    return { seq, key, value, eventId, partition: partitionOf(key, partitions) };
  });
}

function failuresOf(rows: readonly StoredRow[], { code, message }: KafkaError, permanent: boolean): RowFailure[] {
  return rows.map(({ seq }) => ({ seq, code, message, permanent }));
}

/** `maybeStored`: something was sent to which no answer came. */
function asPipelineError(error: KafkaError, maybeStored: boolean): Retryable | Overloaded {
  const { code, message, kind } = error;
  if (kind === 'overloaded') return new Overloaded(code, message, OVERLOADED_AFTER_MS, { cause: error });
  return new Retryable(code, message, { ambiguous: maybeStored, cause: error });
}
