/**
 * A journal that nobody appends to any more: retired by the doctor, or of a worker that is no longer started. Its ids
 * still count, its events are still delivered; once both are over its folder is removed.
 */
import type { DedupeLimits, IdHash } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { type JournalFolder, segmentName } from './names.ts';
import { recover } from './recovery.ts';

export interface Leftover {
  readonly journal: string;
  /** True when an id stands in it, within the window. */
  has(id: IdHash): boolean;
  lastSeq(): number;
  /** Every sink has everything up to and including `seq`. */
  release(seq: number): void;
  /** Removes the folder when all is delivered and out of the window; true once it is gone. */
  sweep(nowMs: number): boolean;
}

/** Recovers the journal and makes its last frame durable. Undefined when nothing is left in it: then it is removed. */
export function openLeftover(
  disk: Disk,
  { journal, folder }: JournalFolder,
  secretCheck: bigint,
  limits: DedupeLimits,
  nowMs: number,
): Leftover | undefined {
  const recovered = recover(disk, folder, secretCheck, limits, nowMs);
  const last = recovered?.segments.at(-1);
  if (recovered === undefined || last === undefined) {
    disk.removeFolder(folder);
    return undefined;
  }
  if (recovered.lastFrame !== undefined) {
    const fd = disk.open(`${folder}/${segmentName(last.number)}`, 'write');
    disk.write(fd, recovered.lastFrame.bytes, recovered.lastFrame.offset);
    disk.sync(fd);
    disk.close(fd);
  }
  const { index, lastMs } = recovered;
  const lastSeq = recovered.nextSeq - 1;
  let releasedSeq = 0;

  function sweep(atMs: number): boolean {
    index.expire(atMs);
    if (releasedSeq < lastSeq || lastMs >= atMs - limits.windowMs) return false;
    disk.removeFolder(folder);
    return true;
  }

  return {
    journal,
    has: (id) => index.find(id) !== 0,
    lastSeq: () => lastSeq,
    release(seq) {
      releasedSeq = Math.max(releasedSeq, seq);
    },
    sweep,
  };
}
