/**
 * Whether what was acknowledged adds up, by event type and sink. Acknowledged events are counted as they pass the store,
 * by frame time; what has not passed it yet, and what each sink is not done with, is counted in the journals at the time
 * of asking. So: acknowledged = done + dead letters + given up + pending, for every sink.
 */
import type { JournalReader } from '@libs/journal';
import { joinFrames, sliceRun } from './block.ts';
import type { CountedRange, CountRow } from './counters.ts';
import type { LetteredRows } from './dead-letter.ts';
import { STORE_SINK } from './messages.ts';
import { createRowCounter } from './row-counter.ts';
import { createSinkRanges } from './sink-ranges.ts';
import type { PlacedCursor, State } from './state.ts';

export interface ReconcileRange {
  /** Frame time in ms. Widened to whole minutes, and, far back, to the hours or days that counts are kept by. */
  readonly fromMs: number;
  /** Not included. */
  readonly toMs: number;
  /** A row for each minute (or hour, or day) and type, instead of one for each type. */
  readonly byMinute?: boolean;
}

export interface SinkFigures {
  /** Acknowledged since this sink was added; less than the row's `acknowledged` when that was within the range. */
  readonly acknowledged: number;
  readonly done: number;
  readonly deadLettered: number;
  /** Dead letters that an operator deleted. */
  readonly deleted: number;
  readonly pending: number;
}

export interface ReconcileRow {
  /** Present with `byMinute`. */
  readonly minuteMs?: number;
  readonly eventType: string;
  readonly acknowledged: number;
  /** Sinks that do not take the type are not among them. */
  readonly perSink: Readonly<Record<string, SinkFigures>>;
}

export interface Reconciliation {
  /** The range that was counted. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly rows: readonly ReconcileRow[];
  /** By sink: the positions that its `done` and dead letters stand for, to be looked for where it has sent them. */
  readonly sinkRanges: Readonly<Record<string, readonly CountedRange[]>>;
  /**
   * Durable events that wait and were not looked at, because there are too many. 0: the figures are exact. Otherwise
   * `pending` is too low and, for sinks other than the store, `done` too high, by this at the most.
   */
  readonly uncountedEvents: number;
  /** False when the counts do not allow for the dead letters and pending events: `done` would be negative somewhere. */
  readonly addsUp: boolean;
}

export interface ReconcileSource {
  readonly state: State;
  /** Journals to look into, each with a reader that nobody else moves meanwhile. */
  readonly readers: readonly JournalReader[];
  readonly sinks: readonly { readonly name: string; readonly eventTypes?: ReadonlySet<string> }[];
  readonly rowsMax: number;
  readonly signal: AbortSignal;
}

const MINUTE_MS = 60_000;
const COUNT_ROWS_MAX = 1_000_000;
const READ = { rowsMax: 10_000, bytesMax: 8_388_608 } as const;
/** A type and minute as one key; no type holds a line feed. */
const keyOf = (minute: number, eventType: string): string => `${minute}\n${eventType}`;

type Sums = Map<string, number>;

function add(sums: Sums, minute: number, eventType: string, count: number): void {
  const key = keyOf(minute, eventType);
  sums.set(key, (sums.get(key) ?? 0) + count);
}

