import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { LaneRow } from './kafka-batches.ts';
import {
  type KafkaBatch,
  type KafkaClient,
  KafkaError,
  type KafkaErrorKind,
  type KafkaProducer,
} from './kafka-client.ts';
import { createLane, type Lane } from './kafka-lane.ts';

const PARTITIONS = 3;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const never = new AbortController().signal;

interface Fault {
  readonly kind: KafkaErrorKind;
  /** The broker has the batch all the same. */
  readonly isStored?: boolean;
}

/**
 * A broker that knows a producer's batches by their sequence numbers alone, as Kafka does: one that comes a second time is
 * acknowledged and not stored, whatever is in it; one that leaves out numbers is refused. The producer counts as kafkajs does: only
 * what was acknowledged.
 */
function fakeCluster(faults: (Fault | undefined)[] = []) {
  const logs: number[][] = Array.from({ length: PARTITIONS }, () => []);
  const batches: number[][] = [];
  const refusesMessage = new Set<number>();
  let producers = 0;
  let connectionsRefused = 0;

  function createProducer(): KafkaProducer {
    producers++;
    const broker = Array.from({ length: PARTITIONS }, () => ({ next: 0, lastFirst: -1, lastOffset: 0 }));
    const ours = new Array<number>(PARTITIONS).fill(0);

    function append(partition: number, seqs: readonly number[], first: number): number {
      const state = broker[partition];
      const log = logs[partition];
      if (state === undefined || log === undefined) throw new Error('no such partition');
      if (first === state.lastFirst && first + seqs.length === state.next) return state.lastOffset;
      if (first !== state.next) throw failure('producer');
      Object.assign(state, { next: first + seqs.length, lastFirst: first, lastOffset: log.length });
      log.push(...seqs);
      return state.lastOffset;
    }

    async function send({ partition, messages }: KafkaBatch): Promise<number> {
      const seqs = messages.map(({ value }) => Number(value.toString()));
      batches.push(seqs);
      if (seqs.some((seq) => refusesMessage.has(seq))) throw failure('refused');
      const fault = faults.shift();
      const first = ours[partition] ?? 0;
      if (fault?.isStored === true) append(partition, seqs, first);
      if (fault !== undefined) throw failure(fault.kind);
      const offset = append(partition, seqs, first);
      ours[partition] = first + seqs.length;
      return offset;
    }

    return {
      async connect() {
        if (connectionsRefused-- > 0) throw failure('unreachable');
      },
      send,
      reconnect() {},
      async close() {},
    };
  }

  const client: KafkaClient = { createProducer, findTopics: async () => new Map() };
  return {
    client,
    logs,
    batches,
    refusesMessage,
    producers: () => producers,
    refuseConnections(times: number) {
      connectionsRefused = times;
    },
  };
}

function failure(kind: KafkaErrorKind): KafkaError {
  return new KafkaError(kind, `kafka_${kind}`, `the broker says ${kind}`);
}

function lane(client: KafkaClient, batchRowsMax = 4): Lane {
  const limits = { batchRowsMax, batchBytesMax: 1_000_000 };
  return createLane({ journal: 'j', topic: 't', client, logger: QUIET, onStored() {}, ...limits });
}

function laneRow(seq: number, partition = seq % PARTITIONS): LaneRow {
  return { seq, partition, key: `${seq}`, value: Buffer.from(`${seq}`), eventId: `${seq}` };
}

const rows = (first: number, last: number, partition?: number) =>
  Array.from({ length: last - first + 1 }, (_, at) => laneRow(first + at, partition));

/** Sends until every row is stored or refused for good; `attempts` bounds it. */
async function sendAll(one: Lane, all: readonly LaneRow[], attempts = 50): Promise<number[]> {
  let left = all;
  const refused: number[] = [];
  for (let attempt = 0; left.length > 0; attempt++) {
    if (attempt === attempts) throw new Error('it never ends');
    const { failures } = await one.send(left, never);
    one.reported();
    one.clusterAnswered();
    refused.push(...failures.filter(({ permanent }) => permanent).map(({ seq }) => seq));
    const again = new Set(failures.filter(({ permanent }) => !permanent).map(({ seq }) => seq));
    left = left.filter(({ seq }) => again.has(seq));
  }
  return refused;
}

