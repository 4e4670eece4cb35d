/**
 * From parsed records to outcomes: validate, deduplicate, append, wait for the disk. No promise per event: what shares a
 * frame shares its promise, and so does what shares a question to the window that instances share.
 */
import type { ClaimVerdict } from '@libs/database/redis';
import { ID_BYTES, type IdHash, type Journal } from '@libs/journal';
import type { Checked, EventModel, EventOrigin } from '@libs/models';
import {
  type Accept,
  type AcceptOptions,
  type AckLevel,
  type CopyElsewhere,
  journalTag,
  type Origin,
  type Outcome,
  type Rejected,
  type Retry,
} from '@libs/pipeline';
import type { Claims } from './claims.ts';

export interface StoredWatch {
  /** Resolves once everything up to and including `seq` has reached the level, or at the time limit or abort. */
  reached(seq: number, level: AckLevel, signal: AbortSignal | undefined): Promise<void>;
  /** The level that a durable event has reached by now, but not above `highest`. */
  levelOf(seq: number, highest: AckLevel): AckLevel;
}

export interface AcceptDeps {
  readonly model: EventModel;
  readonly journal: Journal;
  readonly stored: StoredWatch;
  readonly wallMs: () => number;
  /** Absent: no other process takes events for the same stores. */
  readonly claims?: Claims | undefined;
}

/** Rows of one batch go to the journal in pieces of about this many UTF-16 units, so that no frame grows huge. */
const PIECE_LENGTH = 1 << 20;
/** Three bytes of UTF-8 for each UTF-16 unit at most, and ids of 16 bytes for rows of more than 100. */
const PIECE_BYTES_PER_UNIT = 4;
/** What the journal adds to a row: `,"receivedAt":"…","journal":"…","seq":…}` and a line feed. */
const TAIL_LENGTH = 120;
const ID_WORDS = ID_BYTES / Uint32Array.BYTES_PER_ELEMENT;

/** A source's origin with the time added. Its fields may cost something to find out, so they are only passed on. */
class Arrival implements EventOrigin {
  readonly receivedAtMs: number;
  from: Origin | undefined;
  constructor(from: Origin | undefined, receivedAtMs: number) {
    this.from = from;
    this.receivedAtMs = receivedAtMs;
  }
  get ipAddress(): string | undefined {
    return this.from?.ipAddress;
  }
  get userAgent(): string | undefined {
    return this.from?.userAgent;
  }
  get referrer(): string | undefined {
    return this.from?.referrer;
  }
}

type Good = Extract<Checked, { ok: true }>;
interface Piece {
  text: string;
  count: number;
}
/** One call of accept: `good[i]` is record `i` when it may be stored and its outcome is still open. */
interface Batch {
  readonly good: (Good | undefined)[];
  /** The hashed id of each, `ID_WORDS` words; zeros where there is none. */
  readonly ids: Uint32Array;
  readonly outcomes: Outcome[];
  readonly nowMs: number;
  /** The shared window was not reached for at least one of the records. */
  isLocal: boolean;
}