/** Throws the signal's reason, and what reading a journal throws. */
export async function reconcile(source: ReconcileSource, range: ReconcileRange): Promise<Reconciliation> {
  const { state, sinks } = source;
  const { spans, fromMinute, untilMinute } = countedSpans(state, range);
  // One moment for everything: no await until the cursors, counts and letters are read.
  const journals = source.readers.map((reader) => ({
    reader,
    throughSeq: reader.durableSeq(),
    cursors: state
      .cursors()
      .filter(({ journal, sink }) => journal === reader.journal && sinks.some(({ name }) => name === sink))
      .map(({ journal, sink }) => state.findCursor(journal, sink) as PlacedCursor),
  }));
  const wide = spans.filter(({ spanMinutes }) => spanMinutes > 1);
  const startOf = (minute: number): number => spanStart(wide, minute);
  const ranges = state.countedRanges({ fromMinute, untilMinute });
  const letters = sumLetters(state.deadLetters.lettered(fromMinute, untilMinute), startOf);
  const deleted = sumLetters(state.deadLetters.deleted(fromMinute, untilMinute), startOf);
  const ahead = sumLetters(state.deadLetters.ahead(fromMinute, untilMinute), startOf);
  const since = new Map(state.knownSinks().map(({ sink, sinceMs }) => [sink, Math.ceil(sinceMs / MINUTE_MS)]));
  const sinkRanges = new Map(
    sinks.map(({ name }) => {
      const sinceMinute = Math.max(fromMinute, since.get(name) ?? 0);
      const counted =
        sinceMinute === fromMinute ? ranges : state.countedRanges({ fromMinute: sinceMinute, untilMinute });
      const cursors = new Map(
        journals.map((one) => [one.reader.journal, one.cursors.find(({ sink }) => sink === name)?.seq]),
      );
      return [name, createSinkRanges(counted, (journal) => cursors.get(journal))];
    }),
  );
  const pending = new Map<string, Sums>(sinks.map(({ name }) => [name, new Map()]));
  let rowsLeft = source.rowsMax;
  let uncountedEvents = 0;
  for (const { reader, throughSeq, cursors } of journals) {
    const isAsked = (minute: number) => minute >= fromMinute && minute < untilMinute;
    const found = await scanPending(reader, cursors, throughSeq, rowsLeft, source.signal, {
      onCount(behind, minute, type, n) {
        if (!isAsked(minute)) return;
        for (const sink of behind) {
          const sums = pending.get(sink);
          if (sums !== undefined) add(sums, startOf(minute), type, n);
        }
      },
      onPart(behind, minute, part) {
        if (!isAsked(minute) || !behind.includes(STORE_SINK)) return;
        for (const [name, one] of sinkRanges) {
          if (!behind.includes(name) && startOf(minute) >= (since.get(name) ?? 0)) one.addAhead(part);
        }
      },
    });
    rowsLeft -= found.rows;
    uncountedEvents += found.uncounted;
  }
  const acknowledged = sumCounts(spans);
  for (const [key, count] of pending.get(STORE_SINK) ?? []) acknowledged.set(key, (acknowledged.get(key) ?? 0) + count);

  const rows = [...acknowledged].map(([key, count]) => {
    const { minute, eventType } = splitKey(key);
    const perSink: Record<string, SinkFigures> = {};
    for (const { name, eventTypes } of sinks) {
      if (eventTypes !== undefined && !eventTypes.has(eventType)) continue;
      const isOwed = minute >= (since.get(name) ?? 0);
      perSink[name] = isOwed
        ? figures(count, key, { letters, deleted, ahead, pending: pending.get(name) as Sums, name })
        : NOTHING;
    }
    return { minuteMs: minute * MINUTE_MS, eventType, acknowledged: count, perSink };
  });
  return {
    fromMs: fromMinute * MINUTE_MS,
    toMs: untilMinute * MINUTE_MS,
    sinkRanges: Object.fromEntries([...sinkRanges].map(([name, one]) => [name, one.all()])),
    rows: (range.byMinute === true ? rows : byType(rows)).toSorted(order),
    uncountedEvents,
    addsUp: rows.every(({ perSink }) => Object.values(perSink).every(({ done }) => done >= 0)),
  };
}

const NOTHING: SinkFigures = { acknowledged: 0, done: 0, deadLettered: 0, deleted: 0, pending: 0 };

interface Parts {
  readonly letters: Sums;
  readonly deleted: Sums;
  readonly ahead: Sums;
  readonly pending: Sums;
  readonly name: string;
}

function figures(acknowledged: number, key: string, { letters, deleted, ahead, pending, name }: Parts): SinkFigures {
  const own = `${name}\n${key}`;
  const deadLettered = letters.get(own) ?? 0;
  const given = deleted.get(own) ?? 0;
  // A row of a block that is still on its way may have its letter already: it does not count as waiting, too.
  const waiting = (pending.get(key) ?? 0) - (ahead.get(own) ?? 0);
  const done = acknowledged - deadLettered - given - waiting;
  return { acknowledged, done, deadLettered, deleted: given, pending: waiting };
}

/** The counter rows of a range, which is widened until no row reaches over its edges. */
function countedSpans(state: State, { fromMs, toMs }: ReconcileRange) {
  let fromMinute = Math.max(0, Math.floor(fromMs / MINUTE_MS));
  let untilMinute = Math.ceil(toMs / MINUTE_MS);
  for (;;) {
    const dayBefore = Math.max(0, fromMinute - 1_440);
    const spans = state
      .counts({ fromMinute: dayBefore, untilMinute, rowsMax: COUNT_ROWS_MAX })
      .filter(({ startMinute, spanMinutes }) =>
        spanMinutes === 0 ? fromMinute === 0 : startMinute + spanMinutes > fromMinute,
      );
    const first = spans.reduce((least, { startMinute }) => Math.min(least, startMinute), fromMinute);
    const end = spans.reduce((most, row) => Math.max(most, row.startMinute + row.spanMinutes), untilMinute);
    if (first === fromMinute && end === untilMinute) return { spans, fromMinute, untilMinute };
    fromMinute = first;
    untilMinute = end;
  }
}

