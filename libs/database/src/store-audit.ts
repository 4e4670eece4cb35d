/**
 * What the table holds, asked by position: counts for reconciling, and rows for reading topics and replaying ranges.
 *
 * The table is ordered by (storeId, eventType, timestamp), and a minmax index on seq skips what is far from a range.
 * Measured with 1 M rows of 120 kinds (20 stores, 6 types) merged into one part, on two busy cores: 500 rows of one
 * type 30 ms, of fresh parts 7 ms, the answer that there is nothing new 3 ms, counting all of them 75 ms. What is read
 * is about one granule for each kind, however many rows there are, as long as the range is small: so every query here
 * is cut into windows. A projection by position brought nothing (28 ms) or would store every row twice.
 */
import { Retryable } from '@libs/pipeline';
import type { Store } from './store.ts';

export interface SeqRange {
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export interface TypeCount {
  readonly eventType: string;
  /** Rows in the table, and distinct sequence numbers among them: more rows than those means that some stand there twice. */
  readonly rows: number;
  readonly distinct: number;
}

export interface HeldJournal {
  readonly journal: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** A row as the journal wrote it, but for `timestamp`: the same instant in UTC, to the microsecond. */
export interface PositionedRow {
  readonly seq: number;
  readonly eventType: string;
  readonly sessionId: string;
  readonly eventId: string;
  /** The row as a JSON object, without a line feed. */
  readonly json: string;
}

export interface PositionQuery {
  readonly journal: string;
  /** Only rows behind this sequence number. */
  readonly afterSeq: number;
  /**
   * Only rows up to this one: how far the store sink has come. Behind it the table may have gaps that fill up later,
   * and a reader that passed them would never see those rows.
   */
  readonly throughSeq: number;
  readonly eventTypes: readonly string[];
  /** 1 to 2,000. */
  readonly limit: number;
  readonly signal?: AbortSignal;
}

export interface PositionPage {
  /** In order of seq; each sequence number once. */
  readonly rows: readonly PositionedRow[];
  /** Everything up to here has been looked at: the next `afterSeq`, also when there are no rows. */
  readonly throughSeq: number;
}

export interface StoreAudit {
  /** By event type. Throws `Retryable`; `audit_timeout` when it takes longer than `timeMsMax`. */
  countByJournalRange(range: SeqRange, signal?: AbortSignal): Promise<TypeCount[]>;
  /** Which journals the table has rows of. Throws `Retryable`. */
  journals(signal?: AbortSignal): Promise<HeldJournal[]>;
  /** Throws `Retryable`, and `RangeError` for a query that cannot be meant. */
  selectByPosition(query: PositionQuery): Promise<PositionPage>;
  /** All rows of a range of at most 2,000 sequence numbers. Throws as `selectByPosition`. */
  readRows(range: SeqRange, signal?: AbortSignal): Promise<readonly PositionedRow[]>;
}

export interface StoreAuditLimits {
  /** How long one call may take in all. Default 30,000. */
  readonly timeMsMax?: number;
}

const TIME_MS_MAX = 30_000;
/** Distinct numbers are counted exactly, in memory: about 16 bytes each. */
const COUNT_WINDOW = 1_000_000;
/** A row has at most 64 KiB, so this is 128 MiB at the worst. */
export const POSITION_ROWS_MAX = 2_000;
/** Where rows of the wanted types are rare, windows grow from the first to the second. */
const WINDOW_MIN = 10_000;
const WINDOW_MAX = 1_000_000;
const JOURNAL = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function createStoreAudit(store: Store, limits: StoreAuditLimits = {}): StoreAudit {
  const timeMsMax = limits.timeMsMax ?? TIME_MS_MAX;
  const table = `${store.database}.raw_events`;

  /** Runs queries one after the other under one time limit. */
  function bounded(signal: AbortSignal | undefined) {
    const deadlineMs = performance.now() + timeMsMax;
    return (sql: string): Promise<unknown[][]> => {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) {
        throw new Retryable('audit_timeout', `The store did not answer within ${timeMsMax} ms: ask for less.`);
      }
      // The engine ends it by itself; the embedded one cannot be interrupted.
      const settings = `SETTINGS max_execution_time = ${Math.ceil(leftMs / 1_000)}`;
      return store.selectValues(`${sql}\n${settings}`, signal ? { signal } : {});
    };
  }

  async function countByJournalRange(range: SeqRange, signal?: AbortSignal): Promise<TypeCount[]> {
    assertRange(range);
    const ask = bounded(signal);
    const counts = new Map<string, { rows: number; distinct: number }>();
    for (let first = range.firstSeq; first <= range.lastSeq; first += COUNT_WINDOW) {
      const last = Math.min(range.lastSeq, first + COUNT_WINDOW - 1);
      // Windows do not overlap, so distinct numbers add up.
      const cells = await ask(
        `SELECT eventType, count(), uniqExact(seq) FROM ${table} WHERE ${within(range.journal, first, last)} GROUP BY eventType`,
      );
      for (const [eventType, rows, distinct] of cells) {
        const sum = counts.get(String(eventType)) ?? { rows: 0, distinct: 0 };
        counts.set(String(eventType), { rows: sum.rows + Number(rows), distinct: sum.distinct + Number(distinct) });
      }
    }
    return [...counts].map(([eventType, sum]) => ({ eventType, ...sum }));
  }

