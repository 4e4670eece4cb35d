/**
 * A disk in memory that forgets, at a power cut, what nobody synced: for each file any part of the writes since its
 * last sync (sector by sector, so that a write can be torn), for each folder any number of the last changes of names.
 * It is a stricter disk than most: nothing is durable but what was asked for.
 */
import { basename, dirname } from 'node:path';
import type { Disk } from '../disk.ts';

const SECTOR_BYTES = 512;

interface Inode {
  /** What a power cut leaves for certain. */
  durable: Uint8Array;
  current: Uint8Array;
  pending: { readonly position: number; readonly bytes: Uint8Array }[];
}

interface Folder {
  durable: Map<string, Inode>;
  current: Map<string, Inode>;
  changes: ((names: Map<string, Inode>) => void)[];
}

export interface VolatileDisk extends Disk {
  /** Ends this disk and gives the one that the next start would find. `random` gives numbers in [0, 1). */
  powerCut(random: () => number): VolatileDisk;
  /** The same disk after a crash of the process only: nothing is lost. */
  processCrash(): VolatileDisk;
  /** Calls of `sync` and `syncAsync` so far. */
  syncs(): number;
  /** Every further sync fails with EIO (the file system's word for a disk that does not answer right). */
  failSyncs(): void;
  /** Every further `syncAsync` waits until the returned function is called. */
  holdSyncs(): () => void;
  /** What `freeBytes` answers; writes beyond it fail with ENOSPC where they make a file grow. */
  setFreeBytes(bytes: number): void;
  /** Takes the bytes of a file, for tests that flip or cut some. */
  bytesOf(path: string): Uint8Array;
}

class DiskError extends Error {
  readonly code: string;
  constructor(code: string, what: string) {
    super(`${code}: ${what}`);
    this.code = code;
  }
}

const newFolder = (): Folder => ({ durable: new Map(), current: new Map(), changes: [] });

