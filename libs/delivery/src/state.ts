/**
 * What deliver remembers: how far each sink is (cursors), the block that is on its way (at most one per journal and
 * sink), each sink's totals, how many events of which kind went by (counters), and what was refused (dead letters).
 * Every change is one transaction, synced before the call returns.
 */
import type { Database } from 'bun:sqlite';
import {
  type CounterLimits,
  type Counters,
  type CountRow,
  type CountsRange,
  createCounters,
  type MinuteCount,
} from './counters.ts';
import type { ParkedRange } from './dead-letter.ts';
import { createDeadLetterTable, type DeadLetterTable } from './dead-letter-table.ts';
import { openStateDatabase } from './state-database.ts';

export interface Cursor {
  readonly journal: string;
  readonly sink: string;
  /** The last sequence number that the sink is done with; 0: none. */
  readonly seq: number;
}

/** A cursor with all that reading on from it needs. */
export interface PlacedCursor extends Cursor {
  /** The last end of a frame at or before `seq`: where the journal is read from. */
  readonly frameSeq: number;
  /** Rows up to and including this one may stand in the sink although they are behind the cursor. */
  readonly doubtSeq: number;
  /** Frames with an earlier frame time (ms) are not for this sink; 0: all are. */
  readonly sinceMs: number;
}

export interface KnownSink {
  readonly sink: string;
  /** Wall clock in ms when it was first configured; 0: from the beginning. */
  readonly sinceMs: number;
}

export interface CutBlock {
  readonly journal: string;
  readonly sink: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The last end of a frame at or before `lastSeq`, when that is not one itself. */
  readonly frameSeq?: number;
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
  /** Rows that ever became dead letters, and rows of them that a replay has brought in. */
  readonly deadLettered: number;
  readonly replayed: number;
}

export interface State {
  cursors(): readonly Cursor[];
  findCursor(journal: string, sink: string): PlacedCursor | undefined;
  /** At the end of a frame. Throws when it is there already. */
  createCursor(cursor: Cursor): void;
  /** All of them, or none. */
  createCursors(cursors: readonly (Cursor & { readonly sinceMs: number })[]): void;
  /** The sinks that were ever configured and not dropped. */
  knownSinks(): readonly KnownSink[];
  /** Does nothing when it is known. */
  registerSink(sink: KnownSink): void;
  /** The sink's cursors, cut blocks and totals go; its dead letters stay. */
  dropSink(sink: string): void;
  /** Commits the range before its first send. Throws unless it starts right behind the cursor and no other block is cut. */
  cutBlock(block: CutBlock): void;
  findBlock(journal: string, sink: string): RecordedBlock | undefined;
  /** One more send of the cut block is about to begin. */
  countAttempt(journal: string, sink: string): void;
  /** No send of the cut block stored anything: after a restart it need not be treated as ambiguous. */
  markUnsent(journal: string, sink: string): void;
  /**
   * The sink refused rows of the cut block, and none of it was stored: its beginning takes its place. In doubt, an
   * earlier attempt may have stored something, and what follows is treated so up to the end of the block.
   */
  shortenBlock(block: CutBlock, beginning: CutBlock, inDoubt: boolean): void;
  /** Frames that are not for this sink: the cursor moves to the end of one. */
  skipTo(journal: string, sink: string, fromSeq: number, toSeq: number): void;
  /** The range becomes one dead letter, a cut block in it goes, and the cursor moves to its end, which ends a frame. */
  parkRange(range: ParkedRange): void;
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
  readonly deadLetters: DeadLetterTable;
  /** See `Counters`. */
  counts(range: CountsRange): readonly CountRow[];
  countedRanges: Counters['ranges'];
  countedTotal(): number;
  rollUpCounters(rowsMax: number): number;
  close(): void;
}