test('batches hold as many rows and bytes as they may; a larger row goes alone', async () => {
  const cluster = fakeCluster();
  const limits = { batchRowsMax: 3, batchBytesMax: 250 };
  const one = createLane({ journal: 'j', topic: 't', client: cluster.client, logger: QUIET, onStored() {}, ...limits });
  const large = { ...laneRow(7, 0), value: Buffer.from('7'.padStart(500)) };
  await one.send([...rows(1, 6, 0), large, ...rows(8, 9, 0)], never);
  expect(cluster.batches).toEqual([[1, 2, 3], [4, 5, 6], [7], [8, 9]]);
});

test('a message that is refused is found by halving, and refused alone', async () => {
  const cluster = fakeCluster();
  for (const seq of [1, 6, 16]) cluster.refusesMessage.add(seq);
  const result = await lane(cluster.client, 16).send(rows(1, 16, 0), never);
  expect(result.failures.map(({ seq, permanent }) => [seq, permanent])).toEqual([
    [1, true],
    [6, true],
    [16, true],
  ]);
  expect(result).toMatchObject({ stored: 13 });
  expect(result.error).toBeUndefined();
  expect(cluster.logs[0]).toEqual([2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
});

test('a partition that takes nothing holds back its own later rows and no others', async () => {
  const cluster = fakeCluster([{ kind: 'partition' }]);
  const one = lane(cluster.client);
  const all = [...rows(1, 8, 0), ...rows(9, 16, 1)];
  const result = await one.send(all, never);
  expect(result.failures.map(({ seq, permanent }) => [seq, permanent])).toEqual(
    rows(1, 8).map(({ seq }) => [seq, false]),
  );
  expect(cluster.logs[1]).toEqual([9, 10, 11, 12, 13, 14, 15, 16]);
  one.reported();
  await sendAll(one, rows(1, 8, 0));
  expect(cluster.logs[0]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test.each(['timeout', 'unreachable', 'unknown', 'not_authorized', 'overloaded'] as const)(
  '%s: nothing more is sent, and the same batch is sent again before anything else of its partition',
  async (kind) => {
    const cluster = fakeCluster([undefined, { kind, isStored: true }]);
    const one = lane(cluster.client);
    const result = await one.send(rows(1, 24), never);
    expect(result).toMatchObject({ stored: 4, error: { kind } });
    expect(cluster.batches).toHaveLength(2);
    one.reported();
    const left = rows(1, 24).filter(({ seq }) => result.failures.some((one) => one.seq === seq));
    await one.send(left, never);
    expect(cluster.batches.slice(2)).toContainEqual(cluster.batches[1] ?? []);
    expect(cluster.producers()).toBe(1);
    expect(cluster.logs.flat().toSorted((a, b) => a - b)).toEqual(rows(1, 24).map(({ seq }) => seq));
  },
);

test('rows that were on their way and are not asked for any more: nothing else takes their sequence numbers', async () => {
  const cluster = fakeCluster([{ kind: 'timeout', isStored: true }]);
  const one = lane(cluster.client);
  await one.send(rows(1, 4, 0), never);
  await one.send(rows(5, 8, 0), never);
  expect(cluster.logs[0]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(cluster.producers()).toBe(2);
});

test('a producer that can go on no more is replaced within the call', async () => {
  const cluster = fakeCluster([undefined, { kind: 'producer' }]);
  const result = await lane(cluster.client).send(rows(1, 12, 0), never);
  expect(result).toMatchObject({ stored: 12, failures: [] });
  expect(cluster.logs[0]).toEqual(rows(1, 12).map(({ seq }) => seq));
  expect(cluster.producers()).toBe(2);
});

test('new producers that fail the same way are not made for ever', async () => {
  const cluster = fakeCluster(Array.from({ length: 10 }, () => ({ kind: 'producer' as const })));
  const result = await lane(cluster.client).send(rows(1, 4, 0), never);
  expect(result).toMatchObject({ stored: 0, error: { kind: 'producer' } });
  expect(cluster.producers()).toBeLessThanOrEqual(4);
});

test('a producer that fails while its cluster answers is replaced; an outage alone does not cost it', async () => {
  const faults = Array.from({ length: 9 }, () => ({ kind: 'unreachable' as const }));
  const outage = fakeCluster([...faults]);
  const patient = lane(outage.client);
  for (let attempt = 0; attempt < 10; attempt++) await patient.send(rows(1, 4, 0), never);
  expect(outage.producers()).toBe(1);
  const stuck = fakeCluster([...faults]);
  await sendAll(lane(stuck.client), rows(1, 4, 0));
  expect(stuck.producers()).toBeGreaterThan(1);
});

test('a producer that cannot connect: retryable, and made anew', async () => {
  const cluster = fakeCluster();
  cluster.refuseConnections(2);
  const one = lane(cluster.client);
  expect(await one.send(rows(1, 4, 0), never)).toMatchObject({ stored: 0, error: { kind: 'unreachable' } });
  expect(await sendAll(one, rows(1, 4, 0))).toEqual([]);
  expect(cluster.producers()).toBe(3);
});

test('what was stored after the caller had given up is not sent again', async () => {
  const cluster = fakeCluster();
  const slow = cluster.client.createProducer;
  const gate = Promise.withResolvers<void>();
  const client: KafkaClient = {
    ...cluster.client,
    createProducer() {
      const producer = slow();
      const send = async (batch: KafkaBatch) => {
        await gate.promise;
        return await producer.send(batch);
      };
      return { ...producer, send };
    },
  };
  const one = lane(client);
  const givingUp = new AbortController();
  const given = one.send(rows(1, 12, 0), givingUp.signal).catch((error: unknown) => error);
  await Promise.resolve();
  givingUp.abort();
  expect(await given).toMatchObject({ code: 'aborted', ambiguous: true });
  expect(one.isBusy()).toBeTrue();
  gate.resolve();
  expect(await one.send(rows(1, 12, 0), never)).toMatchObject({ stored: 12, failures: [] });
  expect(cluster.logs[0]).toEqual(rows(1, 12).map(({ seq }) => seq));
  expect(one.isBusy()).toBeFalse();
});

test('a bug is thrown on, not taken for an error of Kafka', async () => {
  const cluster = fakeCluster();
  const client = {
    ...cluster.client,
    createProducer: () => ({
      ...cluster.client.createProducer(),
      send: () => Promise.reject(new RangeError('ours')),
    }),
  };
  const error = await lane(client)
    .send(rows(1, 4), never)
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(RangeError);
});

const fault: fc.Arbitrary<Fault | undefined> = fc.option(
  fc.record({
    kind: fc.constantFrom<KafkaErrorKind>('timeout', 'unreachable', 'partition', 'overloaded', 'producer', 'unknown'),
    isStored: fc.boolean(),
  }),
  { nil: undefined, freq: 2 },
);

describe('whatever fails, and whenever', () => {
  test('every row arrives, the first copies in order, and twice only through a new producer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { maxLength: 25 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 4 }),
        fc.integer({ min: 1, max: 7 }),
        async (faults, refused, batchRowsMax) => {
          const cluster = fakeCluster([...faults]);
          for (const seq of refused) cluster.refusesMessage.add(seq);
          const one = lane(cluster.client, batchRowsMax);
          const dead: number[] = [];
          for (const block of [rows(1, 20), rows(21, 40), rows(41, 60)]) dead.push(...(await sendAll(one, block)));

          expect(dead.toSorted((a, b) => a - b)).toEqual(refused.toSorted((a, b) => a - b));
          const firstCopies = cluster.logs.map((log) => [...new Set(log)]);
          const wanted = rows(1, 60).filter(({ seq }) => !refused.includes(seq));
          expect(firstCopies).toEqual(
            [0, 1, 2].map((at) => wanted.filter(({ partition }) => partition === at).map(({ seq }) => seq)),
          );
          if (cluster.producers() <= 1) expect(cluster.logs).toEqual(firstCopies);
        },
      ),
      { numRuns: 500 },
    );
  });
});
