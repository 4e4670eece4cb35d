/**
 * Sends one block until the sink has it: the same bytes under the same token, however often. Rows that the sink
 * refuses for good become dead letters on the way, and those that it does not take for now are sent again by themselves.
 */
import { type Block, Overloaded, Permanent, Retryable, type RowFailure, retry, type Sink } from '@libs/pipeline';
import type { CountedBlock } from './block-cutter.ts';
import type { DeliveryClock, DeliveryLimits, DeliverySignals } from './limits.ts';
import { type Persist, StateFailed } from './persist.ts';
import type { Refusals } from './refusals.ts';
import type { DeliveryLogger, SinkRunner } from './sink-runner.ts';
import type { State } from './state.ts';
import { unlessAborted } from './unless-aborted.ts';

/** Rows of the block were not stored, for now. */
class RowsLeft extends Retryable {
  /** Others were. */
  readonly hasProgressed: boolean;
  constructor(left: readonly RowFailure[], hasProgressed: boolean) {
    const [{ seq, code, message }] = left as [RowFailure];
    super(code, `${left.length} rows were not stored, the first of them ${seq}: ${message}`, { ambiguous: true });
    this.name = 'RowsLeft';
    this.hasProgressed = hasProgressed;
  }
}

export interface Sending {
  /** The block was recorded before; its attempts so far. 0: it has just been cut. */
  readonly recordedAttempts: number;
  /** Rows of it may be stored. */
  readonly ambiguous: boolean;
  /** Rows that need not be sent (any more): stored, or dead letters. The sender adds to it. */
  readonly settled: Set<number>;
}

/** A block on its way. */
interface Sent {
  readonly work: CountedBlock;
  readonly settled: Set<number>;
  /** Rows that the sink has still to say something about. */
  ownRows: number;
  /** The coming attempt is in the state already. */
  isCounted: boolean;
  /** The sink has taken rows of its own. */
  hasTaken: boolean;
}

type Only = ReadonlySet<number> | undefined;

export interface BlockSender {
  /** Connects, trying until it succeeds. Throws `Permanent`, or the reason for which waiting ended. */
  connect(): Promise<void>;
  /**
   * Resolves with the number of retries once every row is stored or a dead letter. Throws `Permanent` (of scope `rows`:
   * nothing of what was left is stored, unless the block is in doubt), the reason for which waiting ended (the block
   * then stays cut), or what `persist` throws.
   */
  send(work: CountedBlock, before: Sending): Promise<number>;
  /** Whether rows of the last block may be stored that are not settled. */
  isInDoubt(): boolean;
  /** How often the last block was sent. */
  attempts(): number;
}

export interface BlockSenderOptions extends DeliverySignals {
  readonly journal: string;
  readonly runner: SinkRunner;
  readonly state: State;
  readonly persist: Persist;
  readonly refusals: Refusals;
  readonly limits: DeliveryLimits;
  readonly clock: DeliveryClock;
  readonly logger: DeliveryLogger;
  /** Ends the waiting between attempts. */
  readonly waits: AbortSignal;
}

