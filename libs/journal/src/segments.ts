/**
 * The segment files of a journal that is being written: the active one, the sealed ones and the id columns. What is
 * delivered is condensed to its ids and recycled by renaming.
 */
import type { DedupeIndex } from './dedupe-index.ts';
import { type Disk, syncInPool } from './disk.ts';
import { JournalRefusal } from './errors.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';
import { writeColumn } from './id-column.ts';
import { columnName, isTemporary, segmentName } from './names.ts';
import type { Recovered, RecoveredColumn } from './recovery.ts';
import { createSpares, type SegmentLimits } from './spares.ts';

interface Sealed {
  readonly number: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Where its frames end. */
  readonly endOffset: number;
  /** Size of the file in bytes. */
  readonly size: number;
}

export interface ActiveSegment {
  readonly fd: number;
  readonly header: SegmentHeader;
  /** Size of the file in bytes. */
  readonly size: number;
  /** Where the next frame goes. */
  offset: number;
}

/** With what a segment's life begins. */
export interface SegmentBegin {
  readonly firstFrame: number;
  readonly firstSeq: number;
  readonly timeMs: number;
}

export interface Segments {
  active(): ActiveSegment;
  /** Bytes that still fit into the active segment, or into the one that is about to take its place. */
  room(): number;
  spares(): number;
  /** Seals the active segment and begins a spare one: its header is synced, and its name, before this returns. */
  roll(begin: SegmentBegin): void;
  /** The same without holding the event loop while the disk works. */
  rollInPool(begin: SegmentBegin): Promise<void>;
  /** Makes spares until there are enough or no more may be made. Never rejects. */
  prepare(): Promise<void>;
  /** Looks at the free space again; called every second. */
  checkDisk(): void;
  /** Why nothing may be appended at all: less than the reserve is free. */
  lowDisk(): string | undefined;
  /** Why there is no spare segment; undefined while one is being made. */
  noSpare(): string | undefined;
  /**
   * Condenses and recycles, in the background, the sealed segments whose events every sink has. When it rejects, the
   * segments that are left stay as they are, until it is called again.
   */
  release(releasedSeq: number): Promise<void>;
  /** Removes the id columns of which nothing is in the index any more: too old, or pushed out. */
  dropColumns(beforeMs: number): void;
  /** Bytes of frames after `releasedSeq`. */
  pendingBytes(releasedSeq: number, lastSeq: number): number;
  /** Segment files, spares among them. */
  count(): number;
  /** Ends the background work and closes the active file. */
  close(): Promise<void>;
}

const ZEROS_BYTES = 1 << 20;

export interface SegmentDeps {
  readonly disk: Disk;
  readonly folder: string;
  readonly limits: SegmentLimits;
  readonly journal: string;
  readonly secretCheck: bigint;
  readonly index: DedupeIndex;
  readonly newSalt: () => bigint;
}

/**
 * Opens what `recover` found, or a new journal (from sequence number 1) when it found nothing. Throws `JournalRefusal`
 * (`no_space`) when the disk cannot hold the first segment.
 */
