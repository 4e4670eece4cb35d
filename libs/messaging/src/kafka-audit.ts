/**
 * Reads topics back from the brokers and counts the positions that they hold, for reconciling: nothing that the sink
 * believes is taken for granted. A message is never older than its event, so reading begins an hour before the interval by
 * the messages' timestamps; where too little is found behind that (a clock was set back), what is older is read as well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Overloaded, Retryable } from '@libs/pipeline';
import { createSeenPositions, type PositionRange, type SeenPositions } from './kafka-audit-positions.ts';
import { type KafkaReader, OFFSET_OUT_OF_RANGE, type PartitionSpan } from './kafka-audit-reader.ts';
import { eventTypeOf, positionOf } from './kafka-audit-row.ts';
import { KafkaError } from './kafka-client.ts';

export interface KafkaAuditOptions {
  /** Event type → topic. */
  readonly routes: ReadonlyMap<string, { readonly topic: string }>;
  /** How long one count may take. Default 60,000. */
  readonly timeMsMax?: number;
  /** Bytes of messages that one count reads. Default 8 GiB. */
  readonly bytesMax?: number;
  /** Memory for what has been seen. Default 32 MiB: 268 million positions that follow one another. */
  readonly memoryBytesMax?: number;
}

export interface KafkaAuditDeps {
  /** Throws `KafkaError`. Once the signal aborts, everything that the reader does fails. */
  readonly openReader: (signal: AbortSignal) => Promise<KafkaReader>;
  /** A monotonic clock in milliseconds. */
  readonly nowMs: () => number;
}

export interface KafkaAuditQuery {
  /** Only what lies in one of these counts. */
  readonly ranges: readonly PositionRange[];
  /** When the first of them were accepted, in milliseconds since 1970. */
  readonly fromMs: number;
  /** By event type: how many positions there should be. Where there are fewer, it is read on, and said why there may be. */
  readonly expected: ReadonlyMap<string, number>;
}

export interface KafkaCount {
  /** Distinct positions. */
  readonly stored: number;
  /** Copies beyond the first. */
  readonly duplicates: number;
}

export interface KafkaCounts {
  readonly byEventType: ReadonlyMap<string, KafkaCount>;
  /** Sentences on what makes `stored` too low, or may. */
  readonly caveats: readonly string[];
}

export interface KafkaAudit {
  /**
   * Throws `Retryable` when the cluster does not answer, `Overloaded` (`audit_running`) while another count runs, and the
   * signal's reason.
   */
  count(query: KafkaAuditQuery, signal: AbortSignal): Promise<KafkaCounts>;
}

const TIME_MS_MAX = 60_000;
const BYTES_MAX = 8 * 1024 ** 3;
const MEMORY_BYTES_MAX = 32 * 1024 ** 2;
/** How far a broker's or our clock may be behind. */
const CLOCK_SLACK_MS = 3_600_000;
const RUNNING_AFTER_MS = 5_000;
/** Answers in a row that bring nothing before a partition is left alone. */
const VAIN_MAX = 5;
const VAIN_PAUSE_MS = 200;
const PARTITIONS_NAMED_MAX = 5;

/** One count as it goes on. */
interface Tally {
  readonly seen: SeenPositions;
  readonly counts: Map<string, { stored: number; duplicates: number }>;
  readonly caveats: string[];
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  bytesLeft: number;
  /** Why nothing more is read. */
  cut: string | undefined;
}

interface TopicState {
  readonly topic: string;
  readonly spans: readonly PartitionSpan[];
  /** By partition: where reading begins first. */
  readonly starts: ReadonlyMap<number, number>;
}

