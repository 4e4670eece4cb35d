/**
 * Dead letters sent again, each to the sink that refused it and to no other. A row goes as a block of one row, with its
 * first position and a token of its own, and always as one that may be stored already: so that a replay which was
 * interrupted at any point is simply made again.
 */
import { type Block, Permanent, type RowFailure } from '@libs/pipeline';
import { blockToken } from './block.ts';
import type { DeadLetter, RangeContent, RangeMinute, RefusedRow } from './dead-letter.ts';
import { CODE_LENGTH_MAX, MESSAGE_LENGTH_MAX } from './dead-letter.ts';
import { parseContent } from './dead-letter-table.ts';
import type { DeliveryLimits } from './limits.ts';
import { StateFailed } from './persist.ts';
import { namesOf } from './refusals.ts';
import type { SinkRunner } from './sink-runner.ts';
import type { State } from './state.ts';
import { isDiskFull } from './state-database.ts';
import { unlessAborted } from './unless-aborted.ts';

export type ReplayOutcome =
  /** The sink has it (for a range: all of it), and the letter is gone. */
  | { readonly id: number; readonly outcome: 'replayed'; readonly rows: number }
  /**
   * The letter stays. `code`: the sink's own, or `sink_missing` (not configured), `rows_missing` (rows of a range are
   * not in the store yet, or no more), `ranges_unavailable`, `interrupted`. `rows` of a range were replayed before.
   */
  | {
      readonly id: number;
      readonly outcome: 'failed';
      readonly code: string;
      readonly message: string;
      readonly rows: number;
    }
  | { readonly id: number; readonly outcome: 'not_found' }
  /** Another replay works on it. */
  | { readonly id: number; readonly outcome: 'in_progress' };

