/**
 * The worker of a sink with `required: false`. It has a backlog limit of its own: past it, what waits is parked as one
 * dead letter of kind `range`, the newest half of the limit excepted, and the cursor moves on, so that such a sink never
 * fills the journal. A write that is under way then is abandoned: some of its rows may arrive twice once the range is
 * replayed. The same goes on when the sink has stopped.
 */
import { JournalGapError } from '@libs/journal';
import { Permanent } from '@libs/pipeline';
import { createBell } from './bell.ts';
import { joinFrames, sliceRun } from './block.ts';
import { chargeOf, type ParkedRange, type RangeContent, type RangeMinute } from './dead-letter.ts';
import type { Backlog } from './limits.ts';
import { createPersist } from './persist.ts';
import { hasRoom } from './refusals.ts';
import { createRowCounter } from './row-counter.ts';
import { createWorker, type Worker, type WorkerOptions } from './worker.ts';

const CHECK_MS = 1_000;
/** Rows that are counted without letting others run: some 2 ms. */
const SCAN = { rowsMax: 10_000, bytesMax: 8_388_608 } as const;

export function createOptionalWorker(options: WorkerOptions, backlog: Backlog): Worker {
  const { reader, runner, state, limits, clock, logger, drain, halt } = options;
  const place = { journal: reader.journal, sink: runner.sink.name };
  const ending = AbortSignal.any([drain, halt]);
  const bell = createBell();
  let parking = new AbortController();
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let inner = createInner(options.cursor);
  const persist = createPersist({
    limits: { minMs: limits.retryMinMs, maxMs: limits.retryMaxMs },
    clock,
    waits: ending,
    halt,
    onDiskFull(error) {
      runner.noteFailure(error);
      logger.warn({ ...place, err: error }, 'the disk is too full for the state database');
    },
  });

  function createInner(cursor: WorkerOptions['cursor']): Worker {
    return createWorker({ ...options, cursor, halt: AbortSignal.any([halt, parking.signal]) });
  }

  /** The rows that may stay when others are parked; undefined while the backlog is within its limits. */
  function rowsKept(): number | undefined {
    const { events, bytes } = inner.pending();
    const { eventsMax = Number.POSITIVE_INFINITY, bytesMax = Number.POSITIVE_INFINITY } = backlog;
    if (events <= eventsMax && bytes <= bytesMax) return undefined;
    const bytesPerRow = Math.max(bytes / Math.max(events, 1), 1);
    return Math.floor(Math.min(eventsMax, bytesMax / bytesPerRow) / 2);
  }

  function check(): void {
    if (ending.aborted || parking.signal.aborted || clock.nowMs() - lookedAtMs < CHECK_MS) return;
    if (rowsKept() === undefined) return;
    parking.abort(new Error(`the backlog of sink ${place.sink} is past its limit`));
    bell.ring();
  }

  /** Counts what is parked, by minute and type; undefined when the journal does not give it. */
  async function scan(frameSeq: number, afterSeq: number, throughSeq: number) {
    const counter = createRowCounter();
    const minutes: RangeMinute[] = [];
    let lastSeq = frameSeq;
    for (;;) {
      const isFirst = lastSeq === frameSeq;
      // One frame at the least, however large.
      const frames = reader
        .read(lastSeq, SCAN)
        .filter((frame, at) => frame.lastSeq <= throughSeq || (isFirst && at === 0));
      if (frames.length === 0) return lastSeq > afterSeq ? { lastSeq, minutes } : undefined;
      for (const frame of frames) {
        const joined = joinFrames(frame.firstSeq - 1, [frame]);
        const run = frame.firstSeq > afterSeq ? joined : sliceRun(joined, afterSeq + 1, frame.lastSeq);
        for (const { minute, eventType, count } of counter.count(run.bytes, run.extents)) {
          addTo(minutes, minute, frame.lastSeq, eventType, count);
        }
        lastSeq = frame.lastSeq;
      }
      await Bun.sleep(0);
      halt.throwIfAborted();
    }
  }

  async function park(kept: number): Promise<void> {
    const cursor = state.findCursor(place.journal, place.sink);
    if (cursor === undefined) return;
    const found = await scan(cursor.frameSeq, cursor.seq, reader.durableSeq() - kept);
    if (found === undefined) return;
    const firstSeq = cursor.seq + 1;
    const content = withoutLetters(found.minutes, firstSeq, found.lastSeq);
    const range: ParkedRange = {
      ...place,
      firstSeq,
      lastSeq: found.lastSeq,
      code: 'backlog_full',
      message: `parked because more than ${describe(backlog)} waited for this sink`,
      content,
    };
    await awaitRoom(JSON.stringify(content).length);
    await persist(() => state.parkRange(range));
    const rows = found.lastSeq - cursor.seq;
    logger.error({ ...place, firstSeq, lastSeq: found.lastSeq, rows }, `sink ${place.sink} is too far behind: parked`);
    options.onProgress(found.lastSeq);
  }

  /** Rows of the range that have letters of their own are not counted twice. */
  function withoutLetters(minutes: readonly RangeMinute[], firstSeq: number, lastSeq: number): RangeContent {
    const except = state.deadLetters.seqsWithin(place.journal, place.sink, firstSeq, lastSeq);
    const types = state.deadLetters.typesOf(place.journal, place.sink, except);
    return { minutes: without(minutes, types), except };
  }

  async function awaitRoom(contentBytes: number): Promise<void> {
    while (!hasRoom(state, limits.deadLetterBytesMax, chargeOf(contentBytes))) {
      runner.noteNoRoom(`a range cannot be parked: the limit of ${limits.deadLetterBytesMax} bytes is reached`);
      await clock.sleep(limits.deadLetterRetryMs, ending);
    }
    runner.noteRoom();
  }

  async function work(): Promise<void> {
    for (;;) {
      if (!runner.stopped.aborted) await inner.run();
      if (ending.aborted) return;
      const kept = rowsKept();
      if (kept !== undefined) await park(kept);
      if (runner.stopped.aborted) await bell.wait(CHECK_MS);
      const cursor = state.findCursor(place.journal, place.sink);
      if (cursor === undefined || ending.aborted) return;
      lookedAtMs = clock.nowMs();
      parking = new AbortController();
      inner = createInner(cursor);
    }
  }

  async function run(): Promise<void> {
    const timer = setInterval(check, CHECK_MS);
    const ring = (): void => bell.ring();
    ending.addEventListener('abort', ring);
    try {
      await work();
    } catch (error) {
      if (ending.aborted && (error === drain.reason || error === halt.reason)) return;
      if (!(error instanceof Permanent || error instanceof JournalGapError)) throw error;
      const code = error instanceof Permanent ? error.code : `cursor_${error.kind}`;
      const seq = (state.findCursor(place.journal, place.sink)?.seq ?? 0) + 1;
      runner.stop({ code, message: error.message, journal: place.journal, seq, cause: error });
    } finally {
      clearInterval(timer);
      ending.removeEventListener('abort', ring);
    }
  }

  return {
    run,
    nudge() {
      inner.nudge();
      check();
    },
    flush: () => inner.flush(),
    pending: () => inner.pending(),
  };
}

function addTo(minutes: RangeMinute[], minute: number, lastSeq: number, eventType: string, count: number): void {
  const last = minutes.at(-1);
  const isSame = last?.minute === minute;
  const types = { ...(isSame ? last.types : {}) };
  types[eventType] = (types[eventType] ?? 0) + count;
  if (isSame) minutes.pop();
  minutes.push({ minute, lastSeq, types });
}

function without(
  minutes: readonly RangeMinute[],
  letters: readonly { readonly minute: number; readonly eventType: string }[],
): readonly RangeMinute[] {
  if (letters.length === 0) return minutes;
  return minutes.map(({ minute, lastSeq, types }) => {
    const left = { ...types };
    for (const letter of letters)
      if (letter.minute === minute) left[letter.eventType] = (left[letter.eventType] ?? 1) - 1;
    return { minute, lastSeq, types: left };
  });
}

function describe({ eventsMax, bytesMax }: Backlog): string {
  return [eventsMax && `${eventsMax} events`, bytesMax && `${bytesMax} bytes`].filter(Boolean).join(' or ');
}
