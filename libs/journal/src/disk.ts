/**
 * The few file operations that the journal needs, so that tests can stand between it and the disk (a power cut, a
 * failing sync, a full disk). Positions and lengths are bytes; every call throws the system's error with its code.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';

export interface Disk {
  /** `read`: must exist. `write`: must exist, opened for reading and writing. `create`: new, empty, for both. */
  open(path: string, mode: 'read' | 'write' | 'create'): number;
  close(fd: number): void;
  /** Reads up to `length` bytes at `position`; fewer only at the end of the file. Resolves to the count. */
  read(fd: number, target: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes all of `bytes` at `position`. */
  write(fd: number, bytes: Uint8Array, position: number): void;
  writeAsync(fd: number, bytes: Uint8Array, position: number): Promise<void>;
  /** fdatasync: returns when the bytes are on the disk. */
  sync(fd: number): void;
  /** The same in the thread pool. */
  syncAsync(fd: number, done: (error: Error | null) => void): void;
  /** Makes names in a folder durable: creations, renames, removals. */
  syncFolder(path: string): void;
  syncFolderAsync(path: string): Promise<void>;
  rename(from: string, to: string): void;
  /** Gives a file a second name; false when something has that name already. */
  link(from: string, to: string): boolean;
  remove(path: string): void;
  /** Removes a folder with the files in it. */
  removeFolder(path: string): void;
  /** The same in the thread pool: files of many megabytes take their time. */
  removeFolderAsync(path: string): Promise<void>;
  exists(path: string): boolean;
  list(folder: string): string[];
  size(path: string): number;
  makeFolder(path: string): void;
  freeBytes(folder: string): number;
}

/** The machine's own disk, through node:fs. */
export function createDisk(): Disk {
  return {
    open: (path, mode) => fs.openSync(path, mode === 'read' ? 'r' : mode === 'write' ? 'r+' : 'wx+', 0o600),
    close: (fd) => fs.closeSync(fd),
    read: readFully,
    write: writeFully,
    writeAsync,
    sync: (fd) => fs.fdatasyncSync(fd),
    syncAsync: (fd, done) => fs.fdatasync(fd, done),
    syncFolder,
    syncFolderAsync,
    rename: (from, to) => fs.renameSync(from, to),
    link,
    remove: (path) => fs.unlinkSync(path),
    removeFolder: (path) => fs.rmSync(path, { recursive: true }),
    removeFolderAsync: (path) => fs.promises.rm(path, { recursive: true }),
    exists: (path) => fs.existsSync(path),
    list: (folder) => fs.readdirSync(folder),
    size: (path) => fs.statSync(path).size,
    makeFolder,
    freeBytes(folder) {
      const { bavail, bsize } = fs.statfsSync(folder);
      return bavail * bsize;
    },
  };
}

function readFully(fd: number, target: Uint8Array, offset: number, length: number, position: number): number {
  let done = 0;
  while (done < length) {
    const count = fs.readSync(fd, target, offset + done, length - done, position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) done += fs.writeSync(fd, bytes, done, bytes.byteLength - done, position + done);
}

function writeAsync(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      if (done === bytes.byteLength) return resolve();
      fs.write(fd, bytes, done, bytes.byteLength - done, position + done, (error, count) =>
        error ? reject(error) : step(done + count),
      );
    };
    step(0);
  });
}

function syncFolder(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

async function syncFolderAsync(path: string): Promise<void> {
  const folder = await fs.promises.open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function link(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Creates the folder and makes its name durable in the one above. */
function makeFolder(path: string): void {
  if (fs.existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  syncFolder(parent);
}

/** fdatasync in the thread pool, as a promise. */
export function syncInPool(disk: Disk, fd: number): Promise<void> {
  return new Promise((resolve, reject) => disk.syncAsync(fd, (error) => (error ? reject(error) : resolve())));
}
