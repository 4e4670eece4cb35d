/** Group commit alone, on segments that only take notes. */
import { expect, test } from 'bun:test';
import { type CommitDeps, createCommitter, frameBytesBound } from './commit.ts';
import { createDedupeIndex } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { readFrameHeader } from './format.ts';
import type { ActiveSegment, Segments } from './segments.ts';

interface Note {
  readonly what: 'write' | 'sync' | 'roll';
  readonly seq?: number;
  readonly count?: number;
}

interface Bench {
  readonly committer: ReturnType<typeof createCommitter>;
  readonly notes: Note[];
  /** Bytes of the frames that were written. */
  readonly sizes: number[];
  readonly durable: number[];
  readonly failures: Error[];
  /** Appends a frame's worth of rows. */
  join(count: number, rowLength?: number): Promise<boolean>;
  /** Appends one row. */
  joinText(text: string): Promise<boolean>;
  /** Milliseconds that every further sync seems to take. */
  syncMs: number;
  /** Milliseconds for which the event loop is busy after it began a sync in the thread pool. */
  busyMs: number;
  /** What every further call of this kind throws. */
  failing: Note['what'] | undefined;
  /** In the thread pool: waits until it is called. */
  finish: (() => void) | undefined;
  timeMs: number;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function start(more: { segmentBytes?: number; frameBytesMax?: number; holding?: boolean } = {}): Bench {
  const segmentBytes = more.segmentBytes ?? 1 << 20;
  const index = createDedupeIndex({ windowMs: 3_600_000, idsMax: 1_000_000 }, 1);
  let clockMs = 0;
  const bench: Bench = {
    notes: [],
    sizes: [],
    durable: [],
    failures: [],
    syncMs: 0,
    busyMs: 0,
    failing: undefined,
    timeMs: 100,
  } as never;
  const note = (one: Note): void => {
    bench.notes.push(one);
    if (bench.failing === one.what) throw Object.assign(new Error(`EIO: ${one.what}`), { code: 'EIO' });
  };
  let active = { fd: 1, header: { salt: 5n }, size: segmentBytes, offset: 4096 } as unknown as ActiveSegment;
  const disk = {
    write(_fd: number, bytes: Uint8Array) {
      const { firstSeq, count } = readFrameHeader(bytes);
      bench.sizes.push(bytes.byteLength);
      note({ what: 'write', seq: firstSeq, count });
    },
    sync() {
      clockMs += bench.syncMs;
      note({ what: 'sync' });
    },
    syncAsync(_fd: number, done: (error: Error | null) => void) {
      clockMs += bench.busyMs;
      const finish = (): void => {
        bench.finish = undefined;
        clockMs += bench.syncMs;
        try {
          note({ what: 'sync' });
        } catch (error) {
          return done(error as Error);
        }
        done(null);
      };
      if (more.holding === true) bench.finish = finish;
      else setImmediate(finish);
    },
  } as unknown as Disk;
  const roll = (): void => {
    note({ what: 'roll' });
    active = { ...active, offset: 4096 };
  };
  const segments = {
    active: () => active,
    room: () => active.size - active.offset,
    roll,
    async rollInPool() {
      await turn();
      roll();
    },
  } as unknown as Segments;
  const deps: CommitDeps = {
    disk,
    segments,
    index,
    nowMs: () => bench.timeMs,
    monotonicMs: () => clockMs,
    frameBytesMax: more.frameBytesMax ?? segmentBytes / 4,
    onDurable: (seq) => bench.durable.push(seq),
    onFailed: (error) => bench.failures.push(error),
  };
  const committer = createCommitter(deps, { nextFrame: 1, durableSeq: 0 });
  const append = (text: string, count: number): Promise<boolean> => {
    const first = index.nextSeq();
    const id = new Uint32Array(4);
    for (let seq = first; seq < first + count; seq++) {
      id.fill(seq);
      index.add(id, seq, bench.timeMs);
    }
    return committer.join(text, count, first, committer.frameTimeMs());
  };
  const join: Bench['join'] = (count, rowLength = 10) => append('x'.repeat(rowLength * count), count);
  const joinText: Bench['joinText'] = (text) => append(text, 1);
  return Object.assign(bench, { committer, join, joinText });
}

const writes = ({ notes }: Bench): Note[] => notes.filter(({ what }) => what === 'write');

test('what joins in one turn shares a frame, a write and a sync; what joins during a sync shares the next', async () => {
  const bench = start();
  await Promise.all([bench.join(1), bench.join(2), bench.join(3)]);
  expect(bench.notes).toEqual([{ what: 'write', seq: 1, count: 6 }, { what: 'sync' }]);
  expect(bench.durable).toEqual([6]);
  expect(bench.committer.waitingBytes()).toBe(0);
  expect(bench.committer.stats().commits).toBe(1);
});

test('in the thread pool: frame n+1 is written only after the sync of n returned, and everybody knows what they wait for', async () => {
  const bench = start({ holding: true });
  bench.syncMs = 20;
  expect(await bench.join(1)).toBe(true);
  expect(bench.committer.stats().syncMode).toBe('pool');
  const [first, drainedFirst] = [bench.join(2), bench.committer.drained()];
  await turn();
  expect(writes(bench)).toHaveLength(2);
  const second = bench.join(3);
  const third = bench.join(1);
  await turn();
  await turn();
  expect(writes(bench)).toHaveLength(2);
  const waits = [2, 3, 4, 6, 7].map((seq) => bench.committer.durableOf(seq));
  expect(bench.committer.waitingBytes()).toBeGreaterThan(0);
  const drained = bench.committer.drained();
  bench.finish?.();
  expect(await first).toBe(true);
  expect(await drainedFirst).toBe(true);
  expect(bench.committer.durableSeq()).toBe(3);
  expect(writes(bench)).toHaveLength(3);
  bench.finish?.();
  const all: Promise<boolean>[] = [second, third, drained, ...waits];
  expect(await Promise.all(all)).toEqual(all.map(() => true));
  expect(bench.durable).toEqual([1, 3, 7]);
  expect(bench.committer.waitingBytes()).toBe(0);
});

test('a sequence number that was never appended is a bug, and says so', async () => {
  const bench = start();
  await bench.join(2);
  expect(await bench.committer.durableOf(2)).toBe(true);
  expect(() => bench.committer.durableOf(3)).toThrow('neither durable nor waiting');
});

for (const failing of ['write', 'sync', 'roll'] as const)
  for (const mode of ['inline', 'pool'] as const)
    test(`a ${failing} that fails (${mode}): everybody who waits hears it, once, and nothing is tried again`, async () => {
      const bench = start({ segmentBytes: 16_384, frameBytesMax: 4_096 });
      if (mode === 'pool') bench.syncMs = 20;
      expect(await bench.join(1)).toBe(true);
      expect(bench.committer.stats().syncMode).toBe(mode);
      // Eleven frames of 1,072 bytes fill the segment; the next one begins another.
      for (let at = 0; failing === 'roll' && at < 11; at++) expect(await bench.join(1, 1_000)).toBe(true);
      bench.failing = failing;
      const durableSeq = bench.committer.durableSeq();
      const waiting = [bench.join(1, 1_000), bench.join(1, 1_000), bench.join(1, 1_000), bench.join(1, 1_000)];
      const duplicate = bench.committer.durableOf(durableSeq + 1);
      expect(await Promise.all([...waiting, duplicate])).toEqual([false, false, false, false, false]);
      expect(bench.failures).toHaveLength(1);
      const notes = bench.notes.length;
      expect(await bench.join(1)).toBe(false);
      expect(await bench.committer.drained()).toBe(false);
      expect(await bench.committer.durableOf(durableSeq + 2)).toBe(false);
      expect(bench.committer.durableSeq()).toBe(durableSeq);
      await turn();
      expect(bench.notes).toHaveLength(notes);
    });

test('a slow sync moves the others to the thread pool, many fast ones bring them back', async () => {
  const bench = start();
  bench.syncMs = 0.2;
  for (let at = 0; at < 20; at++) await bench.join(1);
  expect(bench.committer.stats().syncMode).toBe('inline');
  bench.syncMs = 11;
  await bench.join(1);
  expect(bench.committer.stats()).toMatchObject({ syncMode: 'pool', lastSyncMs: 11 });
  bench.syncMs = 0.2;
  for (let at = 0; at < 300 && bench.committer.stats().syncMode === 'pool'; at++) await bench.join(1);
  expect(bench.committer.stats().syncMode).toBe('inline');
  // Also when the event loop has so much to do that it hears of each one late.
  bench.syncMs = 11;
  await bench.join(1);
  bench.syncMs = 0.2;
  bench.busyMs = 5;
  for (let at = 0; at < 300 && bench.committer.stats().syncMode === 'pool'; at++) await bench.join(1);
  expect(bench.committer.stats().syncMode).toBe('inline');
  bench.busyMs = 0;
  // And away again when none of them stands out, but all are slow.
  bench.syncMs = 3;
  for (let at = 0; at < 20; at++) await bench.join(1);
  expect(bench.committer.stats().syncMode).toBe('pool');
});

test('frames stay below their limit, keep the order, and their bound is never less than what they take', async () => {
  const bench = start({ segmentBytes: 65_536, frameBytesMax: 4_096, holding: true });
  bench.syncMs = 20;
  await bench.join(1);
  const durables: Promise<boolean>[] = [];
  let joined = 1;
  for (let at = 0; at < 80; at++) {
    const count = 1 + (at % 4);
    durables.push(bench.join(count, 100 + at));
    joined += count;
  }
  const bound = bench.committer.waitingBytes();
  const before = bench.sizes.length;
  while (bench.committer.durableSeq() < joined) {
    bench.finish?.();
    await turn();
  }
  expect(await Promise.all(durables)).toEqual(durables.map(() => true));
  // Without the first, which is durable.
  const sizes = bench.sizes.slice(before);
  expect(sizes.length).toBeGreaterThan(5);
  expect(sizes.filter((size) => size > 4_096)).toEqual([]);
  const taken = sizes.reduce((sum, size) => sum + size, 0);
  expect(bound).toBeGreaterThanOrEqual(taken);
  // Eight bytes of padding in each at most.
  expect(bound).toBeLessThanOrEqual(taken + 8 * sizes.length);
  expect(bench.durable.at(-1)).toBe(joined);
  expect([...bench.durable].sort((a, b) => a - b)).toEqual(bench.durable);
  expect(bound).toBeGreaterThan(10_000);
  expect(bench.committer.waitingBytes()).toBe(0);
});

test('a frame has the time at which it was opened, and its ids at least as early', async () => {
  const bench = start({ holding: true });
  bench.syncMs = 20;
  await bench.join(1);
  void bench.join(1);
  await turn();
  bench.timeMs = 200;
  void bench.join(1);
  bench.timeMs = 900;
  expect(bench.committer.frameTimeMs()).toBe(200);
  bench.finish?.();
  await turn();
  expect(bench.committer.frameTimeMs()).toBe(900);
});

test('the bound of a frame holds for any text, and what waits is counted as it is written', async () => {
  for (const text of ['', 'a', 'äöü', '日本語', '😀😀', '\ud800 alone']) {
    const bench = start();
    const durable = bench.joinText(text);
    const waits = bench.committer.waitingBytes();
    expect(await durable).toBe(true);
    const [written = 0] = bench.sizes;
    expect(written).toBeGreaterThanOrEqual(56 + new TextEncoder().encode(text).byteLength + 16);
    expect(waits).toBeGreaterThanOrEqual(written);
    expect(waits).toBeLessThanOrEqual(written + 8);
    expect(frameBytesBound(text.length, 1)).toBeGreaterThanOrEqual(written);
  }
});
