/**
 * Holds Kafka's topics, read back by kcat, against what stands in the store: every event of a routed type is on its topic at
 * least once, whole, under the right key and header, and nothing else is. Order is judged partition by partition, which is
 * stricter than by session.
 *
 * What may stand there twice is the block that was in flight when its producer ended (design.md, "Delivery"): a run that
 * begins at most one block behind and goes on without a gap. Events that are there for the first time come in the order of
 * their positions, none passed over.
 */
import { type KafkaMessage, readTopic } from '@libs/services';
import { select } from './audit.ts';
import { digestOf } from './events.ts';

/** spec/ingestion.md, "After the ack". */
export const TOPICS: Readonly<Record<string, string>> = {
  cart_abandoned: 'cart.abandoned',
  cart_updated: 'cart.updated',
  cart_created: 'cart.created',
  item_added: 'cart.item_added',
  item_removed: 'cart.item_removed',
  purchase_completed: 'cart.purchase_completed',
};

/** A row of the store, as far as it is to be found on a topic. */
export interface HeldRow {
  readonly journal: string;
  readonly seq: number;
  readonly eventType: string;
  readonly eventId: string;
  readonly sessionId: string;
  readonly digest: bigint;
}

export interface TopicRules {
  /** A repeat begins at most so many positions back. */
  readonly blockRowsMax: number;
  /**
   * A request of a producer that was killed may wait in a socket while its successor sends: its repeat then ends in
   * the middle. Without kills it goes on until what is new.
   */
  readonly cutShort?: boolean;
  /** Positions that an operator replayed: they may stand anywhere. */
  readonly replayed?: ReadonlySet<string>;
  /** Positions that are dead letters: they must not be there. */
  readonly deadLetters?: ReadonlySet<string>;
}

export interface TopicFindings {
  /** Broken promises, as sentences. */
  readonly broken: readonly string[];
  readonly messages: number;
  /** Messages beyond the first of their event. */
  readonly repeats: number;
}

const PAGE_ROWS = 20_000;
const NAMED_MAX = 5;

export const positionOf = ({ journal, seq }: Pick<HeldRow, 'journal' | 'seq'>): string => `${journal}:${seq}`;

export async function readTopics(brokers: string): Promise<ReadonlyMap<string, readonly KafkaMessage[]>> {
  const topics = new Map<string, readonly KafkaMessage[]>();
  for (const topic of Object.values(TOPICS)) topics.set(topic, await readTopic({ brokers, topic }));
  return topics;
}

/** All of `raw_events`, by position. */
export async function readHeld(url: string): Promise<HeldRow[]> {
  const held: HeldRow[] = [];
  const journals = await select<[string, number]>(url, 'SELECT journal, max(seq) FROM raw_events GROUP BY journal');
  for (const [journal, last] of journals)
    for (let from = 1; from <= Number(last); from += PAGE_ROWS) {
      const rows = await select<[number, string, string, string, string, string | null, string, string]>(
        url,
        `SELECT seq, storeId, eventId, eventType, sessionId, userId, timestamp, data FROM raw_events
         WHERE journal = '${journal}' AND seq >= ${from} AND seq < ${from + PAGE_ROWS} ORDER BY seq`,
      );
      for (const [seq, storeId, eventId, eventType, sessionId, userId, at, data] of rows) {
        const timestamp = `${at.replace(' ', 'T').slice(0, 23)}Z`;
        const digest = digestOf({ storeId, eventId, eventType, sessionId, userId, timestamp, data });
        held.push({ journal, seq: Number(seq), eventType, eventId, sessionId, digest });
      }
    }
  return held;
}

interface Placed {
  readonly row: HeldRow;
  readonly partition: number;
}

/** A message as its row; a sentence when it is none of ours, or not as it should be. */
function place(topic: string, message: KafkaMessage, held: ReadonlyMap<string, HeldRow>): Placed | string {
  const { partition, offset, key, value, headers } = message;
  const where = `${topic} ${partition}/${offset}`;
  if (value === null) return `a tombstone: ${where}`;
  const row = JSON.parse(value) as Record<string, unknown>;
  const position = `${row['journal']}:${row['seq']}`;
  const found = held.get(position);
  if (found === undefined) return `on a topic and not in the store: ${where}, ${position}`;
  if (TOPICS[found.eventType] !== topic) return `on another topic than its own: ${where}, a ${found.eventType}`;
  if (key !== found.sessionId) return `another key than the session: ${where} has ${key}`;
  const ids = headers.filter(([name]) => name === 'eventId').map(([, id]) => id);
  if (ids.length !== 1 || ids[0] !== found.eventId) return `another header than the event's id: ${where} has ${ids}`;
  if (digestOfRow(row) !== found.digest) return `other content than in the store: ${where}, ${position}`;
  return { row: found, partition };
}

