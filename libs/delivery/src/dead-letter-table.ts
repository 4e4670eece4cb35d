/** Dead letters in SQLite. They stand in the state database, so that a letter and what it settles are one transaction. */
import type { Database } from 'bun:sqlite';
import {
  chargeOf,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterPage,
  type DeadLetterTotals,
  type LetteredRows,
  type ParkedRange,
  type RangeContent,
  type RefusedRow,
} from './dead-letter.ts';

export interface DeadLetterTable {
  /** Records rows in one transaction. One that has a letter of this sink already gets the new reason. */
  add(rows: readonly RefusedRow[]): void;
  /** Inside the caller's transaction. */
  insertRange(range: ParkedRange): void;
  list(page: DeadLetterPage): readonly DeadLetter[];
  get(id: number): { readonly letter: DeadLetter; readonly bytes: Uint8Array } | undefined;
  /** The bytes of a row that some sink has as a dead letter. */
  findRow(journal: string, seq: number): Uint8Array | undefined;
  /** Sequence numbers of a sink's row letters within a range (both ends included). */
  seqsWithin(journal: string, sink: string, firstSeq: number, lastSeq: number): readonly number[];
  /** Minute and type of rows among those. */
  typesOf(
    journal: string,
    sink: string,
    seqs: readonly number[],
  ): readonly { readonly minute: number; readonly eventType: string }[];
  /** A replay has succeeded: the letter goes, and is counted. */
  settle(letter: DeadLetter): void;
  /** A replay has failed: one more attempt, with its reason. */
  refuseAgain(id: number, reason: { readonly code: string; readonly message: string }): void;
  /** The first rows of a range were replayed: it begins at `firstSeq` now, and `refused` have letters of their own. */
  shrinkRange(
    letter: DeadLetter,
    firstSeq: number,
    content: RangeContent,
    done: { readonly replayed: number; readonly refused: readonly RefusedRow[] },
  ): void;
  /** Rows that are given up: counted by minute and type, so that sums still come out. Returns how many letters went. */
  delete(ids: readonly number[]): number;
  totals(): readonly DeadLetterTotals[];
  /** Rows in letters, and rows given up, of `fromMinute` and later, before `untilMinute`. */
  lettered(fromMinute: number, untilMinute: number): readonly LetteredRows[];
  deleted(fromMinute: number, untilMinute: number): readonly LetteredRows[];
  /** Row letters that stand behind their sink's cursor: their block is still on its way. */
  ahead(fromMinute: number, untilMinute: number): readonly LetteredRows[];
}

/** From so many rows on, deleted rows are counted by the day. */
const DELETED_ROWS_FINE = 100_000;
const DAY = 1_440;

