/**
 * The way of one journal's rows into one topic: one producer, one batch on its way at a time, batches of a partition
 * in order. What no answer came for is sent again as it was, so that the broker recognises it.
 */
import { Retryable, type RowFailure } from '@libs/pipeline';
import { unlessAborted } from './kafka-abort.ts';
import { type BatchLimits, byPartition, cutBatches, isCovered, type LaneRow } from './kafka-batches.ts';
import { type KafkaClient, KafkaError, type KafkaProducer } from './kafka-client.ts';
import type { KafkaLogger } from './kafka-log.ts';

/** What a broker acknowledged: `count` messages with successive offsets. */
export interface KafkaStored {
  readonly journal: string;
  readonly topic: string;
  readonly partition: number;
  /** Undefined when the broker did not tell. */
  readonly firstOffset?: number;
  readonly lastOffset?: number;
  readonly count: number;
}

export interface LaneResult {
  /** Rows that the broker has. */
  readonly stored: number;
  /** Rows that it has not, permanent ones among them. */
  readonly failures: readonly RowFailure[];
  /** Why rows may be sent again later. */
  readonly error?: KafkaError;
  /** Rows among the failures may be stored: no answer came. */
  readonly maybeStored: boolean;
}

export interface Lane {
  readonly topic: string;
  /** Rows in order. Throws `Retryable` (`aborted`) when the signal aborts; what is on its way then is waited for by the next call. */
  send(rows: readonly LaneRow[], signal: AbortSignal): Promise<LaneResult>;
  /** The caller knows what was stored: nothing of it will be asked for again. */
  reported(): void;
  /** The cluster has answered somebody since the last failure: if this lane fails again, the fault is its producer's. */
  clusterAnswered(): void;
  isBusy(): boolean;
  close(signal: AbortSignal): Promise<void>;
}

export interface LaneOptions extends BatchLimits {
  readonly journal: string;
  readonly topic: string;
  readonly client: KafkaClient;
  readonly onStored: (stored: KafkaStored) => void;
  readonly logger: KafkaLogger;
}

/** Failures of a producer while its cluster answers others, before it is thrown away. */
const SUSPICIONS_MAX = 3;
/** New producers within one `send`: one that is refused at once is not the producer's fault. */
const RENEWALS_MAX = 2;
const CLOSE_TIMEOUT_MS = 1_000;

/** Where one `send` stands. */
interface Run {
  readonly signal: AbortSignal;
  readonly failures: RowFailure[];
  stored: number;
  renewals: number;
  error: KafkaError | undefined;
  /** Nothing more is sent. */
  isOver: boolean;
}

