/**
 * What deliver remembers: how far each sink is (cursors), the block that is on its way (at most one per journal and
 * sink), each sink's totals, and how many events of which kind went by (counters). Every change is one transaction,
 * synced before the call returns.
 */
import type { Database } from 'bun:sqlite';
import { type CounterLimits, type CountRow, type CountsRange, createCounters, type MinuteCount } from './counters.ts';
import { openStateDatabase } from './state-database.ts';

export interface Cursor {
  readonly journal: string;
  readonly sink: string;
  /** The last sequence number that the sink is done with; 0: none. */
  readonly seq: number;
}

export interface CutBlock {
  readonly journal: string;
  readonly sink: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly byteLength: number;
  readonly token: string;
}

export interface RecordedBlock extends CutBlock {
  /** Sends that may have begun, from 1. */
  readonly attempts: number;
  /** False only when it is known that none of those sends stored anything. */
  readonly ambiguous: boolean;
  /** Wall clock, for people. */
  readonly cutAtMs: number;
}

export interface SinkTotals {
  readonly rows: number;
  readonly blocks: number;
  readonly retries: number;
}

export interface State {
  cursors(): readonly Cursor[];
  /** Throws when it is there already. */
  createCursor(cursor: Cursor): void;
  /** Commits the range before its first send. Throws unless it starts right behind the cursor and no other block is cut. */
  cutBlock(block: CutBlock): void;
  findBlock(journal: string, sink: string): RecordedBlock | undefined;
  /** One more send of the cut block is about to begin. */
  countAttempt(journal: string, sink: string): void;
  /** No send of the cut block stored anything: after a restart it need not be treated as ambiguous. */
  markUnsent(journal: string, sink: string): void;
  /** The block is done: cursor, counters, totals move and the block goes, all or nothing. */
  finishBlock(block: CutBlock, counts: readonly MinuteCount[], retries: number): void;
  /**
   * The journal was cut and now ends at `lastSeq`: cursors beyond it stand at its end, and a block that reached beyond
   * it is no more. What of that block was stored before may be stored again (the view `events` shows it once).
   */
  endJournal(journal: string, lastSeq: number): void;
  /** The journal is gone: its cursors and cut blocks go, its counters stay. */
  forgetJournal(journal: string): void;
  sinkTotals(sink: string): SinkTotals;
  /** See `Counters`. */
  counts(range: CountsRange): readonly CountRow[];
  countedTotal(): number;
  rollUpCounters(rowsMax: number): number;
  close(): void;
}