export function createAccept(deps: AcceptDeps): Accept {
  const { model, journal, claims, wallMs } = deps;
  const hash: IdHash = new Uint32Array(4);
  const tailOf = createTail(journal.id);
  const pieceLength = Math.min(PIECE_LENGTH, Math.floor(journal.frameBytesMax / PIECE_BYTES_PER_UNIT));

  async function accept(records: readonly unknown[], options: AcceptOptions): Promise<Outcome[]> {
    const batch = check(records, options);
    const { outcomes } = batch;
    const atomic = options.atomic === true;
    if (atomic && batch.good.includes(undefined)) return refuseRest(outcomes, NOT_STORED);
    const claimed = claims === undefined ? [] : await claimNew(batch, claims);
    const lastSeq = atomic ? appendAll(batch) : append(batch);
    if (claimed.length > 0) giveBack(batch, claimed);
    if (lastSeq === 0) return outcomes;
    // Frames become durable in order, so the last one speaks for all, unless it failed.
    const allDurable = await journal.durableOf(lastSeq);
    if (!allDurable) failBeyond(journal.durableSeq(), outcomes);
    // Before the wait for the store, which may be longer than the life of a claim.
    if (claimed.length > 0) confirm(batch, claimed);
    if (allDurable && options.ack !== 'journal') {
      await deps.stored.reached(lastSeq, options.ack, options.signal);
      raise(outcomes, options.ack);
    }
    return outcomes;
  }

  function check(records: readonly unknown[], { origin, origins }: AcceptOptions): Batch {
    const nowMs = wallMs();
    const arrival = new Arrival(origin, nowMs);
    const good: Batch['good'] = new Array(records.length);
    const ids = new Uint32Array(records.length * ID_WORDS);
    const outcomes: Outcome[] = new Array(records.length);
    for (let at = 0; at < records.length; at++) {
      if (origins !== undefined) arrival.from = origins[at];
      const checked = model.check(records[at], arrival);
      if (checked.ok) {
        good[at] = checked;
        journal.hash(checked.key, hash);
        for (let word = 0; word < ID_WORDS; word++) ids[at * ID_WORDS + word] = hash[word] as number;
      } else {
        good[at] = undefined;
        outcomes[at] = rejected(checked);
      }
    }
    journal.prefetch(ids);
    return { good, ids, outcomes, nowMs, isLocal: false };
  }

  /** Asks the shared window for every id that is not known here; resolves to the records that are ours to append. */
  async function claimNew(batch: Batch, from: Claims): Promise<number[]> {
    const asked: number[] = [];
    const keys: string[] = [];
    for (const [at, one] of batch.good.entries()) {
      if (one === undefined || !isNew(batch, at)) continue;
      asked.push(at);
      keys.push(one.key);
    }
    if (asked.length === 0) return [];
    const verdicts = await from.claim(keys);
    return asked.filter((at, index) => isOurs(batch, at, verdicts[index] as ClaimVerdict));
  }

  function isOurs(batch: Batch, at: number, verdict: ClaimVerdict): boolean {
    if (verdict.kind === 'skipped') batch.isLocal = true;
    if (verdict.kind === 'claimed' || verdict.kind === 'skipped') return true;
    batch.good[at] = undefined;
    batch.outcomes[at] =
      verdict.kind === 'duplicate' ? duplicateElsewhere(verdict.copy) : claimedElsewhere(verdict.afterMs);
    return false;
  }

  /** What was claimed and did not get in is free for others, and for its sender's next attempt elsewhere. */
  function giveBack({ good, outcomes }: Batch, claimed: readonly number[]): void {
    const refused = claimed.filter((at) => outcomes[at]?.kind === 'retry' || outcomes[at]?.kind === 'rejected');
    if (refused.length > 0) claims?.release(refused.map((at) => (good[at] as Good).key));
  }

  function confirm({ good, outcomes }: Batch, claimed: readonly number[]): void {
    const durable = claimed.filter((at) => outcomes[at]?.kind === 'accepted');
    if (durable.length > 0) claims?.confirm(durable.map((at) => (good[at] as Good).key));
  }

  /**
   * Appends record by record and writes down every outcome as it will be when the disk has everything up to the
   * sequence number that this returns (0: nothing waits for the disk).
   */
  function append(batch: Batch): number {
    const { good, outcomes } = batch;
    const tail = tailOf(batch.nowMs);
    const piece = { text: '', count: 0 };
    let lastSeq = 0;
    try {
      for (let at = 0; at < good.length; at++) {
        const one = good[at];
        if (one === undefined) continue;
        const first = findAt(batch, at);
        if (first !== 0) {
          lastSeq = Math.max(lastSeq, duplicate(outcomes, at, first));
          continue;
        }
        if (journal.wasSeen(hash)) {
          outcomes[at] = duplicateOfLeftover();
          continue;
        }
        const length = one.row.length + TAIL_LENGTH;
        if (piece.text.length + length > pieceLength) flush(piece);
        const noRoom = journal.noRoom(piece.text.length + length, piece.count + 1);
        if (noRoom !== undefined) {
          outcomes[at] = { kind: 'retry', ...noRoom };
          continue;
        }
        const seq = journal.claim(hash);
        piece.text += `${one.row + tail + seq}}\n`;
        piece.count += 1;
        outcomes[at] = accepted(seq, batch.isLocal);
        lastSeq = seq;
      }
    } finally {
      // Also when a bug of ours ends the loop: an id that was claimed without its row would stop every later append.
      flush(piece);
    }
    return lastSeq;
  }

  function accepted(seq: number, isLocal: boolean): Outcome {
    if (isLocal) return { kind: 'accepted', journal: journal.id, seq, level: 'journal', deduplication: 'local' };
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

  /** The event stands in a journal that nobody writes any more: all of that is durable. */
  function duplicateOfLeftover(): Outcome {
    const found = journal.seenIn(hash);
    return duplicateElsewhere(found && { journalTag: journalTag(found.journal), throughSeq: found.lastSeq });
  }

  /** `highest`: the level that the caller waited for. */
  function raise(outcomes: Outcome[], highest: AckLevel): void {
    for (const [at, outcome] of outcomes.entries()) {
      const seq = seqOf(outcome);
      const level = seq === undefined ? 'journal' : deps.stored.levelOf(seq, highest);
      if (level !== 'journal') outcomes[at] = { ...outcome, level } as Outcome;
    }
  }

  function flush(piece: Piece): void {
    if (piece.count > 0) journal.append(piece.text, piece.count);
    piece.text = '';
    piece.count = 0;
  }

  /** All or nothing: every record was checked, and its id asked for, before the first is appended; one frame takes the new ones. */
  function appendAll(batch: Batch): number {
    const { good, outcomes } = batch;
    const claimedElsewhere = outcomes.find((outcome) => outcome?.kind === 'retry');
    if (claimedElsewhere !== undefined) return refuseAll(batch, claimedElsewhere);
    const added = good.filter((one, at) => one !== undefined && isNew(batch, at)) as Good[];
    const length = added.reduce((sum, one) => sum + one.row.length + TAIL_LENGTH, 0);
    const bytes = byteLength(added);
    if (bytes + added.length * ID_BYTES > journal.frameBytesMax) return refuseAll(batch, TOO_LARGE);
    const noRoom = added.length > 0 ? journal.noRoom(length, added.length, bytes) : undefined;
    if (noRoom !== undefined) return refuseAll(batch, { kind: 'retry', ...noRoom });

    const tail = tailOf(batch.nowMs);
    let lastSeq = 0;
    let text = '';
    let count = 0;
    for (const [at, one] of good.entries()) {
      if (one === undefined) continue;
      const first = findAt(batch, at);
      if (first !== 0) lastSeq = Math.max(lastSeq, duplicate(outcomes, at, first));
      else if (journal.wasSeen(hash)) outcomes[at] = duplicateOfLeftover();
      else {
        const seq = journal.claim(hash);
        text += `${one.row + tail + seq}}\n`;
        count += 1;
        outcomes[at] = accepted(seq, batch.isLocal);
        lastSeq = seq;
      }
    }
    if (count > 0) journal.append(text, count);
    return lastSeq;
  }

  function isNew(batch: Batch, at: number): boolean {
    return findAt(batch, at) === 0 && !journal.wasSeen(hash);
  }

  /** What the journal's `find` says of record `at`, whose id is in `hash` from then on. */
  function findAt({ ids }: Batch, at: number): number {
    for (let word = 0; word < ID_WORDS; word++) hash[word] = ids[at * ID_WORDS + word] as number;
    return journal.find(hash);
  }

  return accept;
}

/** Nothing of the batch is stored: also what would have been a duplicate is sent again with the rest. */
function refuseAll({ outcomes }: Batch, outcome: Outcome): number {
  outcomes.fill(outcome);
  return 0;
}

const DURABLE_DUPLICATE: Outcome = { kind: 'duplicate', level: 'journal' };

/** No journal has this tag: nobody ever says that what stands there has been stored. */
const NOBODY_KNOWS_WHERE: CopyElsewhere = { journalTag: '', throughSeq: Number.MAX_SAFE_INTEGER };

function duplicateElsewhere(elsewhere: CopyElsewhere = NOBODY_KNOWS_WHERE): Outcome {
  return { kind: 'duplicate', level: 'journal', elsewhere };
}

const FAILED: Retry = {
  kind: 'retry',
  code: 'journal_failed',
  message: 'the journal could not be written; whether this event stands in it is not known yet',
  afterMs: 1_000,
};

function claimedElsewhere(afterMs: number): Retry {
  const message = 'another process has this event and has not made it durable yet';
  return { kind: 'retry', code: 'claimed_elsewhere', message, afterMs };
}

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

/** What is rejected for its own sake keeps its own words. */
function refuseRest(outcomes: Outcome[], outcome: Rejected): Outcome[] {
  for (let at = 0; at < outcomes.length; at++) outcomes[at] ??= outcome;
  return outcomes;
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
