/**
 * From parsed records to outcomes: validate, deduplicate, append, wait for the disk. One pass over a batch, no
 * promise per event: what shares a frame shares its promise.
 */
import type { IdHash, Journal } from '@libs/journal';
import type { Checked, EventModel, EventOrigin } from '@libs/models';
import type { Accept, AcceptOptions, Origin, Outcome, Rejected, Retry } from '@libs/pipeline';

export interface StoredWatch {
  /** Resolves to true once the store has everything up to and including `seq`, to false at the time limit or abort. */
  reached(seq: number, signal: AbortSignal | undefined): Promise<boolean>;
}

export interface AcceptDeps {
  readonly model: EventModel;
  readonly journal: Journal;
  readonly stored: StoredWatch;
  readonly wallMs: () => number;
}

/** Rows of one batch go to the journal in pieces of about this many UTF-16 units, so that no frame grows huge. */
const PIECE_LENGTH = 1 << 20;
/** Three bytes of UTF-8 for each UTF-16 unit at most, and ids of 16 bytes for rows of more than 100. */
const PIECE_BYTES_PER_UNIT = 4;
/** What the journal adds to a row: `,"receivedAt":"…","journal":"…","seq":…}` and a line feed. */
const TAIL_LENGTH = 120;
/** What the journal keeps of each id, in the same frame. */
const ID_BYTES = 16;

/** A source's origin with the time added. Its fields may cost something to find out, so they are only passed on. */
class Arrival implements EventOrigin {
  readonly receivedAtMs: number;
  readonly #origin: Origin | undefined;
  constructor(origin: Origin | undefined, receivedAtMs: number) {
    this.receivedAtMs = receivedAtMs;
    this.#origin = origin;
  }
  get ipAddress(): string | undefined {
    return this.#origin?.ipAddress;
  }
  get userAgent(): string | undefined {
    return this.#origin?.userAgent;
  }
  get referrer(): string | undefined {
    return this.#origin?.referrer;
  }
}

type Good = Extract<Checked, { ok: true }>;
interface Piece {
  text: string;
  count: number;
}

export function createAccept(deps: AcceptDeps): Accept {
  const { model, journal, wallMs } = deps;
  const hash: IdHash = new Uint32Array(4);
  const tailOf = createTail(journal.id);
  const pieceLength = Math.min(PIECE_LENGTH, Math.floor(journal.frameBytesMax / PIECE_BYTES_PER_UNIT));

  async function accept(records: readonly unknown[], options: AcceptOptions): Promise<Outcome[]> {
    const nowMs = wallMs();
    const outcomes: Outcome[] = new Array(records.length);
    const lastSeq =
      options.atomic === true
        ? appendAll(records, options, nowMs, outcomes)
        : append(records, options, nowMs, outcomes);
    if (lastSeq === 0) return outcomes;
    // Frames become durable in order, so the last one speaks for all, unless it failed.
    const allDurable = await journal.durableOf(lastSeq);
    if (!allDurable) failBeyond(journal.durableSeq(), outcomes);
    else if (options.ack === 'stored' && (await deps.stored.reached(lastSeq, options.signal))) raiseToStored(outcomes);
    return outcomes;
  }

  /**
   * Appends record by record and writes down every outcome as it will be when the disk has everything up to the
   * sequence number that this returns (0: nothing waits for the disk).
   */
  function append(records: readonly unknown[], options: AcceptOptions, nowMs: number, outcomes: Outcome[]): number {
    const origin = new Arrival(options.origin, nowMs);
    const tail = tailOf(nowMs);
    const piece = { text: '', count: 0 };
    let lastSeq = 0;
    try {
      for (let at = 0; at < records.length; at++) {
        const checked = model.check(records[at], origin);
        if (!checked.ok) {
          outcomes[at] = rejected(checked);
          continue;
        }
        journal.hash(checked.key, hash);
        const first = journal.find(hash);
        if (first !== 0) {
          lastSeq = Math.max(lastSeq, duplicate(outcomes, at, first));
          continue;
        }
        if (journal.wasSeen(hash)) {
          outcomes[at] = DURABLE_DUPLICATE;
          continue;
        }
        const length = checked.row.length + TAIL_LENGTH;
        if (piece.text.length + length > pieceLength) flush(piece);
        const noRoom = journal.noRoom(piece.text.length + length, piece.count + 1);
        if (noRoom !== undefined) {
          outcomes[at] = { kind: 'retry', ...noRoom };
          continue;
        }
        const seq = journal.claim(hash);
        piece.text += `${checked.row + tail + seq}}\n`;
        piece.count += 1;
        outcomes[at] = accepted(seq);
        lastSeq = seq;
      }
    } finally {
      // Also when a bug of ours ends the loop: an id that was claimed without its row would stop every later append.
      flush(piece);
    }
    return lastSeq;
  }

  function accepted(seq: number): Outcome {
    return { kind: 'accepted', journal: journal.id, seq, level: 'journal' };
  }

  /** The first copy's sequence number while it is still in flight, else 0: only the former is waited for, and named. */
  function duplicate(outcomes: Outcome[], at: number, first: number): number {
    if (first <= journal.durableSeq()) {
      outcomes[at] = DURABLE_DUPLICATE;
      return 0;
    }
    outcomes[at] = { kind: 'duplicate', level: 'journal', position: { journal: journal.id, seq: first } };
    return first;
  }

  function flush(piece: Piece): void {
    if (piece.count > 0) journal.append(piece.text, piece.count);
    piece.text = '';
    piece.count = 0;
  }

  /** All or nothing: every record is checked before the first is claimed, and the new ones stand in one frame. */
  function appendAll(records: readonly unknown[], options: AcceptOptions, nowMs: number, outcomes: Outcome[]): number {
    const origin = new Arrival(options.origin, nowMs);
    const good: Good[] = [];
    for (let at = 0; at < records.length; at++) {
      const checked = model.check(records[at], origin);
      if (checked.ok) good.push(checked);
      else outcomes[at] = rejected(checked);
    }
    if (good.length < records.length) return refuseRest(outcomes, NOT_STORED);
    const added = good.filter(isNew);
    const length = added.reduce((sum, one) => sum + one.row.length + TAIL_LENGTH, 0);
    const bytes = byteLength(added);
    if (bytes + added.length * ID_BYTES > journal.frameBytesMax) return refuseRest(outcomes, TOO_LARGE);
    const noRoom = added.length > 0 ? journal.noRoom(length, added.length, bytes) : undefined;
    if (noRoom !== undefined) return refuseRest(outcomes, { kind: 'retry', ...noRoom });

    const tail = tailOf(nowMs);
    let lastSeq = 0;
    let text = '';
    let count = 0;
    for (const [at, { key, row }] of good.entries()) {
      journal.hash(key, hash);
      const first = journal.find(hash);
      if (first !== 0) lastSeq = Math.max(lastSeq, duplicate(outcomes, at, first));
      else if (journal.wasSeen(hash)) outcomes[at] = DURABLE_DUPLICATE;
      else {
        const seq = journal.claim(hash);
        text += `${row + tail + seq}}\n`;
        count += 1;
        outcomes[at] = accepted(seq);
        lastSeq = seq;
      }
    }
    if (count > 0) journal.append(text, count);
    return lastSeq;
  }

  function isNew({ key }: Good): boolean {
    journal.hash(key, hash);
    return journal.find(hash) === 0 && !journal.wasSeen(hash);
  }

  return accept;
}

