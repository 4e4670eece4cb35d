import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withFolder } from '../test/harness.ts';
import { openState } from './state.ts';
import { openStateDatabase, readPragma, StateError } from './state-database.ts';

const BLOCK = { journal: 'j', sink: 'store', firstSeq: 1, lastSeq: 3, byteLength: 30, token: 'j:1-3:aa' };
const COUNTS = [{ minute: 5, storeId: 's', eventType: 't', count: 3 }];

test('the settings that make a commit durable are in force', () =>
  withFolder((folder) => {
    const db = openStateDatabase(join(folder, 'state.sqlite'));
    expect(db.query('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(db.query('PRAGMA locking_mode').get()).toEqual({ locking_mode: 'exclusive' });
    // 2 is FULL: the WAL is synced at every commit.
    expect(readPragma(db, 'synchronous')).toBe(2);
    expect(readPragma(db, 'fullfsync')).toBe(1);
    db.close();
  }));

test('a block goes from cut to finished, and everything is there after a reopen', () =>
  withFolder((folder) => {
    const file = join(folder, 'state.sqlite');
    let state = openState(file);
    const reopen = (): void => {
      state.close();
      state = openState(file);
    };
    state.createCursor({ journal: 'j', sink: 'store', seq: 0 });
    state.cutBlock(BLOCK);
    reopen();
    expect(state.findBlock('j', 'store')).toMatchObject({ ...BLOCK, attempts: 1, ambiguous: true });
    expect(Math.abs((state.findBlock('j', 'store')?.cutAtMs as number) - Date.now())).toBeLessThan(600_000);
    state.markUnsent('j', 'store');
    reopen();
    expect(state.findBlock('j', 'store')).toMatchObject({ attempts: 1, ambiguous: false });
    state.countAttempt('j', 'store');
    reopen();
    expect(state.findBlock('j', 'store')).toMatchObject({ attempts: 2, ambiguous: true });
    state.finishBlock(BLOCK, COUNTS, 4);
    reopen();
    expect(state.findBlock('j', 'store')).toBeUndefined();
    expect(state.cursors()).toEqual([{ journal: 'j', sink: 'store', seq: 3 }]);
    expect(state.sinkTotals('store')).toMatchObject({ rows: 3, blocks: 1, retries: 4 });
    expect(state.sinkTotals('other')).toMatchObject({ rows: 0, blocks: 0, retries: 0 });
    expect(state.countedTotal()).toBe(3);
    state.close();
  }));

test('what does not fit changes nothing', () =>
  withFolder((folder) => {
    const state = openState(join(folder, 'state.sqlite'));
    expect(() => state.cutBlock(BLOCK)).toThrow('cursor');
    state.createCursor({ journal: 'j', sink: 'store', seq: 0 });
    expect(() => state.createCursor({ journal: 'j', sink: 'store', seq: 9 })).toThrow('UNIQUE');
    expect(() => state.cutBlock({ ...BLOCK, firstSeq: 2 })).toThrow('cursor');
    expect(() => state.countAttempt('j', 'store')).toThrow('no cut block');
    expect(() => state.markUnsent('j', 'store')).toThrow('no cut block');
    state.cutBlock(BLOCK);
    expect(() => state.cutBlock(BLOCK)).toThrow('UNIQUE');
    expect(() => state.finishBlock({ ...BLOCK, token: 'j:1-3:bb' }, COUNTS, 0)).toThrow('no cut block');
    expect(() => state.finishBlock({ ...BLOCK, lastSeq: 2 }, COUNTS, 0)).toThrow('no cut block');
    const impossible = [...COUNTS, { minute: 5, storeId: 's', eventType: 'u', count: 0 }];
    expect(() => state.finishBlock(BLOCK, impossible, 0)).toThrow('CHECK');
    expect(state.cursors()).toEqual([{ journal: 'j', sink: 'store', seq: 0 }]);
    expect(state.findBlock('j', 'store')?.token).toBe(BLOCK.token);
    expect(state.countedTotal()).toBe(0);
    expect(state.sinkTotals('store').blocks).toBe(0);
    state.close();
  }));

function codeOf(open: () => unknown): string {
  try {
    open();
  } catch (error) {
    if (error instanceof StateError) return error.code;
    throw error;
  }
  return 'opened';
}

test('a file that cannot be used is refused with a code, and left as it is', () =>
  withFolder((folder) => {
    const file = join(folder, 'state.sqlite');
    const first = openState(file);
    expect(codeOf(() => openState(file))).toBe('state_locked');
    first.close();

    const newer = new Database(file);
    newer.run('PRAGMA user_version = 99');
    newer.close();
    expect(codeOf(() => openState(file))).toBe('state_newer');
    const still = new Database(file);
    expect(readPragma(still, 'user_version')).toBe(99);
    still.close();

    const foreign = join(folder, 'foreign.sqlite');
    const other = new Database(foreign, { create: true });
    other.run('CREATE TABLE notes (text TEXT)');
    other.close();
    expect(codeOf(() => openState(foreign))).toBe('state_foreign');

    const noise = join(folder, 'noise.sqlite');
    writeFileSync(noise, 'this is no database, and long enough to be read as a header of one: '.repeat(20));
    expect(codeOf(() => openState(noise))).toBe('state_damaged');
    expect(codeOf(() => openState(join(folder, 'missing', 'state.sqlite')))).toBe('state_unusable');
  }));
