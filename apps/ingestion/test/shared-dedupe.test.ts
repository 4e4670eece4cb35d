/** Two processes' accept, each with its own journal on the disk, around one real Redis. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDisk, type Journal, openJournal } from '@libs/journal';
import { createEventModel, DEFAULT_EVENT_LIMITS } from '@libs/models';
import { createLogger } from '@libs/monitoring';
import type { Accept, AckLevel } from '@libs/pipeline';
import { lacks, type Redis, startRedis } from '@libs/services';
import { createAccept } from '../src/accept.ts';
import { createSharedDedupe, type SharedDedupe } from '../src/shared-dedupe.ts';
import { createStoredProgress, type StoredProgress } from '../src/stored-watch.ts';
import { validEvent } from './valid-event.ts';

const MODEL = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
const SEGMENT_BYTES = 64 * 1024;
const LIMITS = { segmentBytes: SEGMENT_BYTES, bytesMax: 1 << 26, diskReserveBytes: 0, idsMax: 1_000_000 };
const WINDOW_MS = 3_600_000;
const LONG_CLAIM_MS = 600_000;
const BATCH_EVENTS = 50;
const PATIENCE_MS = 20_000;

interface Process {
  readonly dataFolder: string;
  readonly journal: Journal;
  readonly shared: SharedDedupe;
  readonly stored: StoredProgress;
  /** The kinds of the outcomes. */
  send(eventIds: readonly string[], ack?: AckLevel): Promise<string[]>;
  /** An orderly end. */
  stop(): Promise<void>;
  /** As after SIGKILL: the journal's files stay as they are, and nothing leaves any more. */
  die(): Promise<void>;
}

interface ProcessOptions {
  readonly dataFolder?: string;
  readonly worker?: number;
  readonly workers?: number;
  readonly claimMs?: number;
  readonly windowMs?: number;
  /** Nothing is ever confirmed by accept itself, as if every process died just before. */
  readonly unconfirmed?: boolean;
  readonly started?: boolean;
}