export function createKafkaAudit(options: KafkaAuditOptions, { openReader, nowMs }: KafkaAuditDeps): KafkaAudit {
  const { timeMsMax = TIME_MS_MAX, bytesMax = BYTES_MAX, memoryBytesMax = MEMORY_BYTES_MAX } = options;
  const typesOf = Map.groupBy(options.routes.keys(), (type) => options.routes.get(type)?.topic ?? '');
  let isRunning = false;

  function missingOf(tally: Tally, query: KafkaAuditQuery, topic: string): number {
    return (typesOf.get(topic) ?? []).reduce((sum, type) => {
      const missing = (query.expected.get(type) ?? 0) - (tally.counts.get(type)?.stored ?? 0);
      return sum + Math.max(0, missing);
    }, 0);
  }

  /** Undefined, and a caveat: this topic cannot be counted. Throws when it is not the topic's fault. */
  async function ofTopic<T>(tally: Tally, topic: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      tally.signal.throwIfAborted();
      if (!(error instanceof KafkaError) || error.kind === 'timeout' || error.kind === 'unreachable') throw error;
      const types = (typesOf.get(topic) ?? []).join(', ');
      tally.caveats.push(
        error.kind === 'no_topic'
          ? `The Kafka topic ${topic} is not there: of ${types} nothing is counted in it.`
          : `The Kafka topic ${topic} could not be read (${error.code}): stored is too low for ${types}.`,
      );
      return undefined;
    }
  }

  function note(tally: Tally, value: Buffer): void {
    tally.bytesLeft -= value.length;
    const position = positionOf(value);
    if (position === undefined) return;
    const seen = tally.seen.note(position.journal, position.seq);
    if (seen === 'outside') return;
    if (seen === 'full') {
      tally.cut = `there is no room to remember more positions (${memoryBytesMax} bytes)`;
      return;
    }
    const type = eventTypeOf(value) ?? '';
    const count = tally.counts.get(type) ?? { stored: 0, duplicates: 0 };
    tally.counts.set(type, count);
    if (seen === 'first') count.stored++;
    else count.duplicates++;
  }

  function mayGoOn(tally: Tally): boolean {
    tally.signal.throwIfAborted();
    if (nowMs() >= tally.deadlineMs) tally.cut ??= `${timeMsMax} ms were over`;
    if (tally.bytesLeft <= 0) tally.cut ??= `${bytesMax} bytes were read`;
    return tally.cut === undefined;
  }

  /** Messages from `from` on, without `until`. */
  async function readSpan(
    reader: KafkaReader,
    tally: Tally,
    { topic, partition, from, until }: { topic: string; partition: number; from: number; until: number },
  ): Promise<void> {
    let vain = 0;
    for (let next = from; next < until && mayGoOn(tally); ) {
      try {
        const { messages, nextOffset } = await reader.read(topic, partition, next);
        for (const { offset, value } of messages) if (offset < until && value !== null) note(tally, value);
        vain = nextOffset > next ? 0 : vain + 1;
        next = nextOffset;
      } catch (error) {
        if (!(error instanceof KafkaError) || error.code !== OFFSET_OUT_OF_RANGE || vain >= VAIN_MAX) throw error;
        vain++;
        // What has been removed meanwhile is skipped.
        const now = (await reader.spans(topic)).find((span) => span.partition === partition);
        next = Math.max(next, now?.firstOffset ?? next);
      }
      if (vain > VAIN_MAX) {
        tally.caveats.push(
          `The Kafka topic ${topic} gives nothing from offset ${next} of partition ${partition} on: stored may be too low.`,
        );
        return;
      }
      if (vain > 0) await sleep(VAIN_PAUSE_MS, undefined, { signal: tally.signal });
    }
  }

  async function findTopic(reader: KafkaReader, topic: string, fromMs: number): Promise<TopicState> {
    const spans = await reader.spans(topic);
    const at = await reader.offsetsAt(topic, Math.max(0, fromMs - CLOCK_SLACK_MS));
    const starts = new Map(
      spans.map(({ partition, firstOffset, endOffset }) => [
        partition,
        Math.min(endOffset, Math.max(firstOffset, at.get(partition) ?? endOffset)),
      ]),
    );
    return { topic, spans, starts };
  }

  async function countWith(reader: KafkaReader, tally: Tally, query: KafkaAuditQuery) {
    const topics: TopicState[] = [];
    for (const topic of typesOf.keys()) {
      const found = await ofTopic(tally, topic, () => findTopic(reader, topic, query.fromMs));
      if (found !== undefined) topics.push(found);
    }
    for (const { topic, spans, starts } of topics) {
      await ofTopic(tally, topic, async () => {
        for (const { partition, firstOffset, endOffset } of spans) {
          const from = starts.get(partition) ?? firstOffset;
          await readSpan(reader, tally, { topic, partition, from, until: endOffset });
        }
      });
    }
    for (const { topic, spans, starts } of topics) {
      if (missingOf(tally, query, topic) === 0) continue;
      await ofTopic(tally, topic, async () => {
        for (const { partition, firstOffset, endOffset } of spans) {
          const until = starts.get(partition) ?? endOffset;
          await readSpan(reader, tally, { topic, partition, from: firstOffset, until });
        }
      });
    }
    if (tally.cut !== undefined) {
      tally.caveats.push(`The Kafka topics were not read to their ends, because ${tally.cut}: stored is too low.`);
    }
    for (const { topic, spans } of topics) {
      const missing = missingOf(tally, query, topic);
      if (missing > 0) tally.caveats.push(...removedFrom(topic, missing, spans));
    }
  }

  async function count(query: KafkaAuditQuery, signal: AbortSignal): Promise<KafkaCounts> {
    const tally: Tally = {
      seen: createSeenPositions(query.ranges, memoryBytesMax),
      counts: new Map(),
      caveats: [],
      signal,
      deadlineMs: nowMs() + timeMsMax,
      bytesLeft: bytesMax,
      cut: undefined,
    };
    const done = { byEventType: tally.counts, caveats: tally.caveats };
    if (query.ranges.length === 0) return done;
    if (isRunning) {
      throw new Overloaded('audit_running', 'The topics are being read back already: ask again.', RUNNING_AFTER_MS);
    }
    isRunning = true;
    let reader: KafkaReader | undefined;
    try {
      reader = await openReader(signal);
      await countWith(reader, tally, query);
      return done;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof KafkaError) {
        throw new Retryable(error.code, `The topics cannot be read back: ${error.message}`, { cause: error });
      }
      throw error;
    } finally {
      reader?.close();
      isRunning = false;
    }
  }

  return { count };
}

function removedFrom(topic: string, missing: number, spans: readonly PartitionSpan[]): string[] {
  const cut = spans.filter(({ firstOffset }) => firstOffset > 0);
  if (cut.length === 0) return [];
  const named = cut
    .slice(0, PARTITIONS_NAMED_MAX)
    .map(({ partition, firstOffset }) => `${firstOffset} in partition ${partition}`)
    .join(', ');
  const more = cut.length > PARTITIONS_NAMED_MAX ? ` and ${cut.length - PARTITIONS_NAMED_MAX} more` : '';
  return [
    `The Kafka topic ${topic} now begins at offset ${named}${more}: what stood before has been removed, by its retention or by somebody, and the ${missing} of its events that are not there may be among that.`,
  ];
}