export function openSegments(deps: SegmentDeps, recovered: Recovered | undefined, nowMs: number): Segments {
  const { disk, folder, limits, journal, secretCheck, index, newSalt } = deps;
  const pathOf = (segment: number): string => `${folder}/${segmentName(segment)}`;
  for (const name of disk.list(folder)) if (isTemporary(name)) disk.remove(`${folder}/${name}`);
  const sealed: Sealed[] = [];
  const columns: RecoveredColumn[] = [...(recovered?.columns ?? [])];
  const spares = createSpares({ disk, folder, limits, usedBytes }, recovered?.spares ?? []);
  let releasing: Promise<void> | undefined;
  let releaseTarget = 0;
  let closed = false;
  /** Has its header, and not yet its name. */
  let next: ActiveSegment | undefined;
  let active = recovered === undefined ? createFirst() : reopen(recovered);

  function reopen({ segments, condensed, expired }: Recovered): ActiveSegment {
    for (const segment of segments.slice(0, -1)) sealed.push({ ...segment, size: disk.size(pathOf(segment.number)) });
    const recycled = condensed.map((number) => spares.reclaim(pathOf(number), disk.size(pathOf(number))));
    for (const number of expired) disk.remove(`${folder}/${columnName(number)}`);
    const last = segments.at(-1);
    if (last === undefined) throw new Error('a journal that is written has a segment');
    // The former process may have died between giving the last segment its name and syncing it.
    disk.syncFolder(folder);
    for (const spare of recycled) if (spare !== undefined) spares.keep(spare);
    const path = pathOf(last.number);
    return { fd: disk.open(path, 'write'), header: last.header, size: disk.size(path), offset: last.endOffset };
  }

  /** The very first segment is the only one that is not made in the background. */
  function createFirst(): ActiveSegment {
    const path = `${folder}/first.part`;
    const fd = disk.open(path, 'create');
    try {
      const zeros = new Uint8Array(ZEROS_BYTES);
      for (let at = 0; at < limits.segmentBytes; at += zeros.byteLength)
        disk.write(fd, zeros.subarray(0, Math.min(zeros.byteLength, limits.segmentBytes - at)), at);
    } catch (error) {
      disk.close(fd);
      disk.remove(path);
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      const needed = `the journal's first segment needs ${limits.segmentBytes} bytes`;
      throw new JournalRefusal(
        'no_space',
        path,
        undefined,
        `The disk of ${folder} is full: ${needed}. Free some space.`,
      );
    }
    const first = writeHeader(fd, 1, { firstFrame: 1, firstSeq: 1, timeMs: nowMs });
    disk.sync(fd);
    disk.rename(path, pathOf(1));
    disk.syncFolder(folder);
    return first;
  }

  function writeHeader(fd: number, segment: number, begin: SegmentBegin): ActiveSegment {
    const header: SegmentHeader = { journal, secretCheck, salt: newSalt(), segment, ...begin };
    disk.write(fd, encodeSegmentHeader(header), 0);
    return { fd, header, size: limits.segmentBytes, offset: SEGMENT_HEADER_BYTES };
  }

  function beginSpare(begin: SegmentBegin): { readonly taken: ActiveSegment; readonly spare: string } {
    const spare = spares.take();
    if (spare === undefined) throw new Error('no spare segment: room is asked for before every append');
    const taken = writeHeader(disk.open(spare, 'write'), active.header.segment + 1, begin);
    next = taken;
    return { taken, spare };
  }

  /** Header and name are durable before this returns, so that no frame can stand in a segment without them. */
  function roll(begin: SegmentBegin): void {
    const { taken, spare } = beginSpare(begin);
    disk.sync(taken.fd);
    disk.rename(spare, pathOf(taken.header.segment));
    disk.syncFolder(folder);
    seal(taken);
  }

  async function rollInPool(begin: SegmentBegin): Promise<void> {
    const { taken, spare } = beginSpare(begin);
    await syncInPool(disk, taken.fd);
    disk.rename(spare, pathOf(taken.header.segment));
    await disk.syncFolderAsync(folder);
    seal(taken);
  }

  function seal(taken: ActiveSegment): void {
    const { header, offset, size, fd } = active;
    const lastSeq = taken.header.firstSeq - 1;
    sealed.push({ number: header.segment, firstSeq: header.firstSeq, lastSeq, endOffset: offset, size });
    active = taken;
    next = undefined;
    disk.close(fd);
    // A whole segment's time to make the next one.
    void spares.prepare();
  }

  function usedBytes(): number {
    return sealed.reduce((sum, one) => sum + one.size, active.size + (next?.size ?? 0));
  }

  function release(releasedSeq: number): Promise<void> {
    releaseTarget = Math.max(releaseTarget, releasedSeq);
    releasing ??= releaseAll().finally(() => {
      releasing = undefined;
    });
    return releasing;
  }

  async function releaseAll(): Promise<void> {
    for (;;) {
      const first = sealed[0];
      if (first === undefined || first.lastSeq > releaseTarget || closed) break;
      await condense(first);
      try {
        await recycle(first);
      } finally {
        sealed.shift();
      }
    }
    void spares.prepare();
  }

  /** Leaves the ids that are still in the index; from then on the segment itself is not needed. */
  async function condense(segment: Sealed): Promise<void> {
    // Before this segment leaves less than all of its ids, nothing may stand in front of them: that would be a gap.
    if (dropWhile((column) => column.lastSeq < index.baseSeq())) await disk.syncFolderAsync(folder);
    const firstSeq = Math.max(segment.firstSeq, index.baseSeq());
    if (firstSeq > segment.lastSeq) return;
    const marks = index.marks(firstSeq, segment.lastSeq + 1);
    const ids = index.copyIds(firstSeq, segment.lastSeq + 1);
    await writeColumn(disk, folder, columnName(segment.number), {
      journal,
      segment: segment.number,
      firstSeq,
      ids,
      marks,
    });
    columns.push({ segment: segment.number, firstSeq, lastSeq: segment.lastSeq, lastMs: marks.at(-1)?.timeMs ?? 0 });
  }

  /**
   * The new name is durable before the file gets another life: else a power cut could bring back the old name with
   * the new header under it.
   */
  async function recycle({ number, size }: Sealed): Promise<void> {
    const spare = spares.reclaim(pathOf(number), size);
    await disk.syncFolderAsync(folder);
    if (spare !== undefined) spares.keep(spare);
  }

  function dropColumns(beforeMs: number): void {
    dropWhile((column) => column.lastMs < beforeMs || column.lastSeq < index.baseSeq());
  }

  /** Oldest first, so that what stays has no gap. */
  function dropWhile(isGone: (column: RecoveredColumn) => boolean): boolean {
    const before = columns.length;
    for (let first = columns[0]; first !== undefined && isGone(first); first = columns[0]) {
      disk.remove(`${folder}/${columnName(first.segment)}`);
      columns.shift();
    }
    return columns.length < before;
  }

  function pendingBytes(releasedSeq: number, lastSeq: number): number {
    const open = active.offset - SEGMENT_HEADER_BYTES;
    let bytes = shareOf(open, active.header.firstSeq, lastSeq, releasedSeq);
    for (const one of sealed)
      bytes += shareOf(one.endOffset - SEGMENT_HEADER_BYTES, one.firstSeq, one.lastSeq, releasedSeq);
    return bytes;
  }

  async function close(): Promise<void> {
    closed = true;
    await Promise.allSettled([releasing]);
    await spares.close();
    disk.close(active.fd);
  }

  return {
    active: () => active,
    room() {
      const { size, offset } = next ?? active;
      return size - offset;
    },
    spares: spares.count,
    roll,
    rollInPool,
    prepare: spares.prepare,
    checkDisk: spares.checkDisk,
    lowDisk: spares.lowDisk,
    noSpare: spares.noSpare,
    release,
    dropColumns,
    pendingBytes,
    count: () => sealed.length + spares.count() + (next === undefined ? 1 : 2),
    close,
  };
}

/** The part of `bytes` that belongs to events after `releasedSeq`, as if all were of one size. */
function shareOf(bytes: number, firstSeq: number, lastSeq: number, releasedSeq: number): number {
  const count = lastSeq - firstSeq + 1;
  const pending = lastSeq - Math.max(releasedSeq, firstSeq - 1);
  return count <= 0 || pending <= 0 ? 0 : Math.round((bytes * pending) / count);
}
