/**
 * One accept call for all that arrives in a turn of the event loop, whoever sent it: its events are checked back to back,
 * while code and tables are in the processor's caches, and share one promise and one question to the shared window.
 */
import type { Accept, Origin, Outcome } from '@libs/pipeline';

/** Somebody's records, and who waits for their outcomes. */
export interface TurnItem {
  readonly origin: Origin;
  /** Takes the place of the common one, for an item that has to have a call of its own. */
  readonly accept?: Accept | undefined;
  /** Called once, when the turn ends. Empty: there is nothing to accept, and neither of the other two is called. */
  records(): readonly unknown[];
  /** `outcomes[first]` is that of the first record. */
  settled(outcomes: readonly Outcome[], first: number): void;
  /** Accept failed, which is a bug of ours: what became of the records is not known. */
  failed(error: unknown): void;
}

export interface TurnDeps {
  readonly accept: Accept;
  readonly count: (outcomes: readonly Outcome[], startedMs: number) => void;
  /** Has the journal write what was accepted: waiting for another turn would only make it late. */
  readonly commit: () => void;
}

export interface Turn {
  /** The item joins what is accepted when this turn of the event loop ends. */
  take(item: TurnItem): void;
}

/** Records in one accept call; an item that has more goes alone. */
export const TURN_EVENTS_MAX = 1_000;

export function createTurn({ accept, count, commit }: TurnDeps): Turn {
  let waiting: TurnItem[] = [];

  function take(item: TurnItem): void {
    if (waiting.length === 0) setImmediate(end);
    waiting.push(item);
  }

  /** Bun runs microtasks between two requests of one poll, so only an immediate sees all of them. */
  function end(): void {
    const startedMs = performance.now();
    const items = waiting;
    waiting = [];
    let call = new Call();
    for (const item of items) {
      const records = item.records();
      if (records.length === 0) continue;
      if (item.accept !== undefined) {
        void submit(new Call().add(item, records), startedMs, item.accept);
        continue;
      }
      if (call.records.length > 0 && call.records.length + records.length > TURN_EVENTS_MAX) {
        void submit(call, startedMs);
        call = new Call();
      }
      call.add(item, records);
    }
    if (call.items.length > 0) void submit(call, startedMs);
    commit();
  }

  async function submit({ items, records, origins }: Call, startedMs: number, by = accept): Promise<void> {
    let outcomes: readonly Outcome[];
    try {
      outcomes = await by(records, { ack: 'journal', origins });
      if (outcomes.length !== records.length)
        throw new Error(`accept gave ${outcomes.length} outcomes for ${records.length} records`);
    } catch (error) {
      for (const { item } of items) item.failed(error);
      return;
    }
    count(outcomes, startedMs);
    for (const { item, first } of items) item.settled(outcomes, first);
  }

  return { take };
}

/** What one accept call is made of. */
class Call {
  readonly items: { readonly item: TurnItem; readonly first: number }[] = [];
  readonly records: unknown[] = [];
  readonly origins: Origin[] = [];

  add(item: TurnItem, records: readonly unknown[]): this {
    const { origin } = item;
    this.items.push({ item, first: this.records.length });
    for (const record of records) {
      this.records.push(record);
      this.origins.push(origin);
    }
    return this;
  }
}