export function createDeadLetterTable(db: Database): DeadLetterTable {
  const sql = prepare(db);

  function insertRow(row: RefusedRow): void {
    const { sink, journal, seq, bytes, code, message } = row;
    const charged = chargeOf(bytes.byteLength);
    const changed = sql.again.run(code, message, row.attempts, now(), sink, journal, seq).changes;
    if (changed === 1) return;
    const { minute, eventId, eventType, storeId, attempts } = row;
    const names = [eventId, eventType, storeId, code, message] as const;
    sql.insert.run('row', sink, journal, seq, seq, 1, minute, ...names, attempts, now(), now(), charged);
    sql.insertContent.run(bytes);
    sql.countLettered.run(sink, 1);
  }

  function insertRange(range: ParkedRange): void {
    const { sink, journal, firstSeq, lastSeq, code, message, content } = range;
    const bytes = Buffer.from(JSON.stringify(content));
    const rows = lastSeq - firstSeq + 1 - content.except.length;
    const minute = content.minutes[0]?.minute ?? 0;
    const charged = chargeOf(bytes.byteLength);
    const names = ['', '', '', code, message] as const;
    sql.insert.run('range', sink, journal, firstSeq, lastSeq, rows, minute, ...names, 0, now(), now(), charged);
    sql.insertContent.run(bytes);
    sql.countLettered.run(sink, rows);
  }

  function remove(id: number): void {
    if (sql.remove.run(id).changes === 0) throw new Error(`state: no dead letter ${id}`);
  }

  const shrinkRange: DeadLetterTable['shrinkRange'] = (letter, firstSeq, content, { replayed, refused }) => {
    db.transaction(() => {
      for (const row of refused) insertRow(row);
      sql.countReplayed.run(replayed, letter.sink);
      if (firstSeq > letter.lastSeq) {
        remove(letter.id);
        return;
      }
      const bytes = Buffer.from(JSON.stringify(content));
      const rows = letter.lastSeq - firstSeq + 1 - content.except.length;
      const minute = content.minutes[0]?.minute ?? 0;
      sql.shrink.run(firstSeq, rows, minute, chargeOf(bytes.byteLength), letter.id);
      sql.updateContent.run(bytes, letter.id);
    }).immediate();
  };

  function deleteOne(id: number, byDay: boolean): number {
    const found = get(id);
    if (found === undefined) return 0;
    const { letter, bytes } = found;
    const counts =
      letter.kind === 'row'
        ? [{ minute: minuteOf(sql, id), eventType: letter.eventType, rows: 1 }]
        : rangeRows(parseContent(bytes));
    for (const { minute, eventType, rows } of counts)
      sql.countDeleted.run(letter.sink, byDay ? minute - (minute % DAY) : minute, eventType, rows);
    remove(id);
    return 1;
  }

  function get(id: number): { letter: DeadLetter; bytes: Uint8Array } | undefined {
    const letter = sql.get.get(id) as DeadLetter | null;
    if (letter === null) return undefined;
    return { letter, bytes: (sql.content.get(id) as { bytes: Uint8Array }).bytes };
  }

  /** Ranges are few and their counts stand in their contents. */
  function lettered(fromMinute: number, untilMinute: number): readonly LetteredRows[] {
    const ranges = sql.ranges.all() as { sink: string; bytes: Uint8Array }[];
    const within = ranges.flatMap(({ sink, bytes }) =>
      rangeRows(parseContent(bytes))
        .filter(({ minute }) => minute >= fromMinute && minute < untilMinute)
        .map((rows) => ({ sink, ...rows })),
    );
    return [...(sql.lettered.all(fromMinute, untilMinute) as LetteredRows[]), ...within];
  }

  return {
    add(rows) {
      db.transaction(() => {
        for (const row of rows) insertRow(row);
      }).immediate();
    },
    insertRange,
    list: (page) =>
      sql.list.all({ ...parameters(page), afterId: page.afterId ?? 0, limit: page.limit }) as DeadLetter[],
    get,
    findRow(journal, seq) {
      return (sql.findRow.get(journal, seq) as { bytes: Uint8Array } | null)?.bytes;
    },
    seqsWithin: (journal, sink, first, last) =>
      (sql.seqsWithin.all(journal, sink, first, last) as { seq: number }[]).map(({ seq }) => seq),
    typesOf: (journal, sink, seqs) =>
      seqs.map((seq) => sql.typeOf.get(journal, sink, seq) as { minute: number; eventType: string }),
    settle(letter) {
      db.transaction(() => {
        remove(letter.id);
        sql.countReplayed.run(letter.rows, letter.sink);
      }).immediate();
    },
    refuseAgain(id, { code, message }) {
      sql.refuseAgain.run(code, message, now(), id);
    },
    shrinkRange,
    delete(ids) {
      return db
        .transaction(() => {
          const byDay = (sql.countDeletedRows.get() as { n: number }).n > DELETED_ROWS_FINE;
          return ids.reduce((gone, id) => gone + deleteOne(id, byDay), 0);
        })
        .immediate();
    },
    totals: () => sql.totals.all() as DeadLetterTotals[],
    lettered,
    deleted: (from, until) => sql.deleted.all(from, until) as LetteredRows[],
    ahead: (from, until) => sql.ahead.all(from, until) as LetteredRows[],
  };
}

export function parseContent(bytes: Uint8Array): RangeContent {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
}

function rangeRows(content: RangeContent): { minute: number; eventType: string; rows: number }[] {
  return content.minutes.flatMap(({ minute, types }) =>
    Object.entries(types)
      .filter(([, rows]) => rows > 0)
      .map(([eventType, rows]) => ({ minute, eventType, rows })),
  );
}

function minuteOf(sql: ReturnType<typeof prepare>, id: number): number {
  return (sql.minute.get(id) as { minute: number }).minute;
}

function now(): number {
  return Date.now();
}

function parameters(filter: DeadLetterFilter) {
  return {
    sink: filter.sink ?? null,
    eventType: filter.eventType ?? null,
    storeId: filter.storeId ?? null,
    code: filter.code ?? null,
    fromMs: filter.fromMs ?? null,
    toMs: filter.toMs ?? null,
  };
}

const LETTER = `id, kind, sink, journal, first_seq AS firstSeq, last_seq AS lastSeq, rows, event_id AS eventId,
  event_type AS eventType, store_id AS storeId, code, message, attempts, first_at_ms AS firstAtMs,
  last_at_ms AS lastAtMs, charged_bytes AS chargedBytes`;
