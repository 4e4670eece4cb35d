/**
 * The segment files of a journal that is being written: the active one, the sealed ones, the preallocated spares and
 * the id columns. Files are made of zeros in the background and recycled by renaming, so that a sync on the active
 * one never waits for the file system to allocate.
 */
import type { DedupeIndex } from './dedupe-index.ts';
import { type Disk, syncInPool } from './disk.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';
import { writeColumn } from './id-column.ts';
import { columnName, isTemporary, segmentName, spareName, temporaryName } from './names.ts';
import type { Recovered, RecoveredColumn } from './recovery.ts';

export interface SegmentLimits {
  /** Size of a segment file in bytes. */
  readonly segmentBytes: number;
  /** All segment files together, in bytes: undelivered events can take no more. */
  readonly bytesMax: number;
  /** What must stay free on the disk, in bytes: the sinks need it to get rid of anything. */
  readonly diskReserveBytes: number;
}

interface Sealed {
  readonly number: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bytes: number;
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
  /** Bytes that still fit into the active segment. */
  room(): number;
  spares(): number;
  /** Seals the active segment and begins a spare one: its header is synced, and its name, before this returns. */
  roll(begin: SegmentBegin): void;
  /** The same without holding the event loop while the disk works. */
  rollInPool(begin: SegmentBegin): Promise<void>;
  /** Makes spares until there are enough or no more may be made. */
  prepare(): Promise<void>;
  /** Looks at the free space again; called every second. */
  checkDisk(): void;
  /** Why nothing may be appended at all: less than the reserve is free. */
  lowDisk(): string | undefined;
  /** Why there is no spare segment; undefined while one is being made. */
  noSpare(): string | undefined;
  /** Condenses and recycles, in the background, the sealed segments whose events every sink has. */
  release(releasedSeq: number): Promise<void>;
  /** Removes id columns of which nothing is in the window any more. */
  dropColumns(beforeMs: number): void;
  pendingBytes(releasedSeq: number, lastSeq: number): number;
  count(): number;
  /** Ends the background work and closes the active file. */
  close(): Promise<void>;
}

const SPARES_WANTED = 1;
const SPARES_MAX = 2;
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

