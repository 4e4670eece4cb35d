/**
 * How many events of which store and type were journalled when, in SQLite. Counts start as rows of one minute; older
 * ones are folded into hours, days, and at last into one row per journal and type. Folding moves counts and never
 * drops any: the sum over all rows is the number of events counted.
 */
import type { Database } from 'bun:sqlite';

/** Events of one minute, as a block adds them. */
export interface MinuteCount {
  /** Frame time in minutes since 1970. */
  readonly minute: number;
  readonly storeId: string;
  readonly eventType: string;
  readonly count: number;
}

export interface CountRow {
  /** 1, 60 or 1,440; 0 stands for all time before the oldest day that is kept. */
  readonly spanMinutes: number;
  readonly startMinute: number;
  readonly journal: string;
  /** Empty (no store's id is): the events of several stores together. */
  readonly storeId: string;
  readonly eventType: string;
  readonly count: number;
}

export interface CountsRange {
  /** Rows whose span starts at this minute or later. */
  readonly fromMinute: number;
  /** Rows whose span starts before this minute. */
  readonly untilMinute: number;
  readonly rowsMax: number;
}

export interface CounterLimits {
  /**
   * Rows in the table. From half of this on, rows are folded much earlier; at the limit, a store that has no row yet
   * is counted under the empty storeId, so that made-up stores cannot fill the disk (about 100 bytes a row).
   */
  readonly rowsMax: number;
}

export interface Counters {
  /** Inside the caller's transaction. Returns the number of new rows, to be given to `noteAdded` after the commit. */
  add(journal: string, counts: readonly MinuteCount[]): number;
  noteAdded(rows: number, counts: readonly MinuteCount[]): void;
  /** Folds up to `rowsMax` rows that are old enough, in one transaction; returns how many. */
  rollUp(rowsMax: number): number;
  list(range: CountsRange): readonly CountRow[];
  /**
   * The sequence numbers that rows starting in this range stand for, by journal. They follow from the counts: a journal
   * counts from 1 without gaps, and its minutes follow one another.
   */
  ranges(range: Omit<CountsRange, 'rowsMax'>): readonly CountedRange[];
  total(): number;
}

export interface CountedRange {
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

const HOUR = 60;
const DAY = 1_440;

interface Tier {
  readonly span: number;
  readonly nextSpan: number;
  /** Minutes for which rows of this span are kept, normally and from half of the row limit on. */
  readonly keepMinutes: number;
  readonly keepMinutesWhenFull: number;
}

/** Two days by the minute, two months by the hour, two years by the day. */
const TIERS: readonly Tier[] = [
  { span: 1, nextSpan: HOUR, keepMinutes: 2 * DAY, keepMinutesWhenFull: HOUR },
  { span: HOUR, nextSpan: DAY, keepMinutes: 62 * DAY, keepMinutesWhenFull: 2 * DAY },
  { span: DAY, nextSpan: 0, keepMinutes: 731 * DAY, keepMinutesWhenFull: 62 * DAY },
];

const ROWS_MAX = 1_000_000;

export function createCounters(db: Database, limits: Partial<CounterLimits> = {}): Counters {
  const rowsMax = limits.rowsMax ?? ROWS_MAX;
  const sql = prepare(db);
  let rowCount = (sql.countRows.get() as { n: number }).n;
  let newestMinute = (sql.newest.get() as { minute: number | null }).minute ?? 0;

  /** True when this made a new row. */
  function addTo(row: CountRow): boolean {
    const { spanMinutes, startMinute, journal, storeId, eventType, count } = row;
    if (sql.update.run(count, spanMinutes, startMinute, journal, storeId, eventType).changes === 1) return false;
    sql.insert.run(spanMinutes, startMinute, journal, storeId, eventType, count);
    return true;
  }

  function add(journal: string, counts: readonly MinuteCount[]): number {
    let added = 0;
    for (const { minute, storeId, eventType, count } of counts) {
      const row = { spanMinutes: 1, startMinute: minute, journal, storeId, eventType, count };
      if (sql.update.run(count, 1, minute, journal, storeId, eventType).changes === 1) continue;
      if (addTo(rowCount + added < rowsMax ? row : { ...row, storeId: '' })) added++;
    }
    return added;
  }

  function fold(tier: Tier, cutoffMinute: number, limit: number): number {
    const rows = sql.oldest.all(tier.span, cutoffMinute, limit) as CountRow[];
    let added = 0;
    for (const row of rows) {
      const target = tier.nextSpan === 0 ? { startMinute: 0, storeId: '' } : startOf(row, tier.nextSpan);
      if (addTo({ ...row, ...target, spanMinutes: tier.nextSpan })) added++;
      sql.remove.run(row.spanMinutes, row.startMinute, row.journal, row.storeId, row.eventType);
    }
    rowCount += added - rows.length;
    return rows.length;
  }

  function rollUp(limit: number): number {
    const crowded = rowCount > rowsMax / 2;
    for (const tier of TIERS) {
      const cutoff = newestMinute - (crowded ? tier.keepMinutesWhenFull : tier.keepMinutes) - Math.max(tier.span, 1);
      if (sql.anyBefore.get(tier.span, cutoff) === null) continue;
      return db.transaction(() => fold(tier, cutoff, limit)).immediate();
    }
    return 0;
  }

  return {
    add,
    noteAdded(rows, counts) {
      rowCount += rows;
      for (const { minute } of counts) newestMinute = Math.max(newestMinute, minute);
    },
    rollUp,
    list: (range) => sql.list.all(range.fromMinute, range.untilMinute, range.rowsMax) as CountRow[],
    ranges: ({ fromMinute, untilMinute }) => sql.ranges.all(fromMinute, fromMinute, untilMinute) as CountedRange[],
    total: () => (sql.total.get() as { n: number }).n,
  };
}

function startOf(row: CountRow, span: number): { startMinute: number } {
  return { startMinute: row.startMinute - (row.startMinute % span) };
}

const COLUMNS = `span_minutes AS spanMinutes, start_minute AS startMinute, journal, store_id AS storeId,
  event_type AS eventType, count`;
const KEY = 'span_minutes = ? AND start_minute = ? AND journal = ? AND store_id = ? AND event_type = ?';

function prepare(db: Database) {
  return {
    countRows: db.query('SELECT count(*) AS n FROM counters'),
    newest: db.query('SELECT max(start_minute) AS minute FROM counters'),
    update: db.query(`UPDATE counters SET count = count + ? WHERE ${KEY}`),
    insert: db.query('INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?)'),
    remove: db.query(`DELETE FROM counters WHERE ${KEY}`),
    anyBefore: db.query('SELECT 1 FROM counters WHERE span_minutes = ? AND start_minute < ? LIMIT 1'),
    oldest: db.query(`
      SELECT ${COLUMNS} FROM counters WHERE span_minutes = ? AND start_minute < ?
      ORDER BY start_minute, journal, store_id, event_type LIMIT ?`),
    list: db.query(`
      SELECT ${COLUMNS} FROM counters WHERE start_minute >= ? AND start_minute < ?
      ORDER BY start_minute, span_minutes, journal, store_id, event_type LIMIT ?`),
    ranges: db.query(`
      SELECT journal, firstSeq, lastSeq FROM (
        SELECT journal, 1 + sum(CASE WHEN start_minute < ? THEN count ELSE 0 END) AS firstSeq,
          max(start_minute >= ?) AS isIn, sum(count) AS lastSeq
        FROM counters WHERE start_minute < ? GROUP BY journal
      ) WHERE isIn ORDER BY journal`),
    total: db.query('SELECT coalesce(sum(count), 0) AS n FROM counters'),
  };
}
