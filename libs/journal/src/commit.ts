/**
 * Group commit: rows that arrive while a sync is under way, or in the same turn of the event loop, share one frame,
 * one write and one sync. Frame n+1 is written only after n's sync has returned.
 */
import type { DedupeIndex } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { FRAME_HEADER_BYTES, frameBytes, ID_BYTES, padTo8, sealFrame } from './format.ts';
import type { Segments } from './segments.ts';
import { createSyncModes, type SyncMode } from './sync-mode.ts';

/** Resolves to true when the frame is durable, to false when it never will be known to be. */
export type Durable = Promise<boolean>;

interface Frame {
  readonly firstSeq: number;
  readonly timeMs: number;
  readonly durable: PromiseWithResolvers<boolean>;
  /** One after another; joined, they would be copied once more. */
  readonly texts: string[];
  count: number;
  /** The frame takes no more on disk: padding may take less. */
  bytesMax: number;
}

export interface Committer {
  /** Adds rows to one frame; `text` is their JSONEachRow text, their ids are the newest in the index. */
  join(text: string, count: number, firstSeq: number, timeMs: number): Durable;
  /** Writes what has joined now: the caller knows that this turn of the event loop brings nothing more. */
  commit(): void;
  /** What this sequence number, which is not durable yet, waits for. */
  durableOf(seq: number): Durable;
  /** The time that a row joining now gets: that of the open frame, or a new one's. */
  frameTimeMs(): number;
  durableSeq(): number;
  /** Upper bound in bytes of the frames that are not written yet. */
  waitingBytes(): number;
  /** Resolves once everything that has joined so far is durable or has failed. */
  drained(): Durable;
  stats(): { readonly syncMode: SyncMode; readonly lastSyncMs: number; readonly commits: number };
}

export interface CommitDeps {
  readonly disk: Disk;
  readonly segments: Segments;
  readonly index: DedupeIndex;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  /** A frame takes no more rows when its upper bound in bytes would pass this. */
  readonly frameBytesMax: number;
  readonly onDurable: (seq: number) => void;
  /** Called once: the disk refused a write or a sync, and nobody may be told that anything more is durable. */
  readonly onFailed: (error: Error) => void;
}

/** One UTF-16 unit is at most three bytes of UTF-8. */
const UTF8_BYTES_MAX = 3;
/** Header and padding. */
const FRAME_BYTES_MIN = FRAME_HEADER_BYTES + 8;

/** Upper bound in bytes of a frame with rows of so many UTF-16 units, or of so many bytes where that is known. */
export const frameBytesBound = (textLength: number, count: number, textBytes = textLength * UTF8_BYTES_MAX): number =>
  FRAME_BYTES_MIN + textBytes + count * ID_BYTES;

