/** A file system of its own for a test, and a file that takes what room is left. */
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly folder: string;
  freeBytes(): number;
  /** Leaves about `bytes` free. Throws nothing when the disk is full before. */
  fillUpTo(bytes: number): void;
  makeRoom(): void;
}

const CHUNK = new Uint8Array(1 << 20);
const mounted = new Set<string>();

/** A tmpfs of that size. Undefined, with the reason, when this process may not mount one. */
export function mountSmallDisk(bytes: number): SmallDisk | { readonly refused: string } {
  if (Bun.which('mount') === null) return { refused: 'there is no mount command' };
  const folder = mkdtempSync(join(tmpdir(), 'weir-integrity-disk-'));
  const { exitCode, stderr } = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
  if (exitCode !== 0) {
    rmSync(folder, { recursive: true });
    return { refused: stderr.toString().trim() };
  }
  mounted.add(folder);
  return onFolder(folder);
}

/** Any folder, filled with a file of its own in it. */
export function onFolder(folder: string): SmallDisk {
  const filler = join(folder, 'filler');

  function freeBytes(): number {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  }

  function fillUpTo(bytes: number): void {
    const fd = openSync(filler, 'a');
    try {
      for (let left = freeBytes() - bytes; left > 0; left = freeBytes() - bytes)
        writeSync(fd, CHUNK.subarray(0, Math.min(left, CHUNK.byteLength)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(fd);
    }
  }

  return { folder, freeBytes, fillUpTo, makeRoom: () => rmSync(filler, { force: true }) };
}

/** For `afterEach`, once every process on it has ended. */
export function unmountAll(): void {
  for (const folder of mounted) {
    const { exitCode, stderr } = Bun.spawnSync(['umount', folder]);
    if (exitCode !== 0) throw new Error(`${folder} cannot be unmounted: ${stderr.toString()}`);
    rmSync(folder, { recursive: true });
  }
  mounted.clear();
}