const BY_MINUTE = 'minute >= ? AND minute < ?';
const GROUPED = 'sink, minute, event_type AS eventType';

function prepare(db: Database) {
  return {
    insert: db.query(`
      INSERT INTO dead_letters (kind, sink, journal, first_seq, last_seq, rows, minute, event_id, event_type, store_id,
        code, message, attempts, first_at_ms, last_at_ms, charged_bytes)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    insertContent: db.query('INSERT INTO dead_letter_contents (id, bytes) VALUES (last_insert_rowid(), ?)'),
    updateContent: db.query('UPDATE dead_letter_contents SET bytes = ? WHERE id = ?'),
    again: db.query(`
      UPDATE dead_letters SET code = ?, message = ?, attempts = attempts + ?, last_at_ms = ?
      WHERE sink = ? AND journal = ? AND first_seq = ? AND kind = 'row'`),
    refuseAgain: db.query(`
      UPDATE dead_letters SET code = ?, message = ?, attempts = attempts + 1, last_at_ms = ? WHERE id = ?`),
    shrink: db.query('UPDATE dead_letters SET first_seq = ?, rows = ?, minute = ?, charged_bytes = ? WHERE id = ?'),
    remove: db.query('DELETE FROM dead_letters WHERE id = ?'),
    list: db.query(`
      SELECT ${LETTER} FROM dead_letters
      WHERE id > $afterId AND ($sink IS NULL OR sink = $sink) AND ($eventType IS NULL OR event_type = $eventType)
        AND ($storeId IS NULL OR store_id = $storeId) AND ($code IS NULL OR code = $code)
        AND ($fromMs IS NULL OR first_at_ms >= $fromMs) AND ($toMs IS NULL OR first_at_ms < $toMs)
      ORDER BY id LIMIT $limit`),
    get: db.query(`SELECT ${LETTER} FROM dead_letters WHERE id = ?`),
    content: db.query('SELECT bytes FROM dead_letter_contents WHERE id = ?'),
    minute: db.query('SELECT minute FROM dead_letters WHERE id = ?'),
    findRow: db.query(`
      SELECT bytes FROM dead_letters JOIN dead_letter_contents USING (id)
      WHERE sink IN (SELECT sink FROM dead_letter_totals) AND journal = ? AND first_seq = ? AND kind = 'row' LIMIT 1`),
    seqsWithin: db.query(`
      SELECT first_seq AS seq FROM dead_letters
      WHERE journal = ? AND sink = ? AND first_seq BETWEEN ? AND ? AND kind = 'row' ORDER BY first_seq`),
    typeOf: db.query(`
      SELECT minute, event_type AS eventType FROM dead_letters
      WHERE journal = ? AND sink = ? AND first_seq = ? AND kind = 'row'`),
    totals: db.query('SELECT sink, letters, rows, bytes FROM dead_letter_totals WHERE letters > 0 ORDER BY sink'),
    ranges: db.query("SELECT sink, bytes FROM dead_letters JOIN dead_letter_contents USING (id) WHERE kind = 'range'"),
    lettered: db.query(`
      SELECT ${GROUPED}, sum(rows) AS rows FROM dead_letters WHERE ${BY_MINUTE} AND kind = 'row'
      GROUP BY sink, minute, event_type`),
    deleted: db.query(`SELECT ${GROUPED}, rows FROM deleted_rows WHERE ${BY_MINUTE}`),
    ahead: db.query(`
      SELECT ${GROUPED}, sum(rows) AS rows FROM dead_letters AS letter
      WHERE ${BY_MINUTE} AND kind = 'row' AND first_seq > (
        SELECT seq FROM cursors WHERE cursors.journal = letter.journal AND cursors.sink = letter.sink)
      GROUP BY sink, minute, event_type`),
    countDeletedRows: db.query('SELECT count(*) AS n FROM deleted_rows'),
    countDeleted: db.query(`
      INSERT INTO deleted_rows (sink, minute, event_type, rows) VALUES (?1, ?2, ?3, ?4)
      ON CONFLICT (sink, minute, event_type) DO UPDATE SET rows = rows + ?4`),
    countLettered: db.query(`
      INSERT INTO sinks (sink, rows, blocks, retries, dead_lettered) VALUES (?1, 0, 0, 0, ?2)
      ON CONFLICT (sink) DO UPDATE SET dead_lettered = dead_lettered + ?2`),
    countReplayed: db.query('UPDATE sinks SET replayed = replayed + ? WHERE sink = ?'),
  };
}
