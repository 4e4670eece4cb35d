import { afterEach, describe, expect, test } from 'bun:test';
import type { DeliveredLevel } from '@libs/pipeline';
import fc from 'fast-check';
import { createLevels } from './levels.ts';
import { createStoredProgress, type StoredProgress } from './stored-watch.ts';

describe('levels', () => {
  test('without another sink, routed is reached with stored', () => {
    const levels = createLevels([]);
    expect(levels.advance('store', 7)).toBe(true);
    expect([levels.seq('stored'), levels.seq('routed')]).toEqual([7, 7]);
  });

  test('a sink that is not configured (any more) neither helps nor holds anything up', () => {
    const levels = createLevels(['kafka']);
    expect(levels.advance('http:gone', 100)).toBe(false);
    levels.advance('store', 5);
    levels.advance('kafka', 3);
    expect([levels.seq('stored'), levels.seq('routed')]).toEqual([5, 3]);
  });

  test('a store that is behind the other sinks holds up both levels', () => {
    const levels = createLevels(['kafka', 'http:analytics']);
    expect(levels.advance('kafka', 9)).toBe(false);
    expect(levels.advance('http:analytics', 8)).toBe(false);
    expect(levels.advance('store', 2)).toBe(true);
    expect([levels.seq('stored'), levels.seq('routed')]).toEqual([2, 2]);
  });

  test('in whatever order sinks report, also backwards: stored is the store, routed the one that is furthest behind', () => {
    const sinks = ['store', 'kafka', 'http:a', 'http:b'];
    const reports = fc.array(fc.tuple(fc.constantFrom(...sinks), fc.integer({ min: 0, max: 50 })), { maxLength: 60 });
    fc.assert(
      fc.property(reports, (all) => {
        const levels = createLevels(sinks.slice(1));
        const most = new Map(sinks.map((sink) => [sink, 0]));
        for (const [sink, seq] of all) {
          const before = [levels.seq('stored'), levels.seq('routed')];
          const hasGrown = levels.advance(sink, seq);
          most.set(sink, Math.max(seq, most.get(sink) ?? 0));
          const after = [levels.seq('stored'), levels.seq('routed')];
          expect(after).toEqual([most.get('store') ?? 0, Math.min(...most.values())]);
          expect(hasGrown).toBe(after.some((value, at) => value > (before[at] ?? 0)));
        }
      }),
    );
  });
});

describe('who waits', () => {
  let progress: StoredProgress;
  let nowMs = 0;
  let flushes = 0;
  const open = (otherSinks: readonly string[]): StoredProgress => {
    nowMs = 0;
    flushes = 0;
    progress = createStoredProgress({
      otherSinks,
      timeoutMs: 1_000,
      monotonicMs: () => nowMs,
      onWait: () => {
        flushes += 1;
      },
    });
    return progress;
  };
  afterEach(() => progress.close());

  /** `level` reached by `seq`, noted once that is over. */
  function wait(seq: number, level: DeliveredLevel, signal?: AbortSignal): { over: boolean; done: Promise<void> } {
    const waiter = { over: false, done: Promise.resolve() };
    waiter.done = progress.reached(seq, level, signal).then(() => {
      waiter.over = true;
    });
    return waiter;
  }

  test('for stored the store is enough; for routed every sink must have passed', async () => {
    open(['kafka', 'http:analytics']);
    const stored = wait(5, 'stored');
    const routed = wait(5, 'routed');
    expect(flushes).toBe(2);
    progress.advance(5);
    await stored.done;
    progress.advance(9, 'kafka');
    progress.advance(4, 'http:analytics');
    await Promise.resolve();
    expect(routed.over).toBe(false);
    expect(progress.levelOf(5, 'routed')).toBe('stored');
    expect(progress.levelOf(4, 'routed')).toBe('routed');
    progress.advance(5, 'http:analytics');
    await routed.done;
    expect(progress.levelOf(5, 'routed')).toBe('routed');
    expect(progress.levelOf(5, 'stored')).toBe('stored');
    expect(progress.levelOf(6, 'routed')).toBe('journal');
    expect(progress.waiting()).toBe(0);
  });

  test('at the time limit, on abort and at the end nobody waits any longer', async () => {
    open(['kafka']);
    const late = wait(1, 'routed');
    nowMs = 500;
    const gone = new AbortController();
    const aborted = wait(1, 'routed', gone.signal);
    const patient = wait(1, 'stored');
    gone.abort();
    await aborted.done;
    nowMs = 1_000;
    await late.done;
    expect(progress.waiting()).toBe(1);
    progress.close();
    await patient.done;
    expect(progress.levelOf(1, 'routed')).toBe('journal');
    await progress.reached(1, 'routed', undefined);
    expect(progress.waiting()).toBe(0);
  });

  test('listeners hear of every growth of a level, and of nothing else', () => {
    open(['kafka']);
    const heard: number[][] = [];
    const end = progress.onAdvance(() => heard.push([progress.seq('stored'), progress.seq('routed')]));
    progress.advance(3, 'kafka');
    progress.advance(2);
    progress.advance(2);
    progress.advance(1);
    progress.advance(4);
    progress.advance(4, 'kafka');
    end();
    progress.advance(9);
    expect(heard).toEqual([
      [2, 2],
      [4, 3],
      [4, 4],
    ]);
  });
});