export function createVolatileDisk(before: Map<string, Folder> = new Map([['/', newFolder()]])): VolatileDisk {
  const folders = before;
  const files = new Map<number, Inode>();
  let nextFd = 3;
  let dead = false;
  let syncs = 0;
  let failing = false;
  let held: (() => void)[] | undefined;
  let free = Number.MAX_SAFE_INTEGER;

  const alive = (): void => {
    if (dead) throw new DiskError('EIO', 'the power is off');
  };
  const folderOf = (path: string): Folder => {
    alive();
    const folder = folders.get(path);
    if (folder === undefined) throw new DiskError('ENOENT', path);
    return folder;
  };
  const inodeOf = (path: string): Inode => {
    const inode = folderOf(dirname(path)).current.get(basename(path));
    if (inode === undefined) throw new DiskError('ENOENT', path);
    return inode;
  };
  const open = (fd: number): Inode => {
    alive();
    const inode = files.get(fd);
    if (inode === undefined) throw new DiskError('EBADF', String(fd));
    return inode;
  };
  const change = (path: string, apply: (names: Map<string, Inode>) => void): void => {
    const folder = folderOf(dirname(path));
    apply(folder.current);
    folder.changes.push(apply);
  };

  function write(fd: number, bytes: Uint8Array, position: number): void {
    const inode = open(fd);
    const end = position + bytes.byteLength;
    if (end > inode.current.byteLength) {
      if (end - inode.current.byteLength > free) throw new DiskError('ENOSPC', 'no space left');
      free -= end - inode.current.byteLength;
      inode.current = grown(inode.current, end);
    }
    inode.current.set(bytes, position);
    inode.pending.push({ position, bytes: bytes.slice() });
  }

  function sync(fd: number): void {
    const inode = open(fd);
    syncs += 1;
    if (failing) {
      // As Linux does after a failed write-back: the pages count as clean, and the disk does not have them.
      inode.pending = [];
      throw new DiskError('EIO', 'sync');
    }
    inode.durable = inode.current.slice();
    inode.pending = [];
  }

  function finishSync(fd: number, done: (error: Error | null) => void): void {
    if (dead) return;
    try {
      sync(fd);
    } catch (error) {
      return done(error as Error);
    }
    done(null);
  }

  /** What the thread pool does is done in a later turn of the event loop, and never after the end. */
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => (dead ? undefined : resolve())));

  const removeFolder = (path: string): void => {
    folderOf(path);
    folders.delete(path);
  };

  const syncFolder = (path: string): void => {
    const folder = folderOf(path);
    folder.durable = new Map(folder.current);
    folder.changes = [];
  };

  return {
    open(path, mode) {
      const folder = folderOf(dirname(path));
      if (mode === 'create') {
        if (folder.current.has(basename(path))) throw new DiskError('EEXIST', path);
        const made: Inode = { durable: new Uint8Array(0), current: new Uint8Array(0), pending: [] };
        change(path, (names) => names.set(basename(path), made));
      }
      files.set(nextFd, inodeOf(path));
      return nextFd++;
    },
    close: (fd) => void files.delete(fd),
    read(fd, target, offset, length, position) {
      const bytes = open(fd).current.subarray(position, position + length);
      target.set(bytes, offset);
      return bytes.byteLength;
    },
    write,
    async writeAsync(fd, bytes, position) {
      await turn();
      write(fd, bytes, position);
    },
    sync,
    syncAsync(fd, done) {
      const finish = (): void => finishSync(fd, done);
      if (held !== undefined) held.push(finish);
      else setImmediate(finish);
    },
    syncFolder,
    async syncFolderAsync(path) {
      await turn();
      syncFolder(path);
    },
    rename(from, to) {
      const folder = folders.get(from);
      if (folder !== undefined) {
        folders.delete(from);
        folders.set(to, folder);
        return;
      }
      const inode = inodeOf(from);
      const isMove = dirname(from) !== dirname(to);
      change(to, (names) => {
        if (!isMove) names.delete(basename(from));
        names.set(basename(to), inode);
      });
      if (isMove) change(from, (names) => names.delete(basename(from)));
    },
    link(from, to) {
      const inode = inodeOf(from);
      if (folderOf(dirname(to)).current.has(basename(to))) return false;
      change(to, (names) => names.set(basename(to), inode));
      return true;
    },
    removeFolder,
    async removeFolderAsync(path) {
      await turn();
      removeFolder(path);
    },
    remove(path) {
      inodeOf(path);
      change(path, (names) => names.delete(basename(path)));
    },
    exists: (path) => folders.has(path) || (folders.get(dirname(path))?.current.has(basename(path)) ?? false),
    list: (path) => [
      ...folderOf(path).current.keys(),
      ...[...folders.keys()].filter((one) => dirname(one) === path && one !== path).map((one) => basename(one)),
    ],
    size: (path) => inodeOf(path).current.byteLength,
    makeFolder(path) {
      alive();
      if (folders.has(path)) return;
      folders.set(path, newFolder());
    },
    freeBytes: () => free,
    powerCut(random) {
      dead = true;
      return createVolatileDisk(survivors(folders, random));
    },
    processCrash() {
      dead = true;
      return createVolatileDisk(folders);
    },
    syncs: () => syncs,
    failSyncs() {
      failing = true;
    },
    holdSyncs() {
      held = [];
      return () => {
        const waiting = held ?? [];
        held = undefined;
        for (const finish of waiting) setImmediate(finish);
      };
    },
    setFreeBytes(bytes) {
      free = bytes;
    },
    bytesOf: (path) => inodeOf(path).current,
  };
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length);
  larger.set(bytes);
  return larger;
}

function survivors(folders: Map<string, Folder>, random: () => number): Map<string, Folder> {
  const kept = new Map<Inode, Inode>();
  const keep = (inode: Inode): Inode => {
    let survivor = kept.get(inode);
    if (survivor === undefined) {
      const bytes = survivingBytes(inode, random);
      survivor = { durable: bytes, current: bytes.slice(), pending: [] };
      kept.set(inode, survivor);
    }
    return survivor;
  };
  const after = new Map<string, Folder>();
  for (const [path, folder] of folders) {
    const names = new Map(folder.durable);
    const count = Math.floor(random() * (folder.changes.length + 1));
    for (const apply of folder.changes.slice(0, count)) apply(names);
    const current = new Map([...names].map(([name, inode]) => [name, keep(inode)] as const));
    after.set(path, { durable: new Map(current), current, changes: [] });
  }
  return after;
}

/** The durable bytes with, of each later write, any of its sectors. */
function survivingBytes(inode: Inode, random: () => number): Uint8Array {
  let bytes = inode.durable.slice();
  for (const { position, bytes: written } of inode.pending) {
    const all = random() < 0.3;
    for (let at = 0; at < written.byteLength; ) {
      const end = Math.min(written.byteLength, at + SECTOR_BYTES - ((position + at) % SECTOR_BYTES));
      if (all || random() < 0.5) {
        if (position + end > bytes.byteLength) bytes = grown(bytes, position + end);
        bytes.set(written.subarray(at, end), position + at);
      }
      at = end;
    }
  }
  return bytes;
}
