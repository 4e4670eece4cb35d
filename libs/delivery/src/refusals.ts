/** Rows that a sink refuses for good: each becomes a dead letter before it counts as done. */
import { Permanent, type RowFailure } from '@libs/pipeline';
import { type PickedRow, pickRows } from './block.ts';
import type { CountedBlock } from './block-cutter.ts';
import { CODE_LENGTH_MAX, chargeOf, MESSAGE_LENGTH_MAX, type RefusedRow } from './dead-letter.ts';
import type { DeliveryClock, DeliveryLimits } from './limits.ts';
import type { Persist } from './persist.ts';
import type { DeliveryLogger, SinkRunner } from './sink-runner.ts';
import type { State } from './state.ts';

export interface Refusals {
  /**
   * Resolves once every row given is a dead letter. Waits for room as long as there is none. Throws `Permanent`
   * (`dead_letters_in_row`) when the sink has refused too many without taking one, the reason for which waiting ended,
   * or what `persist` throws. `hasTaken`: it has taken others of this block, so that these are no sign of a mistake in
   * its setup; nor are those that are given up for their age, or an outage would end a sink for good.
   */
  record(work: CountedBlock, failures: readonly RowFailure[], attempts: number, hasTaken: boolean): Promise<void>;
}

export interface RefusalsOptions {
  readonly runner: SinkRunner;
  readonly state: State;
  readonly persist: Persist;
  readonly limits: DeliveryLimits;
  readonly clock: DeliveryClock;
  readonly logger: DeliveryLogger;
  /** Ends the waiting for room. */
  readonly waits: AbortSignal;
}

/** So that a limit which is nearly reached takes what still fits, and one that is small is not passed by much. */
const ROWS_AT_ONCE = 100;
const GROUPS_MIN = 16;

export function createRefusals(options: RefusalsOptions): Refusals {
  const { runner, state, persist, limits, clock, logger, waits } = options;
  const sink = runner.sink.name;

  async function awaitRoom(bytes: number): Promise<void> {
    while (!hasRoom(state, limits.deadLetterBytesMax, bytes)) {
      runner.noteNoRoom(
        `there is no room for more dead letters: their limit is ${limits.deadLetterBytesMax} bytes; replay or delete some`,
      );
      await clock.sleep(limits.deadLetterRetryMs, waits);
    }
    runner.noteRoom();
  }

  return {
    async record(work, failures, attempts, hasTaken) {
      if (failures.length === 0) return;
      const suspicious = hasTaken ? [] : failures.filter(({ isExpired }) => isExpired !== true);
      const isTooMany = runner.refusedInRow() + suspicious.length > limits.deadLettersInRowMax;
      if (suspicious.length > 0 && isTooMany) throw tooMany(sink, suspicious, limits);
      const sorted = failures.toSorted((one, other) => one.seq - other.seq);
      const rows = pickRows(
        work.run,
        sorted.map(({ seq }) => seq),
      );
      for (let from = 0; from < sorted.length; ) {
        const some: RefusedRow[] = [];
        let bytes = 0;
        while (from < sorted.length && some.length < ROWS_AT_ONCE && bytes * GROUPS_MIN < limits.deadLetterBytesMax) {
          const failure = sorted[from++] as RowFailure;
          const row = rows.next().value;
          if (row === undefined) throw new Error(`the block has no row ${failure.seq}`);
          some.push(refusedRow(sink, work.block.journal, row, failure, attempts));
          bytes += chargeOf(row.bytes.byteLength);
        }
        await awaitRoom(bytes);
        await persist(() => state.deadLetters.add(some));
        // A whole block may be refused, and the other sinks are not to wait for that.
        await Bun.sleep(0);
      }
      runner.noteRefused(suspicious.length);
      const [first] = sorted as [RowFailure];
      const { journal } = work.block;
      const fields = { sink, journal, rows: sorted.length, seq: first.seq, code: first.code, reason: first.message };
      logger.warn(fields, `sink ${sink} refuses rows: they are dead letters`);
    },
  };
}

/** A letter that is alone always fits, so that no limit is too small for the largest row. */
export function hasRoom(state: Pick<State, 'deadLetters'>, bytesMax: number, bytes: number): boolean {
  const held = state.deadLetters.totals().reduce((sum, totals) => sum + totals.bytes, 0);
  return held === 0 || held + bytes <= bytesMax;
}

function tooMany(sink: string, failures: readonly RowFailure[], limits: DeliveryLimits): Permanent {
  const [{ seq, code, message }] = failures as [RowFailure];
  return new Permanent(
    'dead_letters_in_row',
    `sink ${sink} has refused more than ${limits.deadLettersInRowMax} rows without taking one, now row ${seq} (${code}: ${message}): this looks like a mistake in its setup. Put it right and start again.`,
  );
}

const MINUTE_MS = 60_000;

function refusedRow(
  sink: string,
  journal: string,
  { seq, timeMs, bytes }: PickedRow,
  { code, message }: RowFailure,
  attempts: number,
): RefusedRow {
  return {
    sink,
    journal,
    seq,
    minute: Math.floor(timeMs / MINUTE_MS),
    ...namesOf(bytes),
    code: code.slice(0, CODE_LENGTH_MAX),
    message: message.slice(0, MESSAGE_LENGTH_MAX),
    attempts,
    bytes,
  };
}

/** A row that cannot be parsed is still worth keeping. */
export function namesOf(row: Uint8Array): { eventId: string; eventType: string; storeId: string } {
  let fields: Record<string, unknown> = {};
  try {
    fields = JSON.parse(new TextDecoder().decode(row));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return { eventId: text(fields['eventId']), eventType: text(fields['eventType']), storeId: text(fields['storeId']) };
}