const DURABLE_DUPLICATE: Outcome = { kind: 'duplicate', level: 'journal' };

const FAILED: Retry = {
  kind: 'retry',
  code: 'journal_failed',
  message: 'the journal could not be written; whether this event stands in it is not known yet',
  afterMs: 1_000,
};

const NOT_STORED: Rejected = {
  kind: 'rejected',
  code: 'batch_rejected',
  field: '',
  message: 'not stored, because failOnError is set and another event of the batch was rejected',
};

const TOO_LARGE: Rejected = {
  kind: 'rejected',
  code: 'batch_too_large',
  field: '',
  message: 'not stored: with failOnError a batch must fit into one frame of the journal; send a smaller one',
};

function refuseRest(outcomes: Outcome[], outcome: Rejected | Retry): number {
  for (let at = 0; at < outcomes.length; at++) outcomes[at] ??= outcome;
  return 0;
}

/** The sequence number that an outcome waited for. */
function seqOf(outcome: Outcome): number | undefined {
  if (outcome.kind === 'accepted') return outcome.seq;
  return outcome.kind === 'duplicate' ? outcome.position?.seq : undefined;
}

function failBeyond(durableSeq: number, outcomes: Outcome[]): void {
  for (const [at, outcome] of outcomes.entries()) {
    const seq = seqOf(outcome);
    if (seq !== undefined && seq > durableSeq) outcomes[at] = FAILED;
  }
}

function raiseToStored(outcomes: Outcome[]): void {
  for (const [at, outcome] of outcomes.entries())
    if (seqOf(outcome) !== undefined) outcomes[at] = { ...outcome, level: 'stored' } as Outcome;
}

function rejected({ code, field, message }: Extract<Checked, { ok: false }>): Rejected {
  return { kind: 'rejected', code, field, message };
}

function byteLength(rows: readonly Good[]): number {
  return rows.reduce((sum, one) => sum + Buffer.byteLength(one.row) + TAIL_LENGTH, 0);
}

/** The end of every row up to its sequence number, made once a millisecond. */
function createTail(journal: string): (nowMs: number) => string {
  let madeFor = -1;
  let tail = '';
  return (nowMs) => {
    if (nowMs !== madeFor) {
      madeFor = nowMs;
      tail = `,"receivedAt":"${new Date(nowMs).toISOString()}","journal":"${journal}","seq":`;
    }
    return tail;
  };
}