function digestOfRow(row: Record<string, unknown>): bigint {
  const text = (name: string): string => String(row[name]);
  const { data } = row;
  return digestOf({
    storeId: text('storeId'),
    eventId: text('eventId'),
    eventType: text('eventType'),
    sessionId: text('sessionId'),
    userId: typeof row['userId'] === 'string' ? row['userId'] : null,
    timestamp: new Date(text('timestamp')).toISOString(),
    data: typeof data === 'string' ? data : JSON.stringify(data),
  });
}

/** `rows`: what must be there. */
export function compareTopics(
  rows: readonly HeldRow[],
  topics: ReadonlyMap<string, readonly KafkaMessage[]>,
  rules: TopicRules,
): TopicFindings {
  const held = new Map(rows.map((row) => [positionOf(row), row]));
  const broken: string[] = [];
  const counts = new Map<string, number>();
  for (const [topic, messages] of topics) {
    const placed: Placed[] = [];
    for (const message of messages) {
      const found = place(topic, message, held);
      if (typeof found === 'string') broken.push(found);
      else placed.push(found);
    }
    for (const { row } of placed) counts.set(positionOf(row), (counts.get(positionOf(row)) ?? 0) + 1);
    const mine = rows.filter(({ eventType }) => TOPICS[eventType] === topic);
    broken.push(...orderOf(topic, mine, placed, rules));
  }
  for (const row of rows) {
    const position = positionOf(row);
    const isDead = rules.deadLetters?.has(position) === true;
    if (!counts.has(position) && !isDead) broken.push(`promised and not on its topic: ${row.eventType} ${position}`);
    if (counts.has(position) && isDead) broken.push(`a dead letter that is on its topic: ${position}`);
  }
  const messages = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return { broken: shorten(broken), messages, repeats: messages - counts.size };
}

/** Broken order of one topic, partition by partition and journal by journal. */
function orderOf(topic: string, rows: readonly HeldRow[], placed: readonly Placed[], rules: TopicRules): string[] {
  const broken: string[] = [];
  const partitions = new Map<string, number>();
  for (const { row, partition } of placed) {
    const known = partitions.get(row.sessionId) ?? partition;
    if (known !== partition) broken.push(`a session on two partitions: ${row.sessionId} on ${topic}`);
    partitions.set(row.sessionId, known);
  }
  const counts = (row: HeldRow): boolean =>
    rules.replayed?.has(positionOf(row)) !== true && rules.deadLetters?.has(positionOf(row)) !== true;
  const streamOf = (row: HeldRow, partition: number | undefined): string => `${partition} ${row.journal}`;
  const due = Map.groupBy(rows.filter(counts), (row) => streamOf(row, partitions.get(row.sessionId)));
  const there = placed.filter(({ row }) => counts(row));
  for (const [stream, found] of Map.groupBy(there, ({ row, partition }) => streamOf(row, partition))) {
    const wanted = (due.get(stream) ?? []).map(({ seq }) => seq).toSorted((a, b) => a - b);
    const seqs = found.map(({ row }) => row.seq);
    broken.push(...checkRuns(wanted, seqs, rules).map((sentence) => `${sentence} (${topic}, ${stream})`));
  }
  return broken;
}

/**
 * `wanted`: the sequence numbers of a partition, ascending; `seqs`: as they stand there. Sentences for what is not the next
 * one and no run that begins again.
 */
export function checkRuns(wanted: readonly number[], seqs: readonly number[], rules: TopicRules): string[] {
  const broken: string[] = [];
  const placeOf = new Map(wanted.map((seq, at) => [seq, at]));
  let next = 0;
  let last = -1;
  for (const seq of seqs) {
    const at = placeOf.get(seq);
    if (at === undefined) continue; // named by the caller
    if (at > next) broken.push(`out of order: ${seq} before ${wanted[next]}`);
    else if (at === next) {
      const isCut = last !== next - 1;
      if (isCut && rules.cutShort !== true)
        broken.push(`a repeat that ends in the middle: ${wanted[last]}, then ${seq}`);
    } else if (at !== last + 1) {
      const newest = wanted[next - 1] as number;
      if (seq <= newest - rules.blockRowsMax) broken.push(`a repeat of more than a block: ${seq} behind ${newest}`);
    }
    last = at;
    next = Math.max(next, at + 1);
  }
  return broken;
}

/** Of each kind (the words before the colon) a few, and how many more. */
function shorten(sentences: readonly string[]): string[] {
  return [...Map.groupBy(sentences, (sentence) => sentence.split(':')[0])].flatMap(([kind, list]) => [
    ...list.slice(0, NAMED_MAX),
    ...(list.length > NAMED_MAX ? [`${kind}: ${list.length - NAMED_MAX} more`] : []),
  ]);
}
