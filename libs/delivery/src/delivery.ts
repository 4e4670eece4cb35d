/** From the journals to the sinks: one worker for each journal and sink, and what they report. */
import type { JournalReader } from '@libs/journal';
import { Overloaded, sleep } from '@libs/pipeline';
import { checkCursors, missingCursors } from './cursors.ts';
import { createDeadLetterDesk } from './dead-letter-desk.ts';
import type { Delivery, DeliveryOptions, RemovedSink } from './delivery-types.ts';
import { DEFAULT_DEAD_LETTER_LIMITS, type DeliveryClock, type DeliveryLimits } from './limits.ts';
import type { SinkState } from './messages.ts';
import { createOptionalWorker } from './optional-worker.ts';
import { type ReconcileRange, type Reconciliation, reconcile } from './reconcile.ts';
import { createReplayer } from './replay.ts';
import { backlogOf, checkEntries, registerSinks, type SinkEntry } from './sink-entry.ts';
import { createSinkRunner, type SinkRunner } from './sink-runner.ts';
import { isDiskFull } from './state-database.ts';
import { createWorker, type Worker } from './worker.ts';

const ROLL_UP_INTERVAL_MS = 1_000;
/** Some 20 ms of work at a time. */
const ROLL_UP_ROWS = 2_000;

const SYSTEM_CLOCK: DeliveryClock = { nowMs: () => performance.now(), sleep, random: Math.random };

/** Rows that one reconciliation counts in the journals: about a second of work. */
const RECONCILE_ROWS_MAX = 2_000_000;
/** Under way and waiting. */
const RECONCILES_MAX = 16;
const RECONCILE_RETRY_MS = 2_000;

interface Running {
  readonly reader: JournalReader;
  /** Those of its own. */
  readonly readers: readonly JournalReader[];
  readonly open: (() => JournalReader) | undefined;
  readonly workers: ReadonlyMap<string, Worker>;
  /** Aborts when the journal is gone. */
  readonly gone: AbortController;
  /** Resolves once every worker has ended. */
  readonly ended: Promise<unknown>;
}

