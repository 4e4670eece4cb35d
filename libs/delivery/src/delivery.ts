/** From the journals to the sinks: one worker for each journal and sink, and what they report. */
import type { JournalReader } from '@libs/journal';
import { type Sink, sleep } from '@libs/pipeline';
import { checkCursors } from './cursors.ts';
import type { DeliveryClock, DeliveryLimits } from './limits.ts';
import type { SinkState } from './messages.ts';
import { createSinkRunner, type DeliveryLogger, type SinkRunner } from './sink-runner.ts';
import type { State } from './state.ts';
import { isDiskFull } from './state-database.ts';
import { createWorker, type Worker } from './worker.ts';

export interface DeliveryOptions {
  readonly state: State;
  readonly sinks: readonly Sink[];
  readonly limits: DeliveryLimits;
  readonly logger: DeliveryLogger;
  readonly clock?: DeliveryClock;
  /** The sink is done with everything up to and including `seq`. */
  readonly onProgress: (journal: string, sink: string, seq: number) => void;
  /** Every sink that has a cursor in this journal is. */
  readonly onRelease: (journal: string, seq: number) => void;
  /** A bug, or a state database that fails: nothing is delivered any more, and the process must end. */
  readonly onFatal: (error: unknown) => void;
}

export interface Delivery {
  /**
   * Starts delivering a journal; one that is not known yet starts at its first frame. Returns why it must not be
   * delivered (see `checkCursors`), and then has not touched it. The reader stays the caller's to close.
   */
  add(reader: JournalReader): readonly string[];
  /**
   * For a journal whose folder is gone (drained, then removed by accept): ends its workers and forgets its cursors.
   * Resolves once the reader is no longer used.
   */
  remove(journal: string): Promise<void>;
  /** Everything up to and including `durableSeq` is durable. A journal that was not added is none of our business. */
  nudge(journal: string, durableSeq: number): void;
  /** Cut the next block of this journal as soon as it has a row. */
  flush(journal: string): void;
  /** All cursors. */
  progress(): readonly { readonly journal: string; readonly sink: string; readonly seq: number }[];
  /** What every sink has, for each journal. */
  releases(): readonly { readonly journal: string; readonly seq: number }[];
  sinkStates(): readonly SinkState[];
  /**
   * Sends what is durable now without waiting for more, and resolves when that is done, or as soon as a sink does not
   * take it, or when `signal` aborts. What is left stays in the journal, a block on its way stays cut. From then on
   * neither the state nor a reader is used. The sinks are the caller's to close.
   */
  stop(signal: AbortSignal): Promise<void>;
}

const ROLL_UP_INTERVAL_MS = 1_000;
/** Some 20 ms of work at a time. */
const ROLL_UP_ROWS = 2_000;

const SYSTEM_CLOCK: DeliveryClock = { nowMs: () => performance.now(), sleep, random: Math.random };

interface Running {
  readonly reader: JournalReader;
  readonly workers: readonly Worker[];
  /** Aborts when the journal is gone. */
  readonly gone: AbortController;
  /** Resolves once every worker has ended. */
  readonly ended: Promise<unknown>;
}

export function createDelivery(options: DeliveryOptions): Delivery {
  const { state, sinks, logger, onProgress, onRelease } = options;
  const clock = options.clock ?? SYSTEM_CLOCK;
  const drain = new AbortController();
  const halt = new AbortController();
  const runners: readonly SinkRunner[] = sinks.map((sink) =>
    createSinkRunner(sink, state.sinkTotals(sink.name), logger),
  );
  const running = new Map<string, Running>();
  const cursors = new Map<string, Map<string, number>>();
  for (const { journal, sink, seq } of state.cursors()) cursorsOf(journal).set(sink, seq);
  const timer = setInterval(rollUp, ROLL_UP_INTERVAL_MS);

  function cursorsOf(journal: string): Map<string, number> {
    const known = cursors.get(journal) ?? new Map<string, number>();
    cursors.set(journal, known);
    return known;
  }

  /** A sink that is no longer configured keeps its cursor, and with it what it has not got. */
  function releasedSeq(journal: string): number {
    return Math.min(...cursorsOf(journal).values());
  }

  function moved(journal: string, sink: string, seq: number): void {
    const before = releasedSeq(journal);
    cursorsOf(journal).set(sink, seq);
    onProgress(journal, sink, seq);
    if (releasedSeq(journal) > before) onRelease(journal, releasedSeq(journal));
  }

  function fail(error: unknown): void {
    if (halt.signal.aborted) return;
    end();
    options.onFatal(error);
  }

  function end(): void {
    clearInterval(timer);
    halt.abort(new Error('delivery has ended'));
  }

  function rollUp(): void {
    try {
      state.rollUpCounters(ROLL_UP_ROWS);
    } catch (error) {
      if (isDiskFull(error)) logger.warn({ err: error }, 'the disk is too full to fold the counters');
      else fail(error);
    }
  }

  function add(reader: JournalReader): readonly string[] {
    const { journal } = reader;
    if (running.has(journal)) throw new Error(`journal ${journal} was added before`);
    const refusals = checkCursors(state, [reader], sinks);
    if (refusals.length > 0 || drain.signal.aborted) return refusals;
    const known = cursorsOf(journal);
    for (const { name } of sinks) {
      if (known.has(name)) continue;
      state.createCursor({ journal, sink: name, seq: 0 });
      known.set(name, 0);
    }
    running.set(journal, start(reader, known));
    return [];
  }

  function start(reader: JournalReader, seqs: ReadonlyMap<string, number>): Running {
    const gone = new AbortController();
    const workers = runners.map((runner) =>
      createWorker({
        reader,
        runner,
        state,
        limits: options.limits,
        clock,
        logger,
        cursorSeq: seqs.get(runner.sink.name) as number,
        drain: drain.signal,
        halt: AbortSignal.any([halt.signal, gone.signal]),
        onProgress: (seq) => moved(reader.journal, runner.sink.name, seq),
      }),
    );
    const ended = Promise.all(workers.map((worker) => worker.run().catch(fail)));
    return { reader, workers, gone, ended };
  }

  async function remove(journal: string): Promise<void> {
    const found = running.get(journal);
    if (found === undefined) return;
    found.gone.abort(new Error(`journal ${journal} is gone`));
    await found.ended;
    running.delete(journal);
    cursors.delete(journal);
    if (!halt.signal.aborted) state.forgetJournal(journal);
  }

  async function stop(signal: AbortSignal): Promise<void> {
    const abort = (): void => end();
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    drain.abort(new Error('delivery is stopping'));
    await Promise.all([...running.values()].map(({ ended }) => ended));
    signal.removeEventListener('abort', abort);
    end();
  }

  return {
    add,
    remove,
    nudge(journal, durableSeq) {
      const found = running.get(journal);
      found?.reader.noteDurable(durableSeq);
      for (const worker of found?.workers ?? []) worker.nudge();
    },
    flush(journal) {
      for (const worker of running.get(journal)?.workers ?? []) worker.flush();
    },
    progress: () => [...cursors].flatMap(([journal, seqs]) => [...seqs].map(([sink, seq]) => ({ journal, sink, seq }))),
    releases: () => [...running.keys()].map((journal) => ({ journal, seq: releasedSeq(journal) })),
    sinkStates: () => runners.map((runner) => runner.state()),
    stop,
  };
}
