import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rememberStore } from './store-switch.ts';

const folder = mkdtempSync(join(tmpdir(), 'weir-switch-'));
afterAll(() => rmSync(folder, { recursive: true }));

const at = (seq: number) => ({
  cursors: () => [
    { journal: 'a', sink: 'store', seq },
    { journal: 'a', sink: 'kafka', seq: 1 },
  ],
});

test('the first store has always been the one; a later one begins where the former had come to, and keeps that', () => {
  const file = join(folder, 'store.json');
  expect(rememberStore(file, 'embedded', at(5))).toEqual({ store: 'embedded', since: {} });
  expect(rememberStore(file, 'embedded', at(9))).toEqual({ store: 'embedded', since: {} });
  expect(rememberStore(file, 'http://one/weir', at(12))).toEqual({ store: 'http://one/weir', since: { a: 12 } });
  expect(rememberStore(file, 'http://one/weir', at(40))).toEqual({ store: 'http://one/weir', since: { a: 12 } });
  expect(rememberStore(file, 'embedded', at(50)).since).toEqual({ a: 50 });
});
