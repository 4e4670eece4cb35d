/**
 * A journal that nobody appends to any more: retired by the doctor, or of a worker that is no longer started. Its ids
 * still count, its events are still delivered; once both are over its folder is removed.
 */
import { dirname } from 'node:path';
import type { DedupeLimits, IdHash } from './dedupe-index.ts';
import type { Disk } from './disk.ts';
import { isTemporary, type JournalFolder, removedFolderName, segmentName } from './names.ts';
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

export interface LeftoverOptions {
  readonly disk: Disk;
  readonly limits: DedupeLimits;
  readonly log: (message: string, fields: Record<string, unknown>) => void;
}

/** Recovers the journal and makes its last frame durable. Undefined when there is nothing in it: then it is removed. */
export function openLeftover(
  { disk, limits, log }: LeftoverOptions,
  { journal, folder }: JournalFolder,
  secretCheck: bigint,
  nowMs: number,
): Leftover | undefined {
  const recovered = recover(disk, folder, secretCheck, limits, nowMs);
  const last = recovered?.segments.at(-1);
  if (recovered === undefined || last === undefined) {
    remove();
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

  function remove(): void {
    const root = dirname(folder);
    const removed = `${root}/${removedFolderName(journal)}`;
    disk.rename(folder, removed);
    disk
      .removeFolderAsync(removed)
      .catch((error: Error) =>
        log('A journal that was delivered could not be removed', { journal, reason: error.message }),
      );
  }

  function sweep(atMs: number): boolean {
    index.expire(atMs);
    if (releasedSeq < lastSeq || lastMs >= atMs - limits.windowMs) return false;
    remove();
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

/** What is left of journals whose removal was interrupted. */
export function removeRemains(disk: Disk, root: string): void {
  for (const name of disk.list(root)) if (isTemporary(name)) disk.removeFolder(`${root}/${name}`);
}
