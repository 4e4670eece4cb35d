import { afterEach, beforeEach, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Refusal } from './refusal.ts';
import { socketPath } from './socket-path.ts';

let root = '';
let outside: string[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'weir-socket-'));
  outside = [];
});
afterEach(() => {
  for (const folder of [root, ...outside]) rmSync(folder, { recursive: true, force: true });
});

function deepFolder(): string {
  const folder = join(root, 'd'.repeat(100));
  mkdirSync(folder);
  return folder;
}

function pathOutside(folder: string): string {
  const path = socketPath(folder, 'deliver.sock');
  outside.push(dirname(path));
  return path;
}

test('a short folder holds its sockets itself, up to the last byte that the kernel takes', () => {
  expect(socketPath(root, 'deliver.sock')).toBe(join(root, 'deliver.sock'));
  const name = 'n'.repeat(107 - Buffer.byteLength(root) - 1);
  expect(socketPath(root, name)).toBe(join(root, name));
  Bun.listen({ unix: join(root, name), socket: { data: () => undefined } }).stop(true);
  expect(() => socketPath(root, `${name}n`)).toThrow('use a shorter data folder');
});

test('a deep folder has a private one that every name of it leads to, and no other folder shares', () => {
  const folder = deepFolder();
  const link = join(root, 'l'.repeat(100));
  symlinkSync(folder, link);
  const path = pathOutside(folder);
  expect(Buffer.byteLength(path)).toBeLessThanOrEqual(107);
  expect(socketPath(link, 'deliver.sock')).toBe(path);
  expect(socketPath(join(folder, '.', '..', 'd'.repeat(100)), 'deliver.sock')).toBe(path);
  const other = join(root, 'e'.repeat(100));
  mkdirSync(other);
  expect(dirname(pathOutside(other))).not.toBe(dirname(path));
  Bun.listen({ unix: path, socket: { data: () => undefined } }).stop(true);
});

test('a private folder that others can open, or that is no folder, is refused', () => {
  const folder = deepFolder();
  const path = pathOutside(folder);
  chmodSync(dirname(path), 0o755);
  expect(() => socketPath(folder, 'deliver.sock')).toThrow(Refusal);
  rmSync(dirname(path), { recursive: true });
  symlinkSync(root, dirname(path));
  expect(() => socketPath(folder, 'deliver.sock')).toThrow('is not a private folder of this user');
  expect(() => socketPath(folder, 's'.repeat(100))).toThrow('use a shorter data folder');
});
