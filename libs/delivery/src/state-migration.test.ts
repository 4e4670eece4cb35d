import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { withFolder } from '../test/harness.ts';
import { openState } from './state.ts';

/** A file as version 1 wrote it, with a block on its way. */
function writeVersion1(file: string): void {
  const db = new Database(file, { create: true });
  db.run(`
    CREATE TABLE cursors (journal TEXT NOT NULL, sink TEXT NOT NULL, seq INTEGER NOT NULL CHECK (seq >= 0),
      PRIMARY KEY (journal, sink)) STRICT, WITHOUT ROWID;
    CREATE TABLE blocks (journal TEXT NOT NULL, sink TEXT NOT NULL, first_seq INTEGER NOT NULL,
      last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq), byte_length INTEGER NOT NULL, token TEXT NOT NULL,
      attempts INTEGER NOT NULL, ambiguous INTEGER NOT NULL, cut_at_ms INTEGER NOT NULL,
      PRIMARY KEY (journal, sink)) STRICT, WITHOUT ROWID;
    CREATE TABLE sinks (sink TEXT NOT NULL PRIMARY KEY, rows INTEGER NOT NULL, blocks INTEGER NOT NULL,
      retries INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE counters (span_minutes INTEGER NOT NULL, start_minute INTEGER NOT NULL, journal TEXT NOT NULL,
      store_id TEXT NOT NULL, event_type TEXT NOT NULL, count INTEGER NOT NULL CHECK (count > 0),
      PRIMARY KEY (span_minutes, start_minute, journal, store_id, event_type)) STRICT, WITHOUT ROWID;
    INSERT INTO cursors VALUES ('j', 'store', 10), ('j', 'other', 4);
    INSERT INTO blocks VALUES ('j', 'store', 11, 13, 30, 'j:11-13:aa', 2, 1, 1700000000000);
    INSERT INTO sinks VALUES ('store', 10, 2, 1);
    INSERT INTO counters VALUES (1, 5, 'j', 's', 't', 10);
    PRAGMA application_id = 1464158546;
    PRAGMA user_version = 1;
  `);
  db.close();
}

test('a state of version 1 opens, keeps everything and goes on', () =>
  withFolder((folder) => {
    const file = join(folder, 'state.sqlite');
    writeVersion1(file);
    const state = openState(file);
    expect(state.findCursor('j', 'store')).toEqual({
      journal: 'j',
      sink: 'store',
      seq: 10,
      frameSeq: 10,
      doubtSeq: 0,
      sinceMs: 0,
    });
    expect(state.findBlock('j', 'store')).toMatchObject({ firstSeq: 11, lastSeq: 13, frameSeq: 13, attempts: 2 });
    expect(state.knownSinks()).toEqual([
      { sink: 'other', sinceMs: 0 },
      { sink: 'store', sinceMs: 0 },
    ]);
    const block = { journal: 'j', sink: 'store', firstSeq: 11, lastSeq: 13, byteLength: 30, token: 'j:11-13:aa' };
    state.finishBlock(block, [{ minute: 5, storeId: 's', eventType: 't', count: 3 }], 0);
    expect(state.sinkTotals('store')).toEqual({ rows: 13, blocks: 3, retries: 1, deadLettered: 0, replayed: 0 });
    expect(state.countedTotal()).toBe(13);
    expect(state.deadLetters.list({ limit: 1 })).toEqual([]);
    state.close();
    openState(file).close();
  }));