/** Throws for sinks that contradict themselves. */
export function createDelivery(options: DeliveryOptions): Delivery {
  const { state, sinks, logger, onProgress, onRelease } = options;
  const limits: DeliveryLimits = { ...DEFAULT_DEAD_LETTER_LIMITS, ...options.limits };
  const clock = options.clock ?? SYSTEM_CLOCK;
  const drain = new AbortController();
  const halt = new AbortController();
  checkEntries(sinks);
  registerSinks(state, sinks, options.startedAtMs ?? Date.now());
  const runners: readonly SinkRunner[] = sinks.map(({ sink }) =>
    createSinkRunner(sink, state.sinkTotals(sink.name), logger),
  );
  const running = new Map<string, Running>();
  const cursors = new Map<string, Map<string, number>>();
  /** What was released when somebody began to count; nothing is released before he has done. */
  const held = new Map<string, number>();
  let reconciling = 0;
  let lastTurn: Promise<void> = Promise.resolve();
  for (const { journal, sink, seq } of state.cursors()) cursorsOf(journal).set(sink, seq);
  const replayer = createReplayer({
    ...options,
    runners,
    limits,
    ended: halt.signal,
    onFatal: fail,
  });
  const timer = setInterval(rollUp, ROLL_UP_INTERVAL_MS);

  function cursorsOf(journal: string): Map<string, number> {
    const known = cursors.get(journal) ?? new Map<string, number>();
    cursors.set(journal, known);
    return known;
  }

  /** A sink that is no longer configured keeps its cursor, and with it what it has not got. */
  function releasedSeq(journal: string): number {
    return held.get(journal) ?? Math.min(...cursorsOf(journal).values());
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

  function add(reader: JournalReader, open?: () => JournalReader): readonly string[] {
    const { journal } = reader;
    if (running.has(journal)) throw new Error(`journal ${journal} was added before`);
    const owners = sinks.map(({ sink, from }) => ({ name: sink.name, ...(from === undefined ? {} : { from }) }));
    const refusals = checkCursors(state, [reader], owners);
    if (refusals.length > 0 || drain.signal.aborted) return refusals;
    const missing = missingCursors(state, reader, owners);
    if (missing.length > 0) state.createCursors(missing);
    for (const { sink, seq } of missing) cursorsOf(journal).set(sink, seq);
    running.set(journal, start(reader, open));
    return [];
  }

  function start(reader: JournalReader, open: (() => JournalReader) | undefined): Running {
    const gone = new AbortController();
    const readers: JournalReader[] = [];
    const workers = new Map<string, Worker>();
    for (const [index, runner] of runners.entries()) {
      const own = index === 0 || open === undefined ? reader : open();
      if (own !== reader) {
        own.noteDurable(reader.durableSeq());
        readers.push(own);
      }
      workers.set(runner.sink.name, createWorkerFor(sinks[index] as SinkEntry, runner, own, gone.signal));
    }
    const ended = Promise.all([...workers.values()].map((worker) => worker.run().catch(fail))).finally(() => {
      for (const one of readers) one.close();
    });
    return { reader, readers, open, workers, gone, ended };
  }

  function createWorkerFor(entry: SinkEntry, runner: SinkRunner, reader: JournalReader, gone: AbortSignal): Worker {
    const { name } = entry.sink;
    const cursor = state.findCursor(reader.journal, name);
    if (cursor === undefined) throw new Error(`sink ${name} has no cursor in journal ${reader.journal}`);
    const workerOptions = {
      reader,
      runner,
      state,
      limits,
      blockIntervalMs: entry.blockIntervalMs ?? 0,
      clock,
      logger,
      cursor,
      drain: drain.signal,
      halt: AbortSignal.any([halt.signal, gone]),
      onProgress: (seq: number) => moved(reader.journal, name, seq),
    };
    const backlog = backlogOf(entry);
    return backlog === undefined ? createWorker(workerOptions) : createOptionalWorker(workerOptions, backlog);
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

  function sinkState(runner: SinkRunner, index: number): SinkState {
    const { name } = runner.sink;
    const pending = [...running.values()].flatMap(({ workers }) => workers.get(name)?.pending() ?? []);
    const oldest = pending.flatMap(({ oldestMs }) => oldestMs ?? []);
    const letters = state.deadLetters.totals().find(({ sink }) => sink === name);
    return {
      ...runner.state(),
      required: sinks[index]?.required ?? true,
      pendingEvents: pending.reduce((sum, { events }) => sum + events, 0),
      pendingBytes: pending.reduce((sum, { bytes }) => sum + bytes, 0),
      ...(oldest.length === 0 ? {} : { oldestPendingAgeMs: Math.max(0, Date.now() - Math.min(...oldest)) }),
      deadLetters: letters?.rows ?? 0,
    };
  }

  function removedSinks(): readonly RemovedSink[] {
    const configured = new Set(sinks.map(({ sink }) => sink.name));
    const names = state.knownSinks().flatMap(({ sink }) => (configured.has(sink) ? [] : sink));
    return names.map((sink) => ({
      sink,
      journals: [...cursors].flatMap(([journal, seqs]) => {
        const seq = seqs.get(sink);
        if (seq === undefined) return [];
        // At the start nobody has said yet what is durable; what other sinks have certainly is.
        const endSeq = Math.max(running.get(journal)?.reader.durableSeq() ?? 0, ...seqs.values());
        return { journal, seq, pendingEvents: endSeq - seq };
      }),
    }));
  }

  function dropSink(name: string): boolean {
    if (!removedSinks().some(({ sink }) => sink === name)) return false;
    state.dropSink(name);
    for (const [journal, seqs] of cursors) {
      const before = releasedSeq(journal);
      seqs.delete(name);
      if (running.has(journal) && releasedSeq(journal) > before) onRelease(journal, releasedSeq(journal));
    }
    logger.warn({ sink: name }, `sink ${name} was dropped: what it had not got, it will not get`);
    return true;
  }

  /** One after the other: nothing is released while somebody counts, so those who count must not overlap for ever. */
  async function reconcileInTurn(range: ReconcileRange, signal: AbortSignal): Promise<Reconciliation> {
    if (reconciling >= RECONCILES_MAX)
      throw new Overloaded('reconcile_busy', 'Others are reconciling: ask again later.', RECONCILE_RETRY_MS);
    reconciling++;
    const turn = lastTurn.then(() => reconcileNow(range, AbortSignal.any([signal, halt.signal])));
    lastTurn = turn.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await turn;
    } finally {
      reconciling--;
    }
  }

  async function reconcileNow(range: ReconcileRange, signal: AbortSignal): Promise<Reconciliation> {
    signal.throwIfAborted();
    const own: JournalReader[] = [];
    for (const journal of running.keys()) held.set(journal, releasedSeq(journal));
    try {
      const readers = [...running.values()].map(({ reader, open }) => {
        if (open === undefined) return reader;
        const opened = open();
        own.push(opened);
        opened.noteDurable(reader.durableSeq());
        return opened;
      });
      const configured = sinks.map(({ sink }) => sink);
      return await reconcile({ state, readers, sinks: configured, rowsMax: RECONCILE_ROWS_MAX, signal }, range);
    } finally {
      for (const one of own) one.close();
      letGo();
    }
  }

  function letGo(): void {
    const before = new Map(held);
    held.clear();
    for (const [journal, seq] of before) {
      if (running.has(journal) && releasedSeq(journal) > seq) onRelease(journal, releasedSeq(journal));
    }
  }

  return {
    add,
    remove,
    nudge(journal, durableSeq) {
      const found = running.get(journal);
      if (found === undefined) return;
      for (const reader of [found.reader, ...found.readers]) reader.noteDurable(durableSeq);
      for (const worker of found.workers.values()) worker.nudge();
    },
    flush(journal) {
      for (const worker of running.get(journal)?.workers.values() ?? []) worker.flush();
    },
    progress: () => [...cursors].flatMap(([journal, seqs]) => [...seqs].map(([sink, seq]) => ({ journal, sink, seq }))),
    releases: () => [...running.keys()].map((journal) => ({ journal, seq: releasedSeq(journal) })),
    sinkStates: () => runners.map(sinkState),
    deadLetters: createDeadLetterDesk(state, replayer, limits.deadLetterBytesMax),
    removedSinks,
    dropSink,
    reconcile: reconcileInTurn,
    stop,
  };
}