/** Opens the state database. Throws `StateError`; the methods throw SQLite's own errors. */
export function openState(file: string, limits?: Partial<CounterLimits>): State {
  const db = openStateDatabase(file);
  const sql = prepare(db);
  const counters = createCounters(db, limits);
  const deadLetters = createDeadLetterTable(db);

  function insertBlock(block: CutBlock): void {
    const { journal, sink, firstSeq, lastSeq, frameSeq = lastSeq, byteLength, token } = block;
    const { changes } = sql.insertBlock.run(
      firstSeq,
      lastSeq,
      frameSeq,
      byteLength,
      token,
      journal,
      sink,
      firstSeq - 1,
    );
    expectOne(changes, `the cursor of sink ${sink} does not stand before block ${token}`);
  }

  function deleteBlock({ journal, sink, firstSeq, lastSeq, token }: CutBlock): void {
    const { changes } = sql.deleteBlock.run(journal, sink, firstSeq, lastSeq, token);
    expectOne(changes, `no cut block ${token} of sink ${sink}`);
  }

  function moveCursor(journal: string, sink: string, fromSeq: number, toSeq: number, frameSeq: number): void {
    const { changes } = sql.moveCursor.run(toSeq, frameSeq, journal, sink, fromSeq);
    expectOne(changes, `the cursor of sink ${sink} does not stand at ${fromSeq}`);
  }

  function finishBlock(block: CutBlock, counts: readonly MinuteCount[], retries: number): void {
    const { journal, sink, firstSeq, lastSeq, frameSeq = lastSeq } = block;
    const addedRows = db
      .transaction(() => {
        deleteBlock(block);
        moveCursor(journal, sink, firstSeq - 1, lastSeq, frameSeq);
        sql.addTotals.run(sink, lastSeq - firstSeq + 1, retries);
        return counters.add(journal, counts);
      })
      .immediate();
    counters.noteAdded(addedRows, counts);
  }

  function shortenBlock(block: CutBlock, beginning: CutBlock, inDoubt: boolean): void {
    db.transaction(() => {
      deleteBlock(block);
      insertBlock(beginning);
      if (inDoubt) sql.raiseDoubt.run(block.lastSeq, block.journal, block.sink);
    }).immediate();
  }

  return {
    cursors: () => sql.allCursors.all() as Cursor[],
    findCursor: (journal, sink) => (sql.findCursor.get(journal, sink) as PlacedCursor | null) ?? undefined,
    createCursor({ journal, sink, seq }) {
      sql.insertCursor.run(journal, sink, seq, 0);
    },
    createCursors(cursors) {
      db.transaction(() => {
        for (const { journal, sink, seq, sinceMs } of cursors) sql.insertCursor.run(journal, sink, seq, sinceMs);
      }).immediate();
    },
    knownSinks: () => sql.knownSinks.all() as KnownSink[],
    registerSink({ sink, sinceMs }) {
      sql.registerSink.run(sink, sinceMs);
    },
    dropSink(sink) {
      db.transaction(() => {
        for (const statement of [sql.dropBlocks, sql.dropCursors, sql.dropSink]) statement.run(sink);
      }).immediate();
    },
    cutBlock: insertBlock,
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
    shortenBlock,
    skipTo: (journal, sink, fromSeq, toSeq) => moveCursor(journal, sink, fromSeq, toSeq, toSeq),
    parkRange(range) {
      db.transaction(() => {
        sql.dropBlock.run(range.journal, range.sink);
        deadLetters.insertRange(range);
        moveCursor(range.journal, range.sink, range.firstSeq - 1, range.lastSeq, range.lastSeq);
      }).immediate();
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
        sql.lowerCursors.run(lastSeq, lastSeq, journal, lastSeq);
      }).immediate();
    },
    sinkTotals: (sink) => (sql.sinkTotals.get(sink) as SinkTotals | null) ?? NO_TOTALS,
    deadLetters,
    counts: counters.list,
    countedRanges: counters.ranges,
    countedTotal: counters.total,
    rollUpCounters: counters.rollUp,
    close() {
      db.close();
    },
  };
}

