/** Sends one block until the sink has it: the same bytes under the same token, however often. */
import { type Block, Overloaded, Permanent, Retryable, type RowFailure, retry } from '@libs/pipeline';
import type { DeliveryClock, DeliveryLimits, DeliverySignals } from './limits.ts';
import { type Persist, StateFailed } from './persist.ts';
import type { DeliveryLogger, SinkRunner } from './sink-runner.ts';
import type { State } from './state.ts';

/** A sink refused one row for good. */
export class RowRefused extends Permanent {
  readonly seq: number;
  constructor(sink: string, failure: RowFailure) {
    super(failure.code, `sink ${sink} refuses row ${failure.seq} for good: ${failure.message}`);
    this.name = 'RowRefused';
    this.seq = failure.seq;
  }
}

export interface BlockSender {
  /** Connects, trying until it succeeds. Throws `Permanent`, or the reason for which waiting ended. */
  connect(): Promise<void>;
  /**
   * Resolves with the number of retries once every row is stored. Throws `Permanent` (also `RowRefused`), the reason
   * for which waiting ended (the block then stays cut), or what `persist` throws.
   */
  send(block: Block, before: { readonly isRecorded: boolean; readonly ambiguous: boolean }): Promise<number>;
}

export interface BlockSenderOptions extends DeliverySignals {
  readonly journal: string;
  readonly runner: SinkRunner;
  readonly state: State;
  readonly persist: Persist;
  readonly limits: DeliveryLimits;
  readonly clock: DeliveryClock;
  readonly logger: DeliveryLogger;
  /** Ends the waiting between attempts. */
  readonly waits: AbortSignal;
}

export function createBlockSender(options: BlockSenderOptions): BlockSender {
  const { journal, runner, state, persist, limits, clock, logger, waits, halt } = options;
  const { sink } = runner;
  const waiting = {
    minMs: limits.retryMinMs,
    maxMs: limits.retryMaxMs,
    signal: waits,
    random: clock.random,
    sleep: clock.sleep,
    isFinal: (error: unknown) => error instanceof StateFailed,
  };

  function noteRetry(error: unknown, fields: object, message: string): void {
    if (halt.aborted) return;
    runner.noteFailure(error);
    logger.warn({ journal, sink: sink.name, ...fields, err: error }, message);
  }

  async function write(block: Block, ambiguous: boolean): Promise<void> {
    const ending = new AbortController();
    const overdue = new Error(`the write was not done within ${limits.writeTimeoutMs} ms`);
    const timer = setTimeout(() => ending.abort(overdue), limits.writeTimeoutMs);
    const onHalt = (): void => ending.abort(halt.reason);
    halt.addEventListener('abort', onHalt, { once: true });
    try {
      const refused = await unlessAborted(sink.write(block, { signal: ending.signal, ambiguous }), halt);
      requireAllStored(sink.name, refused);
    } finally {
      clearTimeout(timer);
      halt.removeEventListener('abort', onHalt);
    }
  }

  async function send(
    block: Block,
    before: { readonly isRecorded: boolean; readonly ambiguous: boolean },
  ): Promise<number> {
    let { ambiguous } = before;
    let isCounted = !before.isRecorded;
    let retries = 0;

    async function attempt(): Promise<void> {
      await unlessAborted(runner.connect(halt), halt);
      if (!isCounted) await persist(() => state.countAttempt(journal, sink.name));
      isCounted = false;
      const startMs = clock.nowMs();
      try {
        await write(block, ambiguous);
      } catch (error) {
        ambiguous ||= mayBeStored(error);
        throw error;
      }
      runner.noteWritten(clock.nowMs() - startMs);
    }

    function onRetry(error: unknown, failures: number, waitMs: number): void {
      retries = failures;
      if (!(error instanceof Overloaded)) runner.disconnected();
      const { firstSeq, lastSeq } = block;
      const fields = { firstSeq, lastSeq, failures, waitMs: Math.round(waitMs), ambiguous };
      noteRetry(error, fields, `sink ${sink.name} did not take a block: it will be sent again`);
    }

    try {
      await retry(attempt, { ...waiting, onRetry });
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
  };
}

/** Only an error that says so proves that nothing was stored. */
function mayBeStored(error: unknown): boolean {
  if (error instanceof Retryable) return error.ambiguous;
  return !(error instanceof Overloaded || error instanceof Permanent);
}

function requireAllStored(sink: string, refused: readonly RowFailure[]): void {
  const forGood = refused.find(({ permanent }) => permanent);
  if (forGood !== undefined) throw new RowRefused(sink, forGood);
  const [first] = refused;
  if (first === undefined) return;
  const message = `${refused.length} rows were not stored, the first of them ${first.seq}: ${first.message}`;
  throw new Retryable(first.code, message, { ambiguous: true });
}

/** Waits for a promise no longer than until the signal aborts; throws its reason then. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
