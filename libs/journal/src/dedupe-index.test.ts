import { expect, test } from 'bun:test';
import { capacityAfter, createDedupeIndex, createIdHasher, type IdHash } from './dedupe-index.ts';

const hash = createIdHasher(Uint8Array.from({ length: 32 }, (_, at) => at + 1));

function idOf(key: string): IdHash {
  const id = new Uint32Array(4);
  hash(key, id);
  return id;
}

test('finds what was added, through every rebuild of its table, and nothing else', () => {
  const index = createDedupeIndex({ windowMs: 1_000_000, idsMax: 10_000_000 }, 1);
  const count = 60_000;
  for (let seq = 1; seq <= count; seq++) {
    const id = idOf(`key-${seq}`);
    expect(index.find(id)).toBe(0);
    index.add(id, seq, seq);
  }
  for (let seq = 1; seq <= count; seq++) expect(index.find(idOf(`key-${seq}`))).toBe(seq);
  for (let at = 0; at < 1_000; at++) expect(index.find(idOf(`other-${at}`))).toBe(0);
  expect(index.size()).toBe(count);
});

test('agrees with a plain map while ids come, expire and come again', () => {
  const windowMs = 6_400;
  const index = createDedupeIndex({ windowMs, idsMax: 1_000_000 }, 100);
  const plain = new Map<string, { seq: number; timeMs: number }>();
  let seq = 100;
  for (let timeMs = 0; timeMs < 60_000; timeMs += 5) {
    const key = `key-${(timeMs * 7919) % 9_001}`;
    index.expire(timeMs);
    const found = index.find(idOf(key));
    const known = plain.get(key);
    if (known !== undefined && timeMs - known.timeMs <= windowMs) expect(found).toBe(known.seq);
    // A generation is a 128th of the window: an id may outlive the window by that much.
    else if (known === undefined || timeMs - known.timeMs > windowMs + windowMs / 128 + 5) expect(found).toBe(0);
    if (found !== 0) continue;
    index.add(idOf(key), seq, timeMs);
    plain.set(key, { seq, timeMs });
    seq += 1;
  }
  expect(index.size()).toBeLessThan(1_400);
});

test('past the limit the oldest go first, and the effective window says so', () => {
  const index = createDedupeIndex({ windowMs: 1_000_000, idsMax: 6_400 }, 1);
  for (let seq = 1; seq <= 20_000; seq++) {
    index.add(idOf(`key-${seq}`), seq, seq);
    index.expire(seq);
    expect(index.size()).toBeLessThanOrEqual(6_400);
  }
  expect(index.find(idOf('key-20000'))).toBe(20_000);
  expect(index.find(idOf('key-13800'))).toBe(13_800);
  expect(index.find(idOf('key-13000'))).toBe(0);
  expect(index.effectiveWindowMs(20_000)).toBeLessThanOrEqual(6_400);
  expect(index.effectiveWindowMs(20_000)).toBeGreaterThan(6_200);
});

test('gives back ids and generation marks of any range', () => {
  const index = createDedupeIndex({ windowMs: 640, idsMax: 1_000_000 }, 1);
  for (let seq = 1; seq <= 10_000; seq++) index.add(idOf(`key-${seq}`), seq, Math.floor(seq / 100));
  const ids = index.copyIds(4_000, 9_000);
  expect(ids.byteLength).toBe(5_000 * 16);
  for (const seq of [4_000, 4_095, 4_096, 8_192, 8_999]) {
    const at = (seq - 4_000) * 16;
    expect(ids.slice(at, at + 16)).toEqual(new Uint8Array(Uint32Array.from(idOf(`key-${seq}`)).buffer));
  }
  const marks = index.marks(4_000, 9_000);
  expect(marks.at(-1)?.endSeq).toBe(9_000);
  for (const { endSeq, timeMs } of marks) expect(timeMs).toBeGreaterThanOrEqual(Math.floor((endSeq - 1) / 100));
});

test('sequence numbers beyond 32 bits are told apart', () => {
  const start = 2 ** 32 - 5_000;
  const index = createDedupeIndex({ windowMs: 1_000_000, idsMax: 1_000_000 }, start);
  for (let seq = start; seq < start + 10_000; seq++) index.add(idOf(`key-${seq}`), seq, 1);
  for (let seq = start; seq < start + 10_000; seq += 13) expect(index.find(idOf(`key-${seq}`))).toBe(seq);
});