describe.skipIf(lacks({ start: ['redis'] }))('the window that processes share', () => {
  const folders: string[] = [];
  const running = new Set<Process>();
  let redis: Redis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());
  afterEach(async () => {
    for (const one of running) await one.die();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    await redis.restartEmpty();
  });

  async function start(options: ProcessOptions = {}): Promise<Process> {
    const { worker = 0, workers = 1, windowMs = WINDOW_MS } = options;
    const dataFolder = options.dataFolder ?? mkdtempSync(join(tmpdir(), 'weir-shared-'));
    folders.push(dataFolder);
    const disk = createDisk();
    let shared: SharedDedupe | undefined;
    const journal = openJournal({
      disk,
      dataFolder,
      worker,
      workers,
      limits: { ...LIMITS, windowMs },
      log: () => undefined,
      settledSeq: () => shared?.settledSeq() ?? 0,
      onDurable: () => undefined,
      onFailed: () => undefined,
    });
    shared = createSharedDedupe({
      url: redis.url,
      timeoutMs: 5_000,
      windowMs,
      claimMs: options.claimMs ?? LONG_CLAIM_MS,
      claimKeysMax: 1_000,
      disk,
      dataFolder,
      journal,
      logger: createLogger({ level: 'fatal', name: 'test' }),
    });
    if (options.started !== false) await shared.start();
    const stored = createStoredProgress({
      timeoutMs: PATIENCE_MS,
      monotonicMs: performance.now,
      onWait: () => undefined,
    });
    const claims = options.unconfirmed === true ? { ...shared.claims, confirm: () => undefined } : shared.claims;
    const accept = createAccept({ model: MODEL, journal, stored, wallMs: Date.now, claims });
    return remember({ dataFolder, journal, shared, stored, accept });
  }

  function remember({ accept, ...parts }: Omit<Process, 'send' | 'stop' | 'die'> & { accept: Accept }): Process {
    const end = async (signal: AbortSignal): Promise<void> => {
      running.delete(process);
      parts.stored.close();
      await parts.journal.close();
      await parts.shared.stop(signal);
    };
    const process: Process = {
      ...parts,
      send: async (eventIds, ack = 'journal') => (await accept(eventIds.map(event), { ack })).map(({ kind }) => kind),
      stop: () => end(AbortSignal.timeout(PATIENCE_MS)),
      die: () => end(AbortSignal.abort(new Error('killed'))),
    };
    running.add(process);
    return process;
  }

  /** Fills so many segments beyond the one that is open; resolves to the ids of every one. */
  async function fillSegments({ journal, dataFolder, send }: Process, count: number): Promise<string[][]> {
    const [folder = ''] = readdirSync(join(dataFolder, 'journals')).filter((name) => name.includes(journal.id));
    const segments = () =>
      readdirSync(join(dataFolder, 'journals', folder)).filter((name) => /\d\.segment$/.test(name));
    const filled: string[][] = [[]];
    let sent = 0;
    while (filled.length <= count) {
      const ids = Array.from({ length: BATCH_EVENTS }, () => `${journal.id}-${sent++}`);
      const before = segments().length;
      const kinds = await send(ids);
      const taken = ids.filter((_, at) => kinds[at] === 'accepted');
      if (segments().length > before) filled.push([]);
      filled.at(-1)?.push(...taken);
      // The next segment is made in the background.
      if (taken.length < ids.length) await Bun.sleep(1);
    }
    return filled;
  }

  /** What an id is to another process that asks again until it is told. */
  async function kindAt(other: Process, eventId: string): Promise<string> {
    let kind: string | undefined;
    await eventually(async () => {
      [kind] = await other.send([eventId]);
      return kind !== 'retry';
    });
    return kind ?? '';
  }

  test('a confirm leaves by itself while nothing else is sent', async () => {
    const [one, two] = [await start(), await start()];
    expect(await one.send(['a', 'b', 'a'])).toEqual(['accepted', 'accepted', 'duplicate']);
    // No other claim takes it along, and this one would be open for ten minutes.
    expect(await kindAt(two, 'a')).toBe('duplicate');
    expect(await kindAt(two, 'b')).toBe('duplicate');
    expect(two.journal.nextSeq()).toBe(1);
  });

  test('a confirm does not wait for the store', async () => {
    const [one, two] = [await start(), await start()];
    const waiting = one.send(['a'], 'stored');
    // Two connections: what is sent on the one first need not arrive first.
    await eventually(async () => one.stored.waiting() === 1);
    expect(await kindAt(two, 'a')).toBe('duplicate');
    expect(one.stored.waiting()).toBe(1);
    one.stored.advance(1);
    expect(await waiting).toEqual(['accepted']);
  });

  test('a start does not wait for a Redis that takes connections and says nothing; what it missed is told later', async () => {
    await redis.freeze();
    const one = await start();
    expect(one.shared.health().skipping).toBe('connecting');
    expect(await one.send(['a'])).toEqual(['accepted']);
    await redis.thaw();
    const two = await start();
    expect(await kindAt(two, 'a')).toBe('duplicate');
  });

  test('an end sends what is still to be confirmed', async () => {
    const [one, two] = [await start(), await start()];
    const ids = Array.from({ length: 20 }, (_, at) => `event-${at}`);
    expect(new Set(await one.send(ids))).toEqual(new Set(['accepted']));
    await one.stop();
    expect(new Set(await two.send(ids))).toEqual(new Set(['duplicate']));
  });

  test('an end without Redis does not take longer than it may', async () => {
    const one = await start();
    await one.send(['a']);
    await redis.kill();
    await one.stop();
  });

  test('what a dead process had not confirmed its successor confirms: every segment, and the open one', async () => {
    const first = await start({ unconfirmed: true });
    const segments = await fillSegments(first, 3);
    await first.die();
    const [second, other] = [await start({ dataFolder: first.dataFolder }), await start()];
    expect(second.journal.id).toBe(first.journal.id);
    for (const ids of segments)
      for (const id of [ids[0], ids.at(-1)]) if (id !== undefined) expect(await kindAt(other, id)).toBe('duplicate');
    const all = segments.flat();
    await eventually(async () => new Set(await other.send(all)).size === 1);
    expect(new Set(await other.send(all))).toEqual(new Set(['duplicate']));
    expect(other.journal.nextSeq()).toBe(1);
  });

  test('what every sink has is not condensed before it is confirmed, neither at the start nor later', async () => {
    const first = await start({ unconfirmed: true });
    const segments = await fillSegments(first, 2);
    await first.die();
    const second = await start({ dataFolder: first.dataFolder, started: false });
    const release = () => second.journal.release(second.journal.id, second.journal.durableSeq());
    release();
    const held = second.journal.state().segments;
    expect(held).toBeGreaterThan(2);
    expect(hasColumn(second)).toBe(false);
    await second.shared.start();
    const other = await start();
    for (const id of segments.flat()) {
      // Whatever is condensed is confirmed already, and need not be asked for again.
      const kind = hasColumn(second) ? (await other.send([id]))[0] : await kindAt(other, id);
      expect(kind).toBe('duplicate');
    }
    // Nobody but the journal itself asks again: it does so every second.
    await eventually(() => hasColumn(second));
    expect(await second.send([segments[0]?.[0] ?? ''])).toEqual(['duplicate']);
  });

  test('without Redis what every sink has is condensed all the same', async () => {
    const one = await start();
    await fillSegments(one, 2);
    await redis.kill();
    one.journal.release(one.journal.id, one.journal.durableSeq());
    await eventually(() => hasColumn(one));
  });

  test('segments that were condensed before the start are left out, the others are confirmed', async () => {
    const first = await start({ unconfirmed: true });
    const segments = await fillSegments(first, 3);
    const half = Math.floor(segments.flat().length / 2);
    first.journal.release(first.journal.id, half);
    await eventually(() => hasColumn(first));
    await first.die();
    const [second, other] = [await start({ dataFolder: first.dataFolder }), await start()];
    for (const id of segments.flat().slice(half)) expect(await kindAt(other, id)).toBe('duplicate');
    // Its own process still knows the others.
    expect(await second.send([segments[0]?.[0] ?? ''])).toEqual(['duplicate']);
  });

  test('what has left the window is not confirmed again', async () => {
    const first = await start({ unconfirmed: true });
    await first.send(['old']);
    await first.die();
    await redis.restartEmpty();
    const windowMs = 1_000;
    await Bun.sleep(windowMs + 100);
    await start({ dataFolder: first.dataFolder, windowMs });
    const other = await start();
    expect(await kindAt(other, 'old')).toBe('accepted');
  });

  test('a journal whose worker is no longer started is confirmed by the first worker', async () => {
    const one = await start({ workers: 2, unconfirmed: true });
    const gone = await start({ dataFolder: one.dataFolder, worker: 1, workers: 2, unconfirmed: true });
    expect(await gone.send(['a', 'b'])).toEqual(['accepted', 'accepted']);
    for (const process of [gone, one]) await process.die();
    const next = await start({ dataFolder: one.dataFolder });
    expect(await next.send(['a'])).toEqual(['duplicate']);
    const other = await start();
    expect(await kindAt(other, 'b')).toBe('duplicate');
  });

  test('a claim whose process died before the write is taken over by its journal’s next process, and by others once it ends', async () => {
    const claimMs = 4_000;
    const [first, other] = [await start({ claimMs }), await start()];
    for (const key of ['a', 'b'])
      expect(await first.shared.claims.claim([`store-1\0${key}`])).toEqual([{ kind: 'claimed' }]);
    expect(await other.send(['a', 'b'])).toEqual(['retry', 'retry']);
    await first.die();
    const second = await start({ dataFolder: first.dataFolder, claimMs });
    expect(await second.send(['a'])).toEqual(['accepted']);
    expect(await kindAt(other, 'b')).toBe('accepted');
    expect(await kindAt(other, 'a')).toBe('duplicate');
  });
});

/** At least one segment is condensed. */
function hasColumn({ dataFolder }: Process): boolean {
  const names = readdirSync(join(dataFolder, 'journals'), { recursive: true, encoding: 'utf8' });
  return names.some((name) => name.endsWith('.ids'));
}

function event(eventId: string): Record<string, unknown> {
  return validEvent(eventId, { data: { note: 'x'.repeat(200) } });
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) expect.unreachable('the condition never held');
    await Bun.sleep(10);
  }
}
