/** The machine's own disk. */
import { afterAll, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDisk, syncInPool } from './disk.ts';

const folder = mkdtempSync(join(tmpdir(), 'weir-disk-'));
afterAll(() => rmSync(folder, { recursive: true }));
const disk = createDisk();

test('reads and writes at positions, beyond the end too, and says how much there was', async () => {
  const path = join(folder, 'file');
  const fd = disk.open(path, 'create');
  disk.write(fd, Buffer.from('hello'), 10);
  await disk.writeAsync(fd, Buffer.from('world'), 15);
  disk.sync(fd);
  await syncInPool(disk, fd);
  const bytes = new Uint8Array(32);
  expect(disk.read(fd, bytes, 2, 30, 8)).toBe(12);
  expect(Buffer.from(bytes.subarray(2, 14)).toString()).toBe('\0\0helloworld');
  expect(disk.read(fd, bytes, 0, 10, 20)).toBe(0);
  disk.close(fd);
  expect(disk.size(path)).toBe(20);
});

test('create wants no file, read and write want one; each failure carries its code', () => {
  const path = join(folder, 'twice');
  disk.close(disk.open(path, 'create'));
  const codeOf = (work: () => unknown): string | undefined => {
    try {
      work();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
    return undefined;
  };
  expect(codeOf(() => disk.open(path, 'create'))).toBe('EEXIST');
  expect(codeOf(() => disk.open(join(folder, 'none'), 'read'))).toBe('ENOENT');
  expect(codeOf(() => disk.open(join(folder, 'none'), 'write'))).toBe('ENOENT');
  const fd = disk.open(path, 'read');
  expect(codeOf(() => disk.write(fd, new Uint8Array(1), 0))).toBe('EBADF');
  disk.close(fd);
  expect(codeOf(() => disk.sync(fd))).toBe('EBADF');
});

test('a sync or a write that fails in the thread pool rejects', async () => {
  const fd = disk.open(join(folder, 'closed'), 'create');
  disk.close(fd);
  expect(await syncInPool(disk, fd).catch((error: NodeJS.ErrnoException) => error.code)).toBe('EBADF');
  expect(await disk.writeAsync(fd, new Uint8Array(1), 0).catch((error: NodeJS.ErrnoException) => error.code)).toBe(
    'EBADF',
  );
});

test('makes folders for the owner alone, renames, lists and removes', async () => {
  const deep = join(folder, 'a', 'b');
  disk.makeFolder(deep);
  disk.makeFolder(deep);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
  disk.close(disk.open(join(deep, 'one'), 'create'));
  expect(statSync(join(deep, 'one')).mode & 0o777).toBe(0o600);
  disk.rename(join(deep, 'one'), join(deep, 'two'));
  disk.syncFolder(deep);
  await disk.syncFolderAsync(deep);
  expect(disk.list(deep)).toEqual(['two']);
  expect([disk.exists(join(deep, 'one')), disk.exists(join(deep, 'two'))]).toEqual([false, true]);
  disk.remove(join(deep, 'two'));
  expect(readdirSync(deep)).toEqual([]);
  disk.removeFolder(deep);
  await disk.removeFolderAsync(join(folder, 'a'));
  expect(existsSync(join(folder, 'a'))).toBe(false);
  expect(disk.freeBytes(folder)).toBeGreaterThan(0);
});
