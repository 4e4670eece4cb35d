/** The machine on which the figures were made. */
import { closeSync, fdatasyncSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { percentilesOf } from './samples.ts';

export interface Disk {
  readonly fileSystem: string;
  /** A write of 4 KiB into a preallocated file, and its fdatasync. */
  readonly fdatasyncP50Ms: number;
  readonly fdatasyncP99Ms: number;
}

export interface Conditions {
  readonly startedAt: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly bun: string;
  /** Mean number of runnable processes over the last minute, before the bench began. */
  readonly load1: number;
  readonly pinned: boolean;
  readonly disk: Disk;
}

const WRITE_BYTES = 4_096;
const WRITES = 300;

/** By the magic number of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  16914836: 'tmpfs',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  2035054128: 'overlay',
  801189825: 'zfs',
};

export function readConditions(folder: string, pinned: boolean): Conditions {
  return {
    startedAt: new Date().toISOString(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    bun: Bun.version,
    load1: loadavg()[0] ?? Number.NaN,
    pinned,
    disk: measureDisk(folder),
  };
}

function measureDisk(folder: string): Disk {
  const { type } = statfsSync(folder);
  const file = join(folder, `weir-bench-sync-${process.pid}`);
  const handle = openSync(file, 'w');
  try {
    const bytes = new Uint8Array(WRITE_BYTES).fill(1);
    for (let write = 0; write < WRITES; write++) writeSync(handle, bytes, 0, WRITE_BYTES, write * WRITE_BYTES);
    fsyncSync(handle);
    const tookMs = new Float64Array(WRITES);
    for (let write = 0; write < WRITES; write++) {
      const startMs = performance.now();
      writeSync(handle, bytes, 0, WRITE_BYTES, write * WRITE_BYTES);
      fdatasyncSync(handle);
      tookMs[write] = performance.now() - startMs;
    }
    const { p50Ms, p99Ms } = percentilesOf(tookMs);
    return { fileSystem: FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`, fdatasyncP50Ms: p50Ms, fdatasyncP99Ms: p99Ms };
  } finally {
    closeSync(handle);
    rmSync(file);
  }
}