export function createBlockSender(options: BlockSenderOptions): BlockSender {
  const { journal, runner, state, persist, refusals, limits, clock, logger, waits, halt } = options;
  const { sink } = runner;
  let ambiguous = false;
  let attempts = 0;
  const waiting = {
    minMs: limits.retryMinMs,
    maxMs: limits.retryMaxMs,
    signal: waits,
    random: clock.random,
    sleep: clock.sleep,
    isFinal: (error: unknown) => error instanceof StateFailed || (waits.aborted && error === waits.reason),
    isProgress: (error: unknown) => error instanceof RowsLeft && error.hasProgressed,
  };

  function noteRetry(error: unknown, fields: object, message: string): void {
    if (halt.aborted) return;
    runner.noteFailure(error);
    logger.warn({ journal, sink: sink.name, ...fields, err: error }, message);
  }

  async function write(block: Block, only: Only): Promise<readonly RowFailure[]> {
    const ending = new AbortController();
    const overdue = new Error(`the write was not done within ${limits.writeTimeoutMs} ms`);
    const timer = setTimeout(() => ending.abort(overdue), limits.writeTimeoutMs);
    const onHalt = (): void => ending.abort(halt.reason);
    halt.addEventListener('abort', onHalt, { once: true });
    try {
      const writing =
        only === undefined
          ? sink.write(block, { signal: ending.signal, ambiguous })
          : sink.write(block, { signal: ending.signal, ambiguous, only });
      return await unlessAborted(writing, halt);
    } finally {
      clearTimeout(timer);
      halt.removeEventListener('abort', onHalt);
    }
  }

  /** All but `failures` is stored. Throws when some of them are to be sent again. */
  async function sortOut(sending: Sent, failures: readonly RowFailure[], only: Only, taken: number): Promise<void> {
    ambiguous = true;
    const { block } = sending.work;
    const failed = new Set(failures.map(({ seq }) => seq));
    if (failed.size < failures.length || !failures.every(({ seq }) => isPart(seq, block, only))) {
      throw new Error(`sink ${sink.name} refuses rows that it was not given`);
    }
    const forGood = failures.filter(({ permanent }) => permanent);
    await refusals.record(sending.work, forGood, attempts, sending.hasTaken);
    const left = failures.filter(({ permanent }) => !permanent);
    const leftSeqs = new Set(left.map(({ seq }) => seq));
    for (const seq of only ?? seqsOf(block)) if (!leftSeqs.has(seq)) sending.settled.add(seq);
    sending.ownRows = left.length;
    if (left.length > 0) throw new RowsLeft(left, taken > 0 || forGood.length > 0);
  }

  async function attempt(sending: Sent): Promise<void> {
    const { block } = sending.work;
    const only = unsettled(block, sending.settled);
    if (only?.size === 0) return;
    await unlessAborted(runner.connect(halt), halt);
    if (sending.isCounted) sending.isCounted = false;
    else {
      await persist(() => state.countAttempt(journal, sink.name));
      attempts++;
    }
    const startMs = clock.nowMs();
    let failures: readonly RowFailure[];
    try {
      failures = await write(block, only);
    } catch (error) {
      ambiguous ||= mayBeStored(error);
      throw error;
    }
    const taken = sending.ownRows - failures.length;
    if (taken > 0) {
      runner.noteTaken();
      sending.hasTaken = true;
    }
    if (failures.length > 0) await sortOut(sending, failures, only, taken);
    runner.noteWritten(clock.nowMs() - startMs);
  }

  async function send(work: CountedBlock, before: Sending): Promise<number> {
    const { firstSeq, lastSeq } = work.block;
    const { settled, recordedAttempts } = before;
    const ownRows = ownRowsOf(work, sink) - countWithin(settled, work.block);
    const sending: Sent = { work, settled, ownRows, isCounted: recordedAttempts === 0, hasTaken: false };
    ambiguous = before.ambiguous;
    attempts = Math.max(recordedAttempts, 1);
    let retries = 0;

    function onRetry(error: unknown, failures: number, waitMs: number): void {
      retries++;
      if (!(error instanceof Overloaded || error instanceof RowsLeft)) runner.disconnected();
      const fields = { firstSeq, lastSeq, failures, waitMs: Math.round(waitMs), ambiguous };
      const what = error instanceof RowsLeft ? 'some rows: they' : 'a block: it';
      noteRetry(error, fields, `sink ${sink.name} did not take ${what} will be sent again`);
    }

    try {
      await retry(() => attempt(sending), { ...waiting, onRetry });
      return retries;
    } catch (error) {
      if (!ambiguous && waits.aborted && !halt.aborted) await persist(() => state.markUnsent(journal, sink.name));
      throw error;
    }
  }

  return {
    connect: () =>
      retry(() => unlessAborted(runner.connect(halt), halt), {
        ...waiting,
        onRetry: (error, failures, waitMs) =>
          noteRetry(error, { failures, waitMs: Math.round(waitMs) }, `sink ${sink.name} cannot be reached`),
      }),
    send,
    isInDoubt: () => ambiguous,
    attempts: () => attempts,
  };
}

/** Rows of the types that the sink takes. */
function ownRowsOf({ counts }: CountedBlock, { eventTypes }: Sink): number {
  const own = eventTypes === undefined ? counts : counts.filter(({ eventType }) => eventTypes.has(eventType));
  return own.reduce((sum, { count }) => sum + count, 0);
}

function* seqsOf({ firstSeq, lastSeq }: Block): Iterable<number> {
  for (let seq = firstSeq; seq <= lastSeq; seq++) yield seq;
}

function isPart(seq: number, { firstSeq, lastSeq }: Block, only: Only): boolean {
  return only === undefined ? seq >= firstSeq && seq <= lastSeq : only.has(seq);
}

function countWithin(settled: ReadonlySet<number>, block: Block): number {
  let count = 0;
  for (const seq of settled) if (isPart(seq, block, undefined)) count++;
  return count;
}

/** What is still to be sent; undefined: everything. */
export function unsettled(block: Block, settled: ReadonlySet<number>): ReadonlySet<number> | undefined {
  if (countWithin(settled, block) === 0) return undefined;
  return new Set(seqsOf(block)).difference(settled);
}

/** Only an error that says so proves that nothing was stored. */
function mayBeStored(error: unknown): boolean {
  if (error instanceof Retryable) return error.ambiguous;
  return !(error instanceof Overloaded || error instanceof Permanent);
}