  async function journals(signal?: AbortSignal): Promise<HeldJournal[]> {
    const cells = await bounded(signal)(
      `SELECT toString(journal), min(seq), max(seq) FROM ${table} GROUP BY journal ORDER BY journal`,
    );
    return cells.map(([journal, first, last]) => ({
      journal: String(journal),
      firstSeq: Number(first),
      lastSeq: Number(last),
    }));
  }

  async function selectByPosition(query: PositionQuery): Promise<PositionPage> {
    const { journal, afterSeq, throughSeq, eventTypes, limit } = query;
    assertRange({ journal, firstSeq: afterSeq + 1, lastSeq: Math.max(throughSeq, afterSeq + 1) });
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= POSITION_ROWS_MAX) || eventTypes.length === 0) {
      throw new RangeError(`a page has 1 to ${POSITION_ROWS_MAX} rows of one event type or more`);
    }
    const ask = bounded(query.signal);
    const types = eventTypes.map(literal).join(', ');
    const rows: PositionedRow[] = [];
    let after = afterSeq;
    for (
      let window = WINDOW_MIN;
      after < throughSeq && rows.length < limit;
      window = Math.min(window * 4, WINDOW_MAX)
    ) {
      const last = Math.min(throughSeq, after + window);
      const left = limit - rows.length;
      const page = await ask(selectRows(`${within(journal, after + 1, last)} AND eventType IN (${types})`, left));
      rows.push(...page.map(toRow));
      after = page.length < left ? last : (rows.at(-1)?.seq ?? last);
    }
    return { rows, throughSeq: after };
  }

  async function readRows(range: SeqRange, signal?: AbortSignal): Promise<readonly PositionedRow[]> {
    assertRange(range);
    if (range.lastSeq - range.firstSeq >= POSITION_ROWS_MAX) {
      throw new RangeError(`at most ${POSITION_ROWS_MAX} rows are read at a time`);
    }
    const where = within(range.journal, range.firstSeq, range.lastSeq);
    return (await bounded(signal)(selectRows(where, POSITION_ROWS_MAX))).map(toRow);
  }

  /** Times as milliseconds and microseconds: text would depend on settings. */
  function selectRows(where: string, limit: number): string {
    return `SELECT storeId, eventType, eventId, toUnixTimestamp64Micro(timestamp), userId, sessionId, data, metadata, sanitized, toUnixTimestamp64Milli(receivedAt), toString(journal), seq
FROM ${table} WHERE ${where} ORDER BY seq, receivedAt LIMIT 1 BY seq LIMIT ${limit}`;
  }

  return { countByJournalRange, journals, selectByPosition, readRows };
}

function within(journal: string, firstSeq: number, lastSeq: number): string {
  return `journal = '${journal}' AND seq BETWEEN ${firstSeq} AND ${lastSeq}`;
}

function assertRange({ journal, firstSeq, lastSeq }: SeqRange): void {
  const isRange = Number.isSafeInteger(firstSeq) && Number.isSafeInteger(lastSeq) && firstSeq >= 1;
  if (!JOURNAL.test(journal) || !isRange || lastSeq < firstSeq) {
    throw new RangeError(`not a range of positions: ${JSON.stringify([journal, firstSeq, lastSeq])}`);
  }
}

function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** Keys in the order in which the journal writes them; data and metadata keep their text. */
function toRow(cells: unknown[]): PositionedRow {
  const [storeId, eventType, eventId, timestampUs, userId, sessionId, data, metadata, sanitized, receivedAtMs] = cells;
  const [journal, seq] = cells.slice(10);
  const ids = `{"storeId":${json(storeId)},"eventType":${json(eventType)},"eventId":${json(eventId)}`;
  const user = userId === null ? '' : `,"userId":${json(userId)}`;
  const time = `,"timestamp":"${isoMicros(Number(timestampUs))}"${user},"sessionId":${json(sessionId)}`;
  const mark = sanitized === true ? ',"sanitized":true' : '';
  const received = new Date(Number(receivedAtMs)).toISOString();
  const position = `,"receivedAt":"${received}","journal":"${journal}","seq":${seq}}`;
  return {
    seq: Number(seq),
    eventType: String(eventType),
    sessionId: String(sessionId),
    eventId: String(eventId),
    json: `${ids}${time},"data":${data},"metadata":${metadata}${mark}${position}`,
  };
}

function json(value: unknown): string {
  return JSON.stringify(String(value));
}

/** Three digits of the second where three say it all, as most clients send it; else six. */
function isoMicros(micros: number): string {
  const ms = Math.floor(micros / 1_000);
  const rest = micros - ms * 1_000;
  const text = new Date(ms).toISOString();
  return rest === 0 ? text : `${text.slice(0, -1)}${String(rest).padStart(3, '0')}Z`;
}
