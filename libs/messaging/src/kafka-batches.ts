/** Rows on their way into batches, one partition each. */
import type { KafkaMessage } from './kafka-client.ts';
import { utf8Bytes } from './kafka-text.ts';

export interface LaneRow extends KafkaMessage {
  readonly seq: number;
  readonly partition: number;
}

export interface BatchLimits {
  /** Messages in a batch. */
  readonly batchRowsMax: number;
  /** Bytes in a batch; a larger message goes alone. */
  readonly batchBytesMax: number;
}

/** Bytes that a record takes beyond key, value and event id: lengths, attributes, the header's name. */
const RECORD_OVERHEAD_BYTES = 40;

/** True when every row of every unresolved batch is to be sent (again). */
export function isCovered(unresolved: ReadonlyMap<number, readonly LaneRow[]>, pending: readonly LaneRow[]): boolean {
  if (unresolved.size === 0) return true;
  const partitions = new Map(pending.map(({ seq, partition }) => [seq, partition]));
  for (const [partition, rows] of unresolved) {
    if (!rows.every(({ seq }) => partitions.get(seq) === partition)) return false;
  }
  return true;
}

/** Each partition's rows, in order. */
export function byPartition(rows: readonly LaneRow[]): Iterable<readonly LaneRow[]> {
  return Map.groupBy(rows, ({ partition }) => partition).values();
}

/** The rows, in order, in batches within the limits. */
export function cutBatches(
  rows: readonly LaneRow[],
  { batchRowsMax, batchBytesMax }: BatchLimits,
): (readonly LaneRow[])[] {
  const batches: (readonly LaneRow[])[] = [];
  let start = 0;
  let bytes = 0;
  for (let index = 0; index < rows.length; index++) {
    const { key, value, eventId } = rows[index] as LaneRow;
    const rowBytes = utf8Bytes(key) + value.length + utf8Bytes(eventId) + RECORD_OVERHEAD_BYTES;
    if (index > start && (index - start >= batchRowsMax || bytes + rowBytes > batchBytesMax)) {
      batches.push(rows.slice(start, index));
      start = index;
      bytes = 0;
    }
    bytes += rowBytes;
  }
  if (start < rows.length) batches.push(rows.slice(start));
  return batches;
}