/** Opens the state database. Throws `StateError`; the methods throw SQLite's own errors. */
export function openState(file: string, limits?: Partial<CounterLimits>): State {
  const db = openStateDatabase(file);
  const sql = prepare(db);
  const counters = createCounters(db, limits);

  function finishBlock(block: CutBlock, counts: readonly MinuteCount[], retries: number): void {
    const rows = block.lastSeq - block.firstSeq + 1;
    const addedRows = db
      .transaction(() => {
        expectOne(
          sql.deleteBlock.run(block.journal, block.sink, block.firstSeq, block.lastSeq, block.token).changes,
          `no cut block ${block.token} of sink ${block.sink}`,
        );
        expectOne(
          sql.moveCursor.run(block.lastSeq, block.journal, block.sink, block.firstSeq - 1).changes,
          `the cursor of sink ${block.sink} does not stand before block ${block.token}`,
        );
        sql.addTotals.run(block.sink, rows, retries);
        return counters.add(block.journal, counts);
      })
      .immediate();
    counters.noteAdded(addedRows, counts);
  }

  return {
    cursors: () => sql.allCursors.all() as Cursor[],
    createCursor(cursor) {
      sql.insertCursor.run(cursor.journal, cursor.sink, cursor.seq);
    },
    cutBlock(block) {
      const { journal, sink, firstSeq, lastSeq, byteLength, token } = block;
      const inserted = sql.insertBlock.run(firstSeq, lastSeq, byteLength, token, journal, sink, firstSeq - 1).changes;
      expectOne(inserted, `the cursor of sink ${sink} does not stand before block ${token}`);
    },
    findBlock(journal, sink) {
      const row = sql.findBlock.get(journal, sink) as (Omit<RecordedBlock, 'ambiguous'> & { ambiguous: number }) | null;
      return row === null ? undefined : { ...row, ambiguous: row.ambiguous !== 0 };
    },
    countAttempt(journal, sink) {
      expectOne(sql.countAttempt.run(journal, sink).changes, `no cut block of sink ${sink}`);
    },
    markUnsent(journal, sink) {
      expectOne(sql.markUnsent.run(journal, sink).changes, `no cut block of sink ${sink}`);
    },
    finishBlock,
    forgetJournal(journal) {
      db.transaction(() => {
        sql.deleteBlocks.run(journal);
        sql.deleteCursors.run(journal);
      }).immediate();
    },
    endJournal(journal, lastSeq) {
      db.transaction(() => {
        sql.deleteBlocksBeyond.run(journal, lastSeq);
        sql.lowerCursors.run(lastSeq, journal, lastSeq);
      }).immediate();
    },
    sinkTotals: (sink) => (sql.sinkTotals.get(sink) as SinkTotals | null) ?? { rows: 0, blocks: 0, retries: 0 },
    counts: counters.list,
    countedTotal: counters.total,
    rollUpCounters: counters.rollUp,
    close() {
      db.close();
    },
  };
}

function prepare(db: Database) {
  return {
    allCursors: db.query('SELECT journal, sink, seq FROM cursors ORDER BY journal, sink'),
    insertCursor: db.query('INSERT INTO cursors (journal, sink, seq) VALUES (?, ?, ?)'),
    moveCursor: db.query('UPDATE cursors SET seq = ? WHERE journal = ? AND sink = ? AND seq = ?'),
    insertBlock: db.query(`
      INSERT INTO blocks (journal, sink, first_seq, last_seq, byte_length, token, attempts, ambiguous, cut_at_ms)
      SELECT journal, sink, ?, ?, ?, ?, 1, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER)
      FROM cursors WHERE journal = ? AND sink = ? AND seq = ?`),
    findBlock: db.query(`
      SELECT journal, sink, first_seq AS firstSeq, last_seq AS lastSeq, byte_length AS byteLength, token, attempts,
        ambiguous, cut_at_ms AS cutAtMs
      FROM blocks WHERE journal = ? AND sink = ?`),
    countAttempt: db.query('UPDATE blocks SET attempts = attempts + 1, ambiguous = 1 WHERE journal = ? AND sink = ?'),
    deleteBlocksBeyond: db.query('DELETE FROM blocks WHERE journal = ? AND last_seq > ?'),
    lowerCursors: db.query('UPDATE cursors SET seq = ? WHERE journal = ? AND seq > ?'),
    markUnsent: db.query('UPDATE blocks SET ambiguous = 0 WHERE journal = ? AND sink = ?'),
    deleteBlock: db.query(
      'DELETE FROM blocks WHERE journal = ? AND sink = ? AND first_seq = ? AND last_seq = ? AND token = ?',
    ),
    deleteBlocks: db.query('DELETE FROM blocks WHERE journal = ?'),
    deleteCursors: db.query('DELETE FROM cursors WHERE journal = ?'),
    addTotals: db.query(`
      INSERT INTO sinks (sink, rows, blocks, retries) VALUES (?1, ?2, 1, ?3)
      ON CONFLICT (sink) DO UPDATE SET rows = rows + ?2, blocks = blocks + 1, retries = retries + ?3`),
    sinkTotals: db.query('SELECT rows, blocks, retries FROM sinks WHERE sink = ?'),
  };
}

function expectOne(changes: number, otherwise: string): void {
  if (changes !== 1) throw new Error(`state: ${otherwise}`);
}
