/** Blocks as the journal gives them, a sink on a real broker, and what is found there afterwards. */

import type { Block, RowFailure, WriteContext } from '@libs/pipeline';
import { type KafkaMessage, readTopic } from '@libs/services';
import type { RequestBuffers } from '../src/kafka-buffers.ts';
import {
  createKafkaJsClient,
  createKafkaSink,
  type KafkaConnectionOptions,
  type KafkaSink,
  type KafkaSinkOptions,
  type KafkaStored,
} from '../src/kafka-index.ts';

export const TEST_MS = 180_000;
export const JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';
export const never = new AbortController().signal;
const RETRY_MS = 50;
export const FIRST: WriteContext = { signal: never, ambiguous: false };

/** A topic that no other test, and no other run against the same broker, has. */
export function topicName(what: string): string {
  return `${what}-${crypto.randomUUID()}`;
}

export function testRow(seq: number, over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    storeId: `store-${seq % 3}`,
    eventType: 'item_added',
    eventId: `event-${seq}`,
    timestamp: '2025-06-15T12:00:00.000Z',
    sessionId: `session-${seq % 17}`,
    data: { sku: `sku-${seq}`, text: 'é"\\ 🛒' },
    metadata: {},
    receivedAt: '2025-06-15T12:00:00.000Z',
    journal: JOURNAL,
    seq,
    ...over,
  };
}

export function blockOf(rows: readonly Record<string, unknown>[], firstSeq: number, journal = JOURNAL): Block {
  const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const lastSeq = firstSeq + rows.length - 1;
  const token = `${journal}:${firstSeq}-${lastSeq}`;
  return { journal, firstSeq, lastSeq, chunks: [bytes], byteLength: bytes.length, token };
}

/** Rows `firstSeq` to `lastSeq`; `over` by sequence number. */
export function range(firstSeq: number, lastSeq: number, over?: (seq: number) => Record<string, unknown>): Block {
  const seqs = Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) => firstSeq + index);
  return blockOf(
    seqs.map((seq) => testRow(seq, over?.(seq))),
    firstSeq,
  );
}

export interface Recorded {
  readonly level: string;
  readonly message: string;
}

export interface TestSink extends AsyncDisposable {
  readonly sink: KafkaSink;
  readonly stored: KafkaStored[];
  readonly log: Recorded[];
}

export interface TestSinkOptions extends Partial<KafkaSinkOptions>, Omit<KafkaConnectionOptions, 'brokers'> {
  readonly brokers: string;
  /** Default: `item_added` goes there. */
  readonly topic?: string;
  readonly nowMs?: () => number;
  readonly buffers?: RequestBuffers;
}

export function testSink(options: TestSinkOptions): TestSink {
  const stored: KafkaStored[] = [];
  const log: Recorded[] = [];
  const note = (level: string) => (_fields: object, message: string) => void log.push({ level, message });
  const logger = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
  const nowMs = options.nowMs ?? (() => performance.now());
  const deps = options.buffers === undefined ? { logger, nowMs } : { logger, nowMs, buffers: options.buffers };
  const client = createKafkaJsClient({ ...options, brokers: [options.brokers] }, deps);
  const routes = options.routes ?? new Map([['item_added', { topic: options.topic ?? 'unused' }]]);
  const sink = createKafkaSink({ ...options, routes }, { client, logger, nowMs, onStored: (one) => stored.push(one) });
  return { sink, stored, log, [Symbol.asyncDispose]: () => sink.close(AbortSignal.timeout(2_000)) };
}

export const CREATE = { createTopics: { partitions: 3, replicationFactor: 1 } };

/** What the runner does, without its waits: again, with the rows that are left, until none is. Resolves with the permanent failures. */
export async function deliver(sink: KafkaSink, block: Block, timeoutMs = 120_000): Promise<RowFailure[]> {
  const permanent: RowFailure[] = [];
  let only: ReadonlySet<number> | undefined;
  let isConnected = false;
  let ambiguous = false;
  const attempt = async (): Promise<boolean> => {
    try {
      if (!isConnected) await sink.connect(never);
      isConnected = true;
      const failures = await sink.write(
        block,
        only === undefined ? { ...FIRST, ambiguous } : { ...FIRST, ambiguous, only },
      );
      permanent.push(...failures.filter((one) => one.permanent));
      only = new Set(failures.filter((one) => !one.permanent).map(({ seq }) => seq));
      return only.size === 0;
    } catch {
      isConnected = false;
      ambiguous = true;
      return false;
    }
  };
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await attempt())) {
    if (performance.now() > deadlineMs) throw new Error(`not delivered: ${JSON.stringify(sink.health())}`);
    await Bun.sleep(RETRY_MS);
  }
  return permanent;
}

export interface Row {
  readonly seq: number;
  readonly sessionId: string;
}

export function rowsOf(messages: readonly KafkaMessage[]): Row[] {
  return messages.map(({ value }) => JSON.parse(value ?? 'null') as Row);
}

export async function readSeqs(brokers: string, topic: string): Promise<number[]> {
  return rowsOf(await readTopic({ brokers, topic })).map(({ seq }) => seq);
}

/** Sessions whose first copies do not stand in the order of their sequence numbers. */
export function disorderly(messages: readonly KafkaMessage[]): string[] {
  const last = new Map<string, number>();
  const seen = new Set<number>();
  const wrong = new Set<string>();
  for (const { seq, sessionId } of rowsOf(messages)) {
    if (seen.has(seq)) continue;
    seen.add(seq);
    if (seq < (last.get(sessionId) ?? 0)) wrong.add(sessionId);
    last.set(sessionId, seq);
  }
  return [...wrong];
}

export const sorted = (seqs: readonly number[]) => seqs.toSorted((a, b) => a - b);
export const upTo = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
