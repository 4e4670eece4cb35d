/**
 * Files of a segment's size that wait to become the next segment: made of zeros in the background, or recycled, so
 * that a sync on the active segment never waits for the file system to allocate.
 */
import { type Disk, syncInPool } from './disk.ts';
import { spareName, temporaryName } from './names.ts';

export interface SegmentLimits {
  /** Size of a segment file in bytes. */
  readonly segmentBytes: number;
  /** All segment files together, in bytes: undelivered events can take no more. */
  readonly bytesMax: number;
  /** What must stay free on the disk, in bytes: the sinks need it to get rid of anything. */
  readonly diskReserveBytes: number;
}

export interface Spares {
  count(): number;
  /** The path of one, which is no spare any more; undefined when there is none. */
  take(): string | undefined;
  /** Makes spares until there are enough or no more may be made. Never rejects. */
  prepare(): Promise<void>;
  /** Gives the file at `path` a spare's name, or removes it when there are enough. Then the folder must be synced. */
  reclaim(path: string, size: number): number | undefined;
  /** The name that `reclaim` gave is synced: the file may be taken. */
  keep(spare: number): void;
  /** Why there is none; undefined while one is being made. */
  noSpare(): string | undefined;
  /** Looks at the free space again. */
  checkDisk(): void;
  /** Why nothing may be appended at all: less than the reserve is free. */
  lowDisk(): string | undefined;
  /** Stops making files; resolves once nothing is written any more. */
  close(): Promise<void>;
}

/** Under full load a segment is used up in about three seconds, and making one may take as long on a busy disk. */
const SPARES_WANTED = 2;
const SPARES_MAX = 3;
const ZEROS_BYTES = 1 << 20;
/**
 * While there is another spare: a commit's sync on the same disk waits behind this much, and not behind a whole segment (64 MiB
 * at once held commits for 45 to 120 ms). The first one is made as fast as it goes.
 */
const SYNC_STEP_BYTES = 4 * ZEROS_BYTES;

export interface SpareDeps {
  readonly disk: Disk;
  readonly folder: string;
  readonly limits: SegmentLimits;
  /** Bytes of all segment files that are no spares. */
  readonly usedBytes: () => number;
}

/** `found` are the numbers of the spares in the folder; those of another size are removed. */
export function createSpares({ disk, folder, limits, usedBytes }: SpareDeps, found: readonly number[]): Spares {
  const { segmentBytes } = limits;
  const pathOf = (spare: number): string => `${folder}/${spareName(spare)}`;
  const numbers: number[] = [];
  let reclaimed = 0;
  let next = (found.at(-1) ?? 0) + 1;
  let preparing: Promise<void> | undefined;
  let refusal: string | undefined;
  let lowDisk: string | undefined;
  let closed = false;

  for (const spare of found) {
    if (disk.size(pathOf(spare)) === segmentBytes) numbers.push(spare);
    else disk.remove(pathOf(spare));
  }

  function checkDisk(): void {
    const free = disk.freeBytes(folder);
    lowDisk =
      free < limits.diskReserveBytes
        ? `only ${free} bytes are free on the disk, and ${limits.diskReserveBytes} must stay free`
        : undefined;
  }

  /** Why one more file may not be made. */
  function limitReached(): string | undefined {
    if (usedBytes() + (numbers.length + 1) * segmentBytes > limits.bytesMax)
      return `the journal has reached its limit of ${limits.bytesMax} bytes`;
    const free = disk.freeBytes(folder);
    return free < limits.diskReserveBytes + segmentBytes
      ? `only ${free} bytes are free on the disk: not enough for another segment of ${segmentBytes} bytes beside the ${limits.diskReserveBytes} that must stay free`
      : undefined;
  }

  function prepare(): Promise<void> {
    if (closed) return Promise.resolve();
    preparing ??= makeAll().finally(() => {
      preparing = undefined;
    });
    return preparing;
  }

  async function makeAll(): Promise<void> {
    try {
      while (numbers.length < SPARES_WANTED && !closed) {
        refusal = limitReached();
        if (refusal !== undefined) return;
        await make(next++);
      }
    } catch (error) {
      refusal = `a new segment could not be made: ${(error as Error).message}`;
    }
  }

  async function make(spare: number): Promise<void> {
    const part = temporaryName(pathOf(spare));
    const fd = disk.open(part, 'create');
    let complete = false;
    try {
      const zeros = new Uint8Array(ZEROS_BYTES);
      for (let at = 0; at < segmentBytes && !closed; at += zeros.byteLength) {
        if (at > 0 && at % SYNC_STEP_BYTES === 0 && numbers.length > 0) await syncInPool(disk, fd);
        await disk.writeAsync(fd, zeros.subarray(0, Math.min(zeros.byteLength, segmentBytes - at)), at);
      }
      if (!closed) await syncInPool(disk, fd);
      complete = !closed;
    } finally {
      disk.close(fd);
      if (!complete) disk.remove(part);
    }
    if (!complete) return;
    disk.rename(part, pathOf(spare));
    numbers.push(spare);
  }

  function reclaim(path: string, size: number): number | undefined {
    if (numbers.length + reclaimed >= SPARES_MAX || size !== segmentBytes) {
      disk.remove(path);
      return undefined;
    }
    const spare = next++;
    disk.rename(path, pathOf(spare));
    reclaimed += 1;
    return spare;
  }

  return {
    count: () => numbers.length,
    take() {
      const spare = numbers.shift();
      return spare === undefined ? undefined : pathOf(spare);
    },
    prepare,
    reclaim,
    keep(spare) {
      reclaimed -= 1;
      numbers.push(spare);
      refusal = undefined;
    },
    noSpare: () => refusal,
    checkDisk,
    lowDisk: () => lowDisk,
    async close() {
      closed = true;
      await preparing;
    },
  };
}