export function createCommitter(deps: CommitDeps, start: { nextFrame: number; durableSeq: number }): Committer {
  const { disk, segments, index } = deps;
  const waiting: Frame[] = [];
  const modes = createSyncModes();
  let nextFrame = start.nextFrame;
  let durableSeq = start.durableSeq;
  let buffer = Buffer.allocUnsafe(1 << 20);
  let busy: Frame | undefined;
  let scheduled = false;
  let failed = false;
  let waitingBytes = 0;
  let lastSyncMs = 0;
  let commits = 0;

  function open(firstSeq: number, timeMs: number): Frame {
    const durable = Promise.withResolvers<boolean>();
    const frame: Frame = { firstSeq, timeMs, durable, texts: [], count: 0, bytesMax: FRAME_BYTES_MIN };
    waiting.push(frame);
    waitingBytes += FRAME_BYTES_MIN;
    return frame;
  }

  /** Texts are measured: with a bound of three times the truth, a disk that stalls would hold a third of what may wait. */
  function join(text: string, count: number, firstSeq: number, timeMs: number): Durable {
    const bytesMax = Buffer.byteLength(text) + count * ID_BYTES;
    const last = waiting.at(-1);
    const fits = last !== undefined && last.bytesMax + bytesMax <= deps.frameBytesMax;
    const frame = fits ? last : open(firstSeq, timeMs);
    frame.texts.push(text);
    frame.count += count;
    frame.bytesMax += bytesMax;
    waitingBytes += bytesMax;
    if (failed) frame.durable.resolve(false);
    else schedule();
    return frame.durable.promise;
  }

  /** Everything that this turn of the event loop still brings joins before the frame is written. */
  function schedule(): void {
    if (scheduled || busy !== undefined) return;
    scheduled = true;
    setImmediate(commit);
  }

  function commit(): void {
    scheduled = false;
    while (waiting.length > 0 && busy === undefined && !failed) {
      const frame = waiting.shift() as Frame;
      try {
        commitFrame(frame);
      } catch (error) {
        fail(frame, error as Error);
      }
    }
  }

  function commitFrame(frame: Frame): void {
    const payloadBytes = encode(frame);
    const length = frameBytes(payloadBytes, frame.count);
    if (length <= segments.room()) return write(frame, payloadBytes);
    const begin = { firstFrame: nextFrame, firstSeq: frame.firstSeq, timeMs: frame.timeMs };
    if (modes.current === 'inline') {
      segments.roll(begin);
      return write(frame, payloadBytes);
    }
    busy = frame;
    segments.rollInPool(begin).then(
      () => proceed(() => write(frame, payloadBytes), frame),
      (error: Error) => fail(frame, error),
    );
  }

  /** After work in the pool: the next step, then whatever has joined meanwhile. */
  function proceed(step: () => void, frame: Frame): void {
    busy = undefined;
    try {
      step();
    } catch (error) {
      return fail(frame, error as Error);
    }
    commit();
  }

  /** Puts payload and ids in place; returns the payload's length. The header waits for the segment to be known. */
  function encode(frame: Frame): number {
    if (frame.bytesMax > buffer.byteLength)
      buffer = Buffer.allocUnsafe(Math.max(frame.bytesMax, buffer.byteLength * 2));
    let payloadBytes = 0;
    for (const text of frame.texts) payloadBytes += buffer.write(text, FRAME_HEADER_BYTES + payloadBytes, 'utf8');
    const idsStart = FRAME_HEADER_BYTES + padTo8(payloadBytes);
    buffer.fill(0, FRAME_HEADER_BYTES + payloadBytes, idsStart);
    buffer.set(index.copyIds(frame.firstSeq, frame.firstSeq + frame.count), idsStart);
    return payloadBytes;
  }

  function write(frame: Frame, payloadBytes: number): void {
    const bytes = buffer.subarray(0, frameBytes(payloadBytes, frame.count));
    const active = segments.active();
    const { count, firstSeq, timeMs } = frame;
    sealFrame(bytes, { count, salt: active.header.salt, number: nextFrame, firstSeq, timeMs, payloadBytes });
    disk.write(active.fd, bytes, active.offset);
    active.offset += bytes.byteLength;
    waitingBytes -= frame.bytesMax;
    nextFrame += 1;
    sync(frame, active.fd);
  }

  function sync(frame: Frame, fd: number): void {
    const began = deps.monotonicMs();
    if (modes.current === 'inline') {
      disk.sync(fd);
      const tookMs = deps.monotonicMs() - began;
      return done(frame, tookMs, tookMs);
    }
    busy = frame;
    // Until then the event loop has other work, and would not hear of a sync that is quicker: under load every callback
    // comes late, on any disk.
    let listeningSince: number | undefined;
    setImmediate(() => {
      listeningSince = deps.monotonicMs();
    });
    disk.syncAsync(fd, (error) => {
      if (error !== null) return fail(frame, error);
      const nowMs = deps.monotonicMs();
      const waitedMs = nowMs - (listeningSince ?? nowMs);
      proceed(() => done(frame, nowMs - began, waitedMs), frame);
    });
  }

  function done(frame: Frame, tookMs: number, heldMs: number): void {
    commits += 1;
    lastSyncMs = tookMs;
    modes.measure(heldMs);
    durableSeq = frame.firstSeq + frame.count - 1;
    frame.durable.resolve(true);
    deps.onDurable(durableSeq);
  }

  /** Never tried again: the kernel may have dropped the pages. Recovery decides what stands on the disk. */
  function fail(frame: Frame, error: Error): void {
    failed = true;
    frame.durable.resolve(false);
    for (const other of waiting.splice(0)) other.durable.resolve(false);
    deps.onFailed(error);
  }

  function durableOf(seq: number): Durable {
    if (seq <= durableSeq) return Promise.resolve(true);
    if (failed) return Promise.resolve(false);
    for (const frame of waiting)
      if (seq >= frame.firstSeq && seq < frame.firstSeq + frame.count) return frame.durable.promise;
    if (busy !== undefined && seq >= busy.firstSeq && seq < busy.firstSeq + busy.count) return busy.durable.promise;
    throw new Error(`sequence number ${seq} is neither durable nor waiting`);
  }

  return {
    join,
    commit,
    durableOf,
    frameTimeMs: () => waiting.at(-1)?.timeMs ?? deps.nowMs(),
    durableSeq: () => durableSeq,
    waitingBytes: () => waitingBytes,
    drained: () => waiting.at(-1)?.durable.promise ?? busy?.durable.promise ?? Promise.resolve(!failed),
    stats: () => ({ syncMode: modes.current, lastSyncMs, commits }),
  };
}