/** The start of the counter row that a minute falls into. */
function spanStart(wide: readonly CountRow[], minute: number): number {
  const span = wide.find(({ spanMinutes, startMinute }) => minute >= startMinute && minute < startMinute + spanMinutes);
  return span?.startMinute ?? minute;
}

function sumCounts(spans: readonly CountRow[]): Sums {
  const sums: Sums = new Map();
  for (const { startMinute, eventType, count } of spans) add(sums, startMinute, eventType, count);
  return sums;
}

function sumLetters(letters: readonly LetteredRows[], startOf: (minute: number) => number): Sums {
  const sums: Sums = new Map();
  for (const { sink, minute, eventType, rows } of letters) {
    const key = `${sink}\n${keyOf(startOf(minute), eventType)}`;
    sums.set(key, (sums.get(key) ?? 0) + rows);
  }
  return sums;
}

/** `behind`: the sinks that are not done with it. */
interface OnPending {
  onCount(behind: readonly string[], minute: number, eventType: string, count: number): void;
  /** Rows of one frame. */
  onPart(behind: readonly string[], minute: number, part: CountedRange): void;
}

/** Counts the rows behind each cursor. Lets others run every 10,000 rows. */
async function scanPending(
  reader: JournalReader,
  cursors: readonly PlacedCursor[],
  throughSeq: number,
  rowsMax: number,
  signal: AbortSignal,
  { onCount, onPart }: OnPending,
): Promise<{ rows: number; uncounted: number }> {
  const counter = createRowCounter();
  const places = cursors.toSorted((a, b) => a.seq - b.seq);
  const start = places[0];
  if (start === undefined) return { rows: 0, uncounted: 0 };
  let frameSeq = start.frameSeq;
  let rows = 0;
  while (frameSeq < throughSeq && rows < rowsMax) {
    signal.throwIfAborted();
    const frames = reader.read(frameSeq, READ).filter(({ lastSeq }) => lastSeq <= throughSeq);
    if (frames.length === 0) break;
    for (const frame of frames) {
      const whole = joinFrames(frame.firstSeq - 1, [frame]);
      // A cursor may stand in mid-frame: each part has its own set of sinks that are not done with it.
      const edges = places.map(({ seq }) => seq).filter((seq) => seq >= frame.firstSeq && seq < frame.lastSeq);
      let firstSeq = frame.firstSeq;
      for (const lastSeq of [...new Set([...edges, frame.lastSeq])]) {
        const behind = places.filter(({ seq }) => seq < firstSeq && seq < lastSeq).map(({ sink }) => sink);
        const part = edges.length === 0 ? whole : sliceRun(whole, firstSeq, lastSeq);
        for (const { minute, eventType, count } of counter.count(part.bytes, part.extents)) {
          onCount(behind, minute, eventType, count);
        }
        onPart(behind, Math.floor(frame.timeMs / MINUTE_MS), { journal: reader.journal, firstSeq, lastSeq });
        firstSeq = lastSeq + 1;
      }
      rows += frame.lastSeq - frame.firstSeq + 1;
      frameSeq = frame.lastSeq;
    }
    await Bun.sleep(0);
  }
  return { rows, uncounted: Math.max(0, throughSeq - frameSeq) };
}

function splitKey(key: string): { minute: number; eventType: string } {
  const at = key.indexOf('\n');
  return { minute: Number(key.slice(0, at)), eventType: key.slice(at + 1) };
}

function byType(rows: readonly ReconcileRow[]): readonly ReconcileRow[] {
  const sums = new Map<string, { eventType: string; acknowledged: number; perSink: Record<string, SinkFigures> }>();
  for (const { eventType, acknowledged, perSink } of rows) {
    const sum = sums.get(eventType) ?? { eventType, acknowledged: 0, perSink: {} };
    sums.set(eventType, sum);
    sum.acknowledged += acknowledged;
    for (const [name, part] of Object.entries(perSink)) sum.perSink[name] = plus(sum.perSink[name] ?? NOTHING, part);
  }
  return [...sums.values()];
}

function plus(a: SinkFigures, b: SinkFigures): SinkFigures {
  return {
    acknowledged: a.acknowledged + b.acknowledged,
    done: a.done + b.done,
    deadLettered: a.deadLettered + b.deadLettered,
    deleted: a.deleted + b.deleted,
    pending: a.pending + b.pending,
  };
}

function order(a: ReconcileRow, b: ReconcileRow): number {
  return (a.minuteMs ?? 0) - (b.minuteMs ?? 0) || (a.eventType < b.eventType ? -1 : 1);
}