export function createLane(options: LaneOptions): Lane {
  const { journal, topic, client, logger } = options;
  let producer: KafkaProducer | undefined;
  let tail: Promise<unknown> = Promise.resolve();
  let running = 0;
  let isClosed = false;
  let suspicions = 0;
  let clusterHasAnswered = false;
  /** By partition: the batch that the broker may or may not have. */
  const unresolved = new Map<number, readonly LaneRow[]>();
  /** Batches that are stored, but the caller may not have heard of it. */
  let unreported: (readonly LaneRow[])[] = [];

  async function connected(): Promise<KafkaProducer> {
    if (isClosed) throw new KafkaError('unknown', 'sink_closed', 'Kafka: the sink is closed');
    if (producer !== undefined) return producer;
    const fresh = client.createProducer();
    try {
      await fresh.connect();
    } catch (error) {
      await fresh.close(AbortSignal.abort());
      throw error;
    }
    producer = fresh;
    return fresh;
  }

  /** What was sent through the old producer may be stored once more through the new one. */
  async function renew(reason: string): Promise<void> {
    const old = producer;
    producer = undefined;
    suspicions = 0;
    unresolved.clear();
    if (old === undefined) return;
    logger.debug({ journal, topic, reason }, 'a Kafka producer is replaced: what was on its way may arrive twice');
    await old.close(AbortSignal.timeout(CLOSE_TIMEOUT_MS));
  }

  async function run(rows: readonly LaneRow[], signal: AbortSignal): Promise<LaneResult> {
    const run: Run = { signal, failures: [], stored: 0, renewals: 0, error: undefined, isOver: false };
    const pending = without(rows, unreported);
    run.stored = rows.length - pending.length;
    if (suspicions >= SUSPICIONS_MAX) await renew('it fails while its cluster answers');
    if (!isCovered(unresolved, pending)) await renew('rows that were on their way are not asked for any more');
    for (const partitionRows of byPartition(pending)) await sendPartition(run, partitionRows);
    const { stored, failures, error } = run;
    const maybeStored = run.renewals > 0 || unresolved.size > 0;
    return error === undefined ? { stored, failures, maybeStored } : { stored, failures, maybeStored, error };
  }

  async function sendPartition(run: Run, rows: readonly LaneRow[]): Promise<void> {
    const first = unresolved.get(rows[0]?.partition ?? 0) ?? [];
    const rest = without(rows, [first]);
    const batches = [...(first.length > 0 ? [first] : []), ...cutBatches(rest, options)];
    let isBlocked = false;
    for (const batch of batches) isBlocked = !(await sendBatch(run, batch, isBlocked));
  }

  /** False: nothing behind this batch may be sent to its partition now. */
  async function sendBatch(run: Run, rows: readonly LaneRow[], isBlocked: boolean): Promise<boolean> {
    if (isBlocked || run.isOver || run.signal.aborted) {
      failAll(run, rows);
      return false;
    }
    try {
      await sendOnce(rows);
      run.stored += rows.length;
      return true;
    } catch (error) {
      return await recover(run, rows, asKafkaError(error));
    }
  }

  async function sendOnce(rows: readonly LaneRow[]): Promise<void> {
    const open = await connected();
    const partition = rows[0]?.partition ?? 0;
    unresolved.set(partition, rows);
    const firstOffset = await open.send({ topic, partition, messages: rows });
    unresolved.delete(partition);
    suspicions = 0;
    unreported.push(rows);
    const count = rows.length;
    const offsets = firstOffset === undefined ? {} : { firstOffset, lastOffset: firstOffset + count - 1 };
    options.onStored({ journal, topic, partition, count, ...offsets });
  }

  async function recover(run: Run, rows: readonly LaneRow[], error: KafkaError): Promise<boolean> {
    switch (error.kind) {
      case 'refused':
        return await refuse(run, rows, error);
      case 'producer':
        await renew(error.code);
        if (run.renewals++ < RENEWALS_MAX) return await sendBatch(run, rows, false);
        break;
      case 'no_topic':
        // kafkajs asks for a topic that was once there again and again; a producer that starts anew does not.
        await renew(error.code);
        break;
      case 'partition':
        failAll(run, rows, error);
        return false;
      case 'timeout':
        producer?.reconnect();
        suspect();
        break;
      case 'unreachable':
      case 'unknown':
        suspect();
        break;
      default:
    }
    run.isOver = true;
    failAll(run, rows, error);
    return false;
  }

  function suspect(): void {
    if (clusterHasAnswered) suspicions++;
    clusterHasAnswered = false;
  }

  /** The broker does not name the message that it refuses: halves of the batch find it. */
  async function refuse(run: Run, rows: readonly LaneRow[], error: KafkaError): Promise<boolean> {
    const [first] = rows;
    if (first !== undefined) unresolved.delete(first.partition);
    if (first !== undefined && rows.length === 1) {
      run.failures.push({ seq: first.seq, code: error.code, message: error.message, permanent: true });
      return true;
    }
    const middle = rows.length >> 1;
    const mayGoOn = await sendBatch(run, rows.slice(0, middle), false);
    return await sendBatch(run, rows.slice(middle), !mayGoOn);
  }

  function send(rows: readonly LaneRow[], signal: AbortSignal): Promise<LaneResult> {
    running++;
    const work = tail.then(() => run(rows, signal)).finally(() => running--);
    tail = work.catch(() => undefined);
    return unlessAborted(work, signal, givenUp);
  }

  async function close(signal: AbortSignal): Promise<void> {
    isClosed = true;
    await unlessAborted(tail, signal, givenUp).catch(() => undefined);
    await producer?.close(signal);
    producer = undefined;
  }

  return {
    topic,
    send,
    reported() {
      unreported = [];
    },
    clusterAnswered() {
      clusterHasAnswered = true;
    },
    isBusy: () => running > 0,
    close,
  };
}

function without(rows: readonly LaneRow[], batches: readonly (readonly LaneRow[])[]): readonly LaneRow[] {
  if (batches.every(({ length }) => length === 0)) return rows;
  const seqs = new Set(batches.flatMap((batch) => batch.map(({ seq }) => seq)));
  return rows.filter(({ seq }) => !seqs.has(seq));
}

function failAll(run: Run, rows: readonly LaneRow[], error?: KafkaError): void {
  run.error ??= error;
  const { code, message } = run.error ?? {
    code: 'aborted',
    message: 'The write was given up before this row was sent.',
  };
  for (const { seq } of rows) run.failures.push({ seq, code, message, permanent: false });
}

function asKafkaError(error: unknown): KafkaError {
  if (error instanceof KafkaError) return error;
  throw error;
}

function givenUp(cause: unknown): Retryable {
  return new Retryable('aborted', 'The write was given up before Kafka had answered.', { ambiguous: true, cause });
}