const NO_TOTALS: SinkTotals = { rows: 0, blocks: 0, retries: 0, deadLettered: 0, replayed: 0 };

function prepare(db: Database) {
  return {
    allCursors: db.query('SELECT journal, sink, seq FROM cursors ORDER BY journal, sink'),
    findCursor: db.query(`
      SELECT journal, sink, seq, frame_seq AS frameSeq, doubt_seq AS doubtSeq, since_ms AS sinceMs
      FROM cursors WHERE journal = ? AND sink = ?`),
    insertCursor: db.query(`
      INSERT INTO cursors (journal, sink, seq, frame_seq, since_ms) VALUES (?1, ?2, ?3, ?3, ?4)`),
    moveCursor: db.query('UPDATE cursors SET seq = ?, frame_seq = ? WHERE journal = ? AND sink = ? AND seq = ?'),
    raiseDoubt: db.query('UPDATE cursors SET doubt_seq = max(doubt_seq, ?) WHERE journal = ? AND sink = ?'),
    insertBlock: db.query(`
      INSERT INTO blocks (journal, sink, first_seq, last_seq, frame_seq, byte_length, token, attempts, ambiguous, cut_at_ms)
      SELECT journal, sink, ?, ?, ?, ?, ?, 1, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER)
      FROM cursors WHERE journal = ? AND sink = ? AND seq = ?`),
    findBlock: db.query(`
      SELECT journal, sink, first_seq AS firstSeq, last_seq AS lastSeq, frame_seq AS frameSeq,
        byte_length AS byteLength, token, attempts, ambiguous, cut_at_ms AS cutAtMs
      FROM blocks WHERE journal = ? AND sink = ?`),
    countAttempt: db.query('UPDATE blocks SET attempts = attempts + 1, ambiguous = 1 WHERE journal = ? AND sink = ?'),
    deleteBlocksBeyond: db.query('DELETE FROM blocks WHERE journal = ? AND last_seq > ?'),
    lowerCursors: db.query('UPDATE cursors SET seq = ?, frame_seq = ? WHERE journal = ? AND seq > ?'),
    markUnsent: db.query('UPDATE blocks SET ambiguous = 0 WHERE journal = ? AND sink = ?'),
    deleteBlock: db.query(
      'DELETE FROM blocks WHERE journal = ? AND sink = ? AND first_seq = ? AND last_seq = ? AND token = ?',
    ),
    dropBlock: db.query('DELETE FROM blocks WHERE journal = ? AND sink = ?'),
    deleteBlocks: db.query('DELETE FROM blocks WHERE journal = ?'),
    deleteCursors: db.query('DELETE FROM cursors WHERE journal = ?'),
    dropBlocks: db.query('DELETE FROM blocks WHERE sink = ?'),
    dropCursors: db.query('DELETE FROM cursors WHERE sink = ?'),
    dropSink: db.query('DELETE FROM sinks WHERE sink = ?'),
    knownSinks: db.query('SELECT sink, since_ms AS sinceMs FROM sinks ORDER BY sink'),
    registerSink: db.query(`
      INSERT INTO sinks (sink, rows, blocks, retries, since_ms) VALUES (?, 0, 0, 0, ?) ON CONFLICT DO NOTHING`),
    addTotals: db.query(`
      INSERT INTO sinks (sink, rows, blocks, retries) VALUES (?1, ?2, 1, ?3)
      ON CONFLICT (sink) DO UPDATE SET rows = rows + ?2, blocks = blocks + 1, retries = retries + ?3`),
    sinkTotals: db.query(`
      SELECT rows, blocks, retries, dead_lettered AS deadLettered, replayed FROM sinks WHERE sink = ?`),
  };
}

function expectOne(changes: number, otherwise: string): void {
  if (changes !== 1) throw new Error(`state: ${otherwise}`);
}