test('the two halves of a hash come from two seeds, and another secret gives another hash', () => {
  const [a, b, c, d] = idOf('store\0event');
  expect([a, b]).not.toEqual([c, d]);
  const other = new Uint32Array(4);
  createIdHasher(new Uint8Array(32).fill(4))('store\0event', other);
  expect([...other]).not.toEqual([...idOf('store\0event')]);
});

test('a table is moved before the next one is full, however few of a large one are alive', () => {
  for (const capacity of [4_096, 10_000, 1_000_000, 40_000_000])
    for (const live of [0, 1, 1_000, Math.floor(capacity / 10), Math.floor(capacity * 0.75)]) {
      const next = capacityAfter(capacity, live);
      // Inserts until the next rebuild, at 16 slots moved by each.
      expect((next * 0.75 - live) * 16).toBeGreaterThanOrEqual(capacity);
      // And no larger than memory allows: a table shrinks at each step.
      if (live < capacity / 100 && capacity > 10_000) expect(next).toBeLessThan(capacity / 5);
      expect(next).toBeLessThanOrEqual(Math.max(4_096, capacity * 1.6));
    }
});

test('finds everything that is alive while a large table shrinks', () => {
  const index = createDedupeIndex({ windowMs: 1_000, idsMax: 10_000_000 }, 1);
  let seq = 1;
  for (; seq <= 60_000; seq++) index.add(idOf(`key-${seq}`), seq, 0);
  index.expire(1_001);
  expect(index.size()).toBe(0);
  const from = seq;
  for (let timeMs = 5_000; seq < from + 120_000; seq++) {
    if (seq % 50 === 0) timeMs += 100;
    index.expire(timeMs);
    index.add(idOf(`key-${seq}`), seq, timeMs);
    if (seq % 7 === 0)
      for (const back of [0, 3, 200])
        if (seq - back >= from) expect(index.find(idOf(`key-${seq - back}`))).toBe(seq - back);
  }
  expect(index.find(idOf(`key-${from}`))).toBe(0);
  expect(index.size()).toBeLessThan(600);
});

test('ids that a frame still needs stay, whatever their age and number', () => {
  const index = createDedupeIndex({ windowMs: 640, idsMax: 1_280 }, 1);
  for (let seq = 1; seq <= 5_000; seq++) index.add(idOf(`key-${seq}`), seq, seq);
  index.expire(1_000_000, 4_001);
  expect(index.baseSeq()).toBeLessThanOrEqual(4_001);
  expect(index.baseSeq()).toBeGreaterThan(3_900);
  expect(index.copyIds(4_001, 5_001).byteLength).toBe(16_000);
  index.expire(1_000_000);
  expect(index.size()).toBe(0);
});

test('many at once are the same as one by one', () => {
  const limits = { windowMs: 1_000_000, idsMax: 25_600 };
  const [one, many] = [createDedupeIndex(limits, 7), createDedupeIndex(limits, 7)];
  let seq = 7;
  for (const [frame, count] of [1, 5_000, 0, 130, 20_000, 3, 40_000].entries()) {
    const ids = new Uint32Array(count * 4);
    for (let at = 0; at < count; at++) {
      ids.set(idOf(`key-${seq + at}`), at * 4);
      one.add(ids.subarray(at * 4, at * 4 + 4), seq + at, frame);
    }
    many.addAll(ids, seq, frame);
    seq += count;
    for (const index of [one, many]) index.expire(frame);
    many.prefetch(ids);
    expect(many.nextSeq()).toBe(one.nextSeq());
    expect(many.baseSeq()).toBe(one.baseSeq());
    expect(many.marks(many.baseSeq(), seq)).toEqual(one.marks(one.baseSeq(), seq));
    expect(many.copyIds(many.baseSeq(), seq)).toEqual(one.copyIds(one.baseSeq(), seq));
  }
  for (let at = one.baseSeq(); at < seq; at++) expect(many.find(idOf(`key-${at}`))).toBe(at);
  expect(many.find(idOf('key-7'))).toBe(0);
  expect(() => many.addAll(new Uint32Array(4), seq + 1, 9)).toThrow(`expects sequence number ${seq}, not ${seq + 1}`);
});
