/** The count of an import: every row that was read ends in exactly one of its places. */
import { formatCount, printable } from '../terminal.ts';
import type { Ledger, RejectedRow } from './sender.ts';

/** Rows that share a code and a field. */
export interface Reason {
  readonly code: string;
  readonly field: string;
  /** The message of the first of them. */
  readonly message: string;
  readonly count: number;
  /** Where the first of them stand. */
  readonly rows: readonly number[];
}

export interface Summary {
  readonly read: number;
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
  /** Rows without an answer when the import ended early: stored or not, sending them again is safe. */
  readonly unconfirmed: number;
  /** Rows that were sent more than once, and how many of those because the reply was lost. */
  readonly resent: number;
  readonly resentAfterLostReply: number;
  readonly reasons: readonly Reason[];
  /** Rows whose reason is not listed because there are too many reasons. */
  readonly otherReasons: number;
  readonly seconds: number;
  readonly rowsPerSecond: number;
}

export interface Tally extends Ledger {
  read(count: number): void;
  /** Rows that have an answer. */
  settled(): number;
  summary(): Summary;
}

/** Fields can hold keys from the data, so the number of different reasons is bounded. */
const REASONS_MAX = 100;
const ROWS_PER_REASON = 5;

export function createTally(now: () => number, keepRejected: (rows: readonly RejectedRow[]) => void): Tally {
  const startMs = now();
  const reasons = new Map<string, { code: string; field: string; message: string; count: number; rows: number[] }>();
  let read = 0;
  let accepted = 0;
  let duplicates = 0;
  let rejected = 0;
  let resent = 0;
  let resentAfterLostReply = 0;
  let otherReasons = 0;

  function book({ number, rejection }: RejectedRow): void {
    const { code, field, message } = rejection;
    const key = `${code}\n${field}`;
    const reason = reasons.get(key);
    if (reason !== undefined) {
      reason.count++;
      // Batches are answered in any order, so the first rows are the smallest numbers seen.
      if (reason.rows.length < ROWS_PER_REASON) reason.rows.push(number);
      else if (number < Math.max(...reason.rows)) reason.rows[reason.rows.indexOf(Math.max(...reason.rows))] = number;
    } else if (reasons.size < REASONS_MAX) reasons.set(key, { code, field, message, count: 1, rows: [number] });
    else otherReasons++;
  }

  return {
    read(count) {
      read += count;
    },
    accepted(count) {
      accepted += count;
    },
    duplicates(count) {
      duplicates += count;
    },
    rejected(rows) {
      rejected += rows.length;
      for (const row of rows) book(row);
      keepRejected(rows);
    },
    resent(rows, lostReply) {
      resent += rows;
      if (lostReply) resentAfterLostReply += rows;
    },
    settled: () => accepted + duplicates + rejected,
    summary() {
      const seconds = (now() - startMs) / 1000;
      const settled = accepted + duplicates + rejected;
      return {
        read,
        accepted,
        duplicates,
        rejected,
        unconfirmed: read - settled,
        resent,
        resentAfterLostReply,
        reasons: [...reasons.values()]
          .map((reason) => ({ ...reason, rows: reason.rows.toSorted((a, b) => a - b) }))
          .toSorted((a, b) => b.count - a.count),
        otherReasons,
        seconds: Math.round(seconds * 1000) / 1000,
        rowsPerSecond: seconds > 0 ? Math.round(settled / seconds) : 0,
      };
    },
  };
}

/** The summary for people. `unit` is what a row's number counts: `line` or `element`. */
export function formatSummary(summary: Summary, unit: string): string {
  const lines = [
    count('rows read', summary.read),
    count('accepted', summary.accepted),
    count('duplicates', summary.duplicates),
    count('rejected', summary.rejected),
    ...summary.reasons.flatMap((reason) => formatReason(reason, unit)),
  ];
  if (summary.otherReasons > 0) lines.push(`  ${formatCount(summary.otherReasons)} for other reasons`);
  if (summary.unconfirmed > 0) {
    lines.push(`${count('unconfirmed', summary.unconfirmed)}  (run it again: what is stored counts as a duplicate)`);
  }
  if (summary.resent > 0) lines.push(count('sent again', summary.resent));
  if (summary.resentAfterLostReply > 0) {
    const rows = formatCount(summary.resentAfterLostReply);
    lines.push(`  ${rows} of them after a lost reply: some may be duplicates of this very run`);
  }
  const rate = formatCount(summary.rowsPerSecond);
  lines.push(`${'time'.padEnd(12)} ${summary.seconds.toFixed(2).padStart(10)} s  (${rate} rows/s)`);
  return `${lines.join('\n')}\n`;
}

function count(name: string, value: number): string {
  return `${name.padEnd(12)} ${formatCount(value).padStart(10)}`;
}

function formatReason({ code, field, message, count: rows, rows: numbers }: Reason, unit: string): string[] {
  const more = rows > numbers.length ? ', …' : '';
  const where = `${unit}${rows === 1 ? '' : 's'} ${numbers.join(', ')}${more}`;
  const head = [code, field].filter((part) => part !== '').map(printable);
  return [`  ${formatCount(rows).padStart(8)}  ${head.join('  ')}  (${where})`, `            ${printable(message)}`];
}