/** Opens what `recover` found, or a new journal (from sequence number 1) when it found nothing. */
export function openSegments(deps: SegmentDeps, recovered: Recovered | undefined, nowMs: number): Segments {
  const { disk, folder, limits, journal, secretCheck, index, newSalt } = deps;
  const sealed: Sealed[] = [];
  const columns: RecoveredColumn[] = [...(recovered?.columns ?? [])];
  const spares: number[] = [];
  let nextSpare = (recovered?.spares.at(-1) ?? 0) + 1;
  let preparing: Promise<void> | undefined;
  let releasing: Promise<void> | undefined;
  let releaseTarget = 0;
  let refusal: string | undefined;
  let lowDisk: string | undefined;
  let active = start();

  function start(): ActiveSegment {
    for (const name of disk.list(folder)) if (isTemporary(name)) disk.remove(`${folder}/${name}`);
    for (const spare of recovered?.spares ?? []) {
      if (disk.size(`${folder}/${spareName(spare)}`) === limits.segmentBytes) spares.push(spare);
      else disk.remove(`${folder}/${spareName(spare)}`);
    }
    const last = recovered?.segments.at(-1);
    if (recovered === undefined || last === undefined) return createFirst();
    for (const segment of recovered.segments.slice(0, -1)) sealed.push({ ...segment, bytes: segment.endOffset });
    for (const number of recovered.condensed) recycle(number);
    for (const number of recovered.expired) disk.remove(`${folder}/${columnName(number)}`);
    const path = `${folder}/${segmentName(last.number)}`;
    return { fd: disk.open(path, 'write'), header: last.header, size: disk.size(path), offset: last.endOffset };
  }

  /** The very first segment is the only one that is not made in the background. */
  function createFirst(): ActiveSegment {
    const spare = nextSpare++;
    const fd = disk.open(`${folder}/${spareName(spare)}`, 'create');
    const zeros = new Uint8Array(ZEROS_BYTES);
    for (let at = 0; at < limits.segmentBytes; at += zeros.byteLength)
      disk.write(fd, zeros.subarray(0, Math.min(zeros.byteLength, limits.segmentBytes - at)), at);
    disk.sync(fd);
    disk.close(fd);
    spares.push(spare);
    return takeSpare(1, { firstFrame: 1, firstSeq: 1, timeMs: nowMs });
  }

  function writeHeader(segment: number, begin: SegmentBegin): ActiveSegment & { readonly spare: string } {
    const number = spares.shift();
    if (number === undefined) throw new Error('no spare segment: room is asked for before every append');
    const header: SegmentHeader = { journal, secretCheck, salt: newSalt(), segment, ...begin };
    const spare = `${folder}/${spareName(number)}`;
    const fd = disk.open(spare, 'write');
    disk.write(fd, encodeSegmentHeader(header), 0);
    return { fd, header, size: limits.segmentBytes, offset: SEGMENT_HEADER_BYTES, spare };
  }

  /** Header and name are durable before this returns, so that no frame can stand in a segment without them. */
  function takeSpare(segment: number, begin: SegmentBegin): ActiveSegment {
    const { spare, ...taken } = writeHeader(segment, begin);
    disk.sync(taken.fd);
    disk.rename(spare, `${folder}/${segmentName(segment)}`);
    disk.syncFolder(folder);
    return taken;
  }

  function roll(begin: SegmentBegin): void {
    seal(takeSpare(active.header.segment + 1, begin));
  }

  async function rollInPool(begin: SegmentBegin): Promise<void> {
    const segment = active.header.segment + 1;
    const { spare, ...taken } = writeHeader(segment, begin);
    await syncInPool(disk, taken.fd);
    disk.rename(spare, `${folder}/${segmentName(segment)}`);
    await disk.syncFolderAsync(folder);
    seal(taken);
  }

  function seal(next: ActiveSegment): void {
    const { header, offset, fd } = active;
    sealed.push({
      number: header.segment,
      firstSeq: header.firstSeq,
      lastSeq: next.header.firstSeq - 1,
      bytes: offset,
    });
    active = next;
    disk.close(fd);
    // A whole segment's time to make the next one.
    void prepare();
  }

  const fileCount = (): number => sealed.length + 1 + spares.length;

  function checkDisk(): void {
    const free = disk.freeBytes(folder);
    lowDisk =
      free < limits.diskReserveBytes
        ? `only ${free} bytes are free on the disk, and ${limits.diskReserveBytes} must stay free`
        : undefined;
  }

  /** Why one more file may not be made. */
  function limitReached(): string | undefined {
    if ((fileCount() + 1) * limits.segmentBytes > limits.bytesMax)
      return `the journal has reached its limit of ${limits.bytesMax} bytes`;
    const free = disk.freeBytes(folder);
    return free < limits.diskReserveBytes + limits.segmentBytes
      ? `only ${free} bytes are free on the disk: not enough for another segment of ${limits.segmentBytes} bytes beside the ${limits.diskReserveBytes} that must stay free`
      : undefined;
  }

  function prepare(): Promise<void> {
    preparing ??= prepareSpares().finally(() => {
      preparing = undefined;
    });
    return preparing;
  }

  async function prepareSpares(): Promise<void> {
    while (spares.length < SPARES_WANTED) {
      refusal = limitReached();
      if (refusal !== undefined) return;
      try {
        await makeSpare(nextSpare++);
      } catch (error) {
        refusal = `a new segment could not be made: ${(error as Error).message}`;
        return;
      }
    }
    refusal = undefined;
  }

  async function makeSpare(number: number): Promise<void> {
    const part = `${folder}/${temporaryName(spareName(number))}`;
    const fd = disk.open(part, 'create');
    let complete = false;
    try {
      const zeros = new Uint8Array(ZEROS_BYTES);
      for (let at = 0; at < limits.segmentBytes; at += zeros.byteLength)
        await disk.writeAsync(fd, zeros.subarray(0, Math.min(zeros.byteLength, limits.segmentBytes - at)), at);
      await syncInPool(disk, fd);
      complete = true;
    } finally {
      disk.close(fd);
      if (!complete) disk.remove(part);
    }
    disk.rename(part, `${folder}/${spareName(number)}`);
    spares.push(number);
  }

  function release(releasedSeq: number): Promise<void> {
    releaseTarget = Math.max(releaseTarget, releasedSeq);
    releasing ??= releaseAll().finally(() => {
      releasing = undefined;
    });
    return releasing;
  }

  async function releaseAll(): Promise<void> {
    for (let first = sealed[0]; first !== undefined && first.lastSeq <= releaseTarget; first = sealed[0]) {
      await condense(first);
      sealed.shift();
      recycle(first.number);
    }
  }

  /** Leaves the ids that are still in the window; from then on the segment itself is not needed. */
  async function condense(segment: Sealed): Promise<void> {
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
  function recycle(number: number): void {
    const from = `${folder}/${segmentName(number)}`;
    if (spares.length >= SPARES_MAX || disk.size(from) !== limits.segmentBytes) return disk.remove(from);
    const spare = nextSpare++;
    disk.rename(from, `${folder}/${spareName(spare)}`);
    disk.syncFolder(folder);
    spares.push(spare);
    refusal = undefined;
  }

  function dropColumns(beforeMs: number): void {
    while (columns[0] !== undefined && columns[0].lastMs < beforeMs)
      disk.remove(`${folder}/${columnName((columns.shift() as RecoveredColumn).segment)}`);
  }

  function pendingBytes(releasedSeq: number, lastSeq: number): number {
    let bytes = shareOf(active.offset - SEGMENT_HEADER_BYTES, active.header.firstSeq, lastSeq, releasedSeq);
    for (const segment of sealed) bytes += shareOf(segment.bytes, segment.firstSeq, segment.lastSeq, releasedSeq);
    return bytes;
  }

  async function close(): Promise<void> {
    await Promise.allSettled([preparing, releasing]);
    disk.close(active.fd);
  }

  return {
    active: () => active,
    room: () => active.size - active.offset,
    spares: () => spares.length,
    roll,
    rollInPool,
    prepare,
    checkDisk,
    lowDisk: () => lowDisk,
    noSpare: () => refusal,
    release,
    dropColumns,
    pendingBytes,
    count: fileCount,
    close,
  };
}

/** The part of `bytes` that belongs to events after `releasedSeq`, as if all were of one size. */
function shareOf(bytes: number, firstSeq: number, lastSeq: number, releasedSeq: number): number {
  const count = lastSeq - firstSeq + 1;
  const pending = lastSeq - Math.max(releasedSeq, firstSeq - 1);
  return count <= 0 || pending <= 0 ? 0 : Math.round((bytes * pending) / count);
}
