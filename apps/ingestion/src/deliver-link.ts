/** Accept's end of the link to deliver: tells what is durable, hears how far each sink is and what may be released. */
import type { DeliverState } from '@libs/delivery';
import type { Journal } from '@libs/journal';
import { Retryable } from '@libs/pipeline';
import { connectLink } from '@libs/runtime';
import type { KnownWorker, ToAccept, ToDeliver, WorkerReport } from './workers.ts';

export interface DeliverLink {
  /** Everything up to and including `seq` is durable: passed on within `NUDGE_MS`. */
  durable(seq: number): void;
  /** Asks for the next block to be cut now. */
  flush(): void;
  state(): { readonly state: DeliverState; readonly ageMs: number } | undefined;
  /** The last one, however old it is. */
  lastState(): DeliverState | undefined;
  /** The accept processes as deliver last told of them; none while it is away. */
  workers(): readonly KnownWorker[];
  /** The last report of this one; undefined where nobody is told any. */
  said(): KnownWorker | undefined;
  ask(path: string, init: RequestInit): Promise<Response>;
  /** Ends the queries that deliver has not answered yet: the service is going away. */
  giveUp(): void;
  close(): void;
}

export interface DeliverLinkOptions {
  readonly linkPath: string;
  readonly queryPath: string;
  readonly journal: Journal;
  /** The sink is done with everything of this journal, ours or another one of the data folder, up to and including `seq`. */
  readonly onProgress: (journal: string, sink: string, seq: number) => void;
  /** What deliver is to tell the other accept processes, asked once a second; absent where there is no other one. */
  readonly report?: (() => WorkerReport) | undefined;
}

/** Many commits share one nudge; deliver polls every 50 ms anyway. */
const NUDGE_MS = 5;
const REPEAT_MS = 1_000;
const STATE_AGE_MAX_MS = 5_000;

export function createDeliverLink(options: DeliverLinkOptions): DeliverLink {
  const { journal } = options;
  const goingAway = new AbortController();
  let nudge: ReturnType<typeof setTimeout> | undefined;
  let last: { state: DeliverState; atMs: number } | undefined;
  let said: { report: WorkerReport; atMs: number } | undefined;
  let told: { workers: readonly KnownWorker[]; atMs: number } | undefined;

  const link = connectLink<ToAccept, ToDeliver>({
    path: options.linkPath,
    onOpen: sendDurable,
    onMessage,
    onClose: () => {
      if (last !== undefined) last = { ...last, atMs: Number.NEGATIVE_INFINITY };
      told = undefined;
    },
  });
  const repeat = setInterval(() => {
    sendDurable();
    if (options.report !== undefined) say(options.report());
  }, REPEAT_MS);

  function say(report: WorkerReport): void {
    said = { report, atMs: performance.now() };
    link.send({ t: 'worker', report });
  }

  function sendDurable(): void {
    clearTimeout(nudge);
    nudge = undefined;
    link.send({ t: 'durable', journal: journal.id, seq: journal.durableSeq() });
    for (const leftover of journal.leftovers())
      link.send({ t: 'durable', journal: leftover.journal, seq: leftover.lastSeq });
  }

  function onMessage(message: ToAccept): void {
    if (message.t === 'state') last = { state: message, atMs: performance.now() };
    else if (message.t === 'workers') told = { workers: message.workers, atMs: performance.now() };
    else if (message.t === 'release') journal.release(message.journal, message.seq);
    else options.onProgress(message.journal, message.sink, message.seq);
  }

  async function ask(path: string, init: RequestInit): Promise<Response> {
    const signal = init.signal ? AbortSignal.any([init.signal, goingAway.signal]) : goingAway.signal;
    try {
      return await fetch(`http://deliver${path}`, { ...init, signal, unix: options.queryPath });
    } catch (cause) {
      if (init.signal?.aborted === true) throw cause;
      throw new Retryable('deliver_unreachable', 'The process that answers queries is being started again.', { cause });
    }
  }

  return {
    durable() {
      nudge ??= setTimeout(sendDurable, NUDGE_MS);
    },
    flush() {
      sendDurable();
      link.send({ t: 'flush', journal: journal.id });
    },
    state() {
      const ageMs = last === undefined ? Number.POSITIVE_INFINITY : performance.now() - last.atMs;
      return last === undefined || ageMs > STATE_AGE_MAX_MS ? undefined : { state: last.state, ageMs };
    },
    lastState: () => last?.state,
    workers() {
      if (told === undefined) return [];
      const sinceMs = ageOf(told);
      return told.workers.map(({ report, ageMs }) => ({ report, ageMs: ageMs + sinceMs }));
    },
    said: () => (said === undefined ? undefined : { report: said.report, ageMs: ageOf(said) }),
    ask,
    giveUp: () => goingAway.abort(),
    close() {
      clearInterval(repeat);
      clearTimeout(nudge);
      link.close();
    },
  };
}

const ageOf = ({ atMs }: { readonly atMs: number }): number => Math.round(performance.now() - atMs);