/** A row as `raw_events` gives it back: the JSON object, without a line feed. */
export interface ReadRow {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

/** The rows of a journal that the store holds within a range (both ends included), in order, each once. */
export type ReadRows = (
  journal: string,
  firstSeq: number,
  lastSeq: number,
  signal: AbortSignal,
) => Promise<readonly ReadRow[]>;

export interface ReplayerOptions {
  readonly state: State;
  readonly runners: readonly SinkRunner[];
  readonly limits: DeliveryLimits;
  readonly readRows?: ReadRows;
  /** Aborts when delivery ends: nothing is changed from then on. */
  readonly ended: AbortSignal;
  readonly onFatal: (error: unknown) => void;
}

export interface Replayer {
  /** One outcome for each id, in order. Ends early, with `interrupted`, when `signal` aborts. Never rejects. */
  replay(ids: readonly number[], signal: AbortSignal): Promise<readonly ReplayOutcome[]>;
  isReplaying(id: number): boolean;
}

const CONCURRENCY = 4;
const RANGE_ROWS = 1_000;

export function createReplayer(options: ReplayerOptions): Replayer {
  const { state, runners, limits, readRows, ended, onFatal } = options;
  const busy = new Set<number>();
  const { deadLetters } = state;

  async function write(runner: SinkRunner, block: Block, signal: AbortSignal): Promise<readonly RowFailure[]> {
    const ending = AbortSignal.any([signal, AbortSignal.timeout(limits.writeTimeoutMs)]);
    await unlessAborted(runner.connect(ending), ending);
    return unlessAborted(runner.sink.write(block, { signal: ending, ambiguous: true }), ending);
  }

  async function replayRow(letter: DeadLetter, bytes: Uint8Array, runner: SinkRunner, signal: AbortSignal) {
    const [failure] = await write(runner, blockFrom(letter.journal, [{ seq: letter.firstSeq, bytes }]), signal);
    ended.throwIfAborted();
    if (failure !== undefined) throw new Permanent(failure.code, failure.message);
    changed(() => deadLetters.settle(letter));
    return 1;
  }

  /** Slice by slice; what was replayed leaves the range at once. Returns the number of rows that did. */
  async function replayRange(found: Found, runner: SinkRunner, signal: AbortSignal, done: (rows: number) => void) {
    let { letter } = found;
    let content = parseContent(found.bytes);
    while (letter.firstSeq <= letter.lastSeq) {
      const slice = sliceOf(letter, content);
      const rows = await rowsOf(letter, slice.lastSeq, content, signal);
      const refused: RefusedRow[] = [];
      for (const run of contiguous(rows)) {
        const failures = await write(runner, blockFrom(letter.journal, run), signal);
        const passing = failures.find(({ permanent }) => !permanent);
        if (passing !== undefined) throw new Permanent(passing.code, passing.message);
        refused.push(...failures.map((failure) => asRefused(letter, slice.minute, run, failure)));
      }
      ended.throwIfAborted();
      const left = contentAfter(content, slice.lastSeq, rows);
      const replayed = rows.length - refused.length;
      const firstSeq = slice.lastSeq + 1;
      changed(() => deadLetters.shrinkRange(letter, firstSeq, left, { replayed, refused }));
      done(replayed);
      letter = { ...letter, firstSeq };
      content = left;
    }
  }

  /** Every row of a slice: from the store, or from a dead letter of the store. */
  async function rowsOf(letter: DeadLetter, lastSeq: number, content: RangeContent, signal: AbortSignal) {
    if (readRows === undefined) throw new Permanent('ranges_unavailable', 'nobody here can read rows of the store');
    const { journal, firstSeq } = letter;
    const except = new Set(content.except);
    const stored = new Map(
      (await unlessAborted(readRows(journal, firstSeq, lastSeq, signal), signal)).map(({ seq, bytes }) => [seq, bytes]),
    );
    const rows: ReadRow[] = [];
    for (let seq = firstSeq; seq <= lastSeq; seq++) {
      if (except.has(seq)) continue;
      const bytes = stored.get(seq) ?? deadLetters.findRow(journal, seq);
      if (bytes === undefined) {
        throw new Permanent(
          'rows_missing',
          `event ${seq} of journal ${journal} is not in the store (yet, or any more)`,
        );
      }
      rows.push({ seq, bytes });
    }
    return rows;
  }

  async function replayOne(id: number, signal: AbortSignal): Promise<ReplayOutcome> {
    if (busy.has(id)) return { id, outcome: 'in_progress' };
    const found = deadLetters.get(id);
    if (found === undefined) return { id, outcome: 'not_found' };
    const { letter, bytes } = found;
    const runner = runners.find(({ sink }) => sink.name === letter.sink);
    if (runner === undefined) return failed(id, 'sink_missing', `sink ${letter.sink} is not configured`, 0);
    busy.add(id);
    let rows = 0;
    try {
      if (letter.kind === 'row') rows = await replayRow(letter, bytes, runner, signal);
      else await replayRange(found, runner, signal, (more) => (rows += more));
      return { id, outcome: 'replayed', rows };
    } catch (error) {
      if (error instanceof StateFailed) throw error;
      if (signal.aborted) return failed(id, 'interrupted', 'the replay was ended', rows);
      const reason = reasonOf(error);
      changed(() => deadLetters.refuseAgain(id, reason));
      return failed(id, reason.code, reason.message, rows);
    } finally {
      busy.delete(id);
    }
  }

  function stateFailed(id: number, error: unknown): ReplayOutcome {
    if (error instanceof StateFailed && isDiskFull(error.cause))
      return failed(id, 'disk_full', 'the disk is too full for the state database', 0);
    onFatal(error);
    return failed(id, 'state_failed', 'the state database failed', 0);
  }

  async function replay(ids: readonly number[], asked: AbortSignal): Promise<readonly ReplayOutcome[]> {
    const signal = AbortSignal.any([asked, ended]);
    const outcomes: ReplayOutcome[] = [];
    let next = 0;
    async function work(): Promise<void> {
      while (next < ids.length) {
        const at = next++;
        const id = ids[at] as number;
        outcomes[at] = signal.aborted
          ? failed(id, 'interrupted', 'the replay was ended', 0)
          : await replayOne(id, signal).catch((error: unknown) => stateFailed(id, error));
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    return outcomes;
  }

  return { replay, isReplaying: (id) => busy.has(id) };
}

/** What fails here is the state's fault, and never a reason to keep a letter under the sink's name. */
function changed(transaction: () => void): void {
  try {
    transaction();
  } catch (error) {
    throw new StateFailed(error);
  }
}

interface Found {
  readonly letter: DeadLetter;
  readonly bytes: Uint8Array;
}

function failed(id: number, code: string, message: string, rows: number): ReplayOutcome {
  return { id, outcome: 'failed', code, message, rows };
}

function reasonOf(error: unknown): { code: string; message: string } {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return {
    code: (typeof code === 'string' ? code : 'failed').slice(0, CODE_LENGTH_MAX),
    message: String(message ?? error).slice(0, MESSAGE_LENGTH_MAX),
  };
}

const LINE_FEED = Buffer.from('\n');

/** Rows that follow one another. */
function blockFrom(journal: string, rows: readonly ReadRow[]): Block {
  const bytes = Buffer.concat(rows.flatMap((row) => [row.bytes, LINE_FEED]));
  const firstSeq = (rows[0] as ReadRow).seq;
  const lastSeq = firstSeq + rows.length - 1;
  const token = blockToken({ journal, firstSeq, lastSeq }, bytes);
  return { journal, firstSeq, lastSeq, chunks: [bytes], byteLength: bytes.byteLength, token };
}

function contiguous(rows: readonly ReadRow[]): ReadRow[][] {
  const runs: ReadRow[][] = [];
  for (const row of rows) {
    const run = runs.at(-1);
    if (run !== undefined && run.at(-1)?.seq === row.seq - 1) run.push(row);
    else runs.push([row]);
  }
  return runs;
}

/** The next rows of a range, all of one minute. */
function sliceOf({ firstSeq, lastSeq }: DeadLetter, { minutes }: RangeContent): { lastSeq: number; minute: number } {
  const minute = minutes[0] as RangeMinute;
  return { lastSeq: Math.min(lastSeq, minute.lastSeq, firstSeq + RANGE_ROWS - 1), minute: minute.minute };
}

function contentAfter(content: RangeContent, throughSeq: number, rows: readonly ReadRow[]): RangeContent {
  const [first, ...later] = content.minutes as readonly [RangeMinute, ...RangeMinute[]];
  const except = content.except.filter((seq) => seq > throughSeq);
  if (first.lastSeq <= throughSeq) return { minutes: later, except };
  const types = { ...first.types };
  for (const { bytes } of rows) {
    const { eventType } = namesOf(bytes);
    types[eventType] = (types[eventType] ?? 0) - 1;
  }
  return { minutes: [{ ...first, types }, ...later], except };
}

function asRefused(letter: DeadLetter, minute: number, run: readonly ReadRow[], failure: RowFailure): RefusedRow {
  const row = run.find(({ seq }) => seq === failure.seq);
  if (row === undefined) throw new Error(`sink ${letter.sink} refuses row ${failure.seq}, which it was not given`);
  const { sink, journal } = letter;
  const code = failure.code.slice(0, CODE_LENGTH_MAX);
  const message = failure.message.slice(0, MESSAGE_LENGTH_MAX);
  return { sink, journal, seq: row.seq, minute, ...namesOf(row.bytes), code, message, attempts: 1, bytes: row.bytes };
}
