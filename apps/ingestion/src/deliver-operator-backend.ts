/** What operators ask, put to the parts of deliver that know it. */
import type { StoreAudit } from '@libs/database';
import { type Delivery, type FoundLetter, type ListedLetter, type Reconciliation, STORE_SINK } from '@libs/delivery';
import type { OperatorBackend } from './deliver-operators.ts';
import type { DeadLetter, DeadLetterSelection, OperatorSink, ReconcileReport } from './operator-requests.ts';

export interface OperatorBackendOptions {
  readonly delivery: Pick<
    Delivery,
    'deadLetters' | 'progress' | 'sinkStates' | 'removedSinks' | 'dropSink' | 'reconcile'
  >;
  readonly audit: Pick<StoreAudit, 'journals' | 'selectByPosition'>;
  /** Counts what a sink really holds of an interval; a sink that it does not know keeps the count of its cursor. */
  readonly countStored?: CountStored;
}

export interface StoredCount {
  /** Each event once. */
  readonly stored: number;
  readonly duplicates: number;
}

export interface StoredCounts {
  /** Absent: what its cursor has passed. */
  readonly byEventType?: ReadonlyMap<string, StoredCount>;
  /** Where they were counted, as a sentence. */
  readonly source: string;
  /** Why they may not be all, one sentence each. */
  readonly caveats?: readonly string[];
}

/** What a sink should hold. */
export interface CountInterval {
  readonly ranges: Reconciliation['sinkRanges'][string];
  /** When the first of them were accepted, in milliseconds since 1970. */
  readonly fromMs: number;
  /** By event type: how many of them it has taken, by its cursor. */
  readonly done: ReadonlyMap<string, number>;
  /** Read back what is otherwise believed. */
  readonly deep: boolean;
}

export type CountStored = (
  sink: string,
  interval: CountInterval,
  signal: AbortSignal,
) => Promise<StoredCounts | undefined>;

const BY_CURSOR = 'what its cursor has passed, less dead letters';

export function createOperatorBackend({ delivery, audit, countStored }: OperatorBackendOptions): OperatorBackend {
  const { deadLetters } = delivery;

  /** In steps, with room for others between them; letters that are being replayed stay. */
  async function deleteAll(selection: DeadLetterSelection): Promise<number> {
    let sum = 0;
    for (;;) {
      const { deleted, more } = deadLetters.delete(selection);
      sum += deleted;
      if (!more || deleted === 0) return sum;
      await Bun.sleep(0);
    }
  }

  function sinks(): OperatorSink[] {
    const configured = delivery.sinkStates().map((sink) => ({
      name: sink.name,
      removed: false,
      state: sink.state,
      ...(sink.stopped === undefined ? {} : { stopped: sink.stopped }),
      ...(sink.lastError === undefined ? {} : { lastError: sink.lastError }),
      required: sink.required,
      pendingEvents: sink.pendingEvents,
      pendingBytes: sink.pendingBytes,
      ...(sink.oldestPendingAgeMs === undefined ? {} : { oldestPendingAgeMs: sink.oldestPendingAgeMs }),
      deadLetters: sink.deadLetters,
    }));
    const letters = deadLetters.stats().sinks;
    const removed = delivery.removedSinks().map(({ sink }) => ({
      name: sink,
      removed: true,
      pendingEvents: pendingOf(sink),
      deadLetters: letters.find((one) => one.sink === sink)?.rows ?? 0,
    }));
    return [...configured, ...removed];
  }

  function pendingOf(name: string): number {
    const journals = delivery.removedSinks().find(({ sink }) => sink === name)?.journals ?? [];
    return journals.reduce((sum, { pendingEvents }) => sum + pendingEvents, 0);
  }

  async function reconcile(
    interval: { readonly fromMs: number; readonly toMs: number; readonly deep: boolean },
    signal: AbortSignal,
  ): Promise<ReconcileReport> {
    const figures = await delivery.reconcile({ fromMs: interval.fromMs, toMs: interval.toMs }, signal);
    const { fromMs, toMs } = figures;
    const names = new Set(figures.rows.flatMap(({ perSink }) => Object.keys(perSink)));
    const counted = new Map<string, StoredCounts>();
    for (const name of names) {
      const done = new Map(figures.rows.map(({ eventType, perSink }) => [eventType, perSink[name]?.done ?? 0]));
      const ranges = figures.sinkRanges[name] ?? [];
      const counts = await countStored?.(name, { ranges, fromMs, done, deep: interval.deep }, signal);
      if (counts !== undefined) counted.set(name, counts);
    }
    const rows = figures.rows.map(({ eventType, acknowledged, perSink }) => ({
      eventType,
      acknowledged,
      sinks: Object.fromEntries(
        Object.entries(perSink).map(([name, { done, ...same }]) => {
          const byEventType = counted.get(name)?.byEventType;
          const count = byEventType === undefined ? undefined : (byEventType.get(eventType) ?? NONE);
          return [name, { ...same, stored: count?.stored ?? done, duplicates: count?.duplicates ?? 0 }];
        }),
      ),
    }));
    const sources = Object.fromEntries([...names].map((name) => [name, counted.get(name)?.source ?? BY_CURSOR]));
    const caveats = [...counted.values()].flatMap((one) => one.caveats ?? []);
    return { fromMs, toMs, rows, sources, caveats: [...caveatsOf(figures), ...caveats] };
  }

  return {
    listDeadLetters: (filter, page) => deadLetters.list({ ...filter, ...page }).map(summaryOf),
    getDeadLetter(id) {
      const found = deadLetters.get(id);
      return found === undefined ? undefined : letterOf(found);
    },
    replay: async (selection, limit, signal) => {
      const limited = 'ids' in selection ? { ids: selection.ids.slice(0, limit) } : { ...selection, limit };
      return (await deadLetters.replay(limited, signal)).outcomes;
    },
    deleteDeadLetters: deleteAll,
    reconcile,
    sinks,
    dropSink(name) {
      if (delivery.sinkStates().some((sink) => sink.name === name)) return { outcome: 'configured' };
      const pendingEvents = pendingOf(name);
      return delivery.dropSink(name) ? { outcome: 'dropped', pendingEvents } : { outcome: 'unknown' };
    },
    storedPositions: () => delivery.progress().filter(({ sink }) => sink === STORE_SINK),
    heldJournals: (signal) => audit.journals(signal),
    selectRows: (query) => audit.selectByPosition(query),
  };
}

const NONE: StoredCount = { stored: 0, duplicates: 0 };

function summaryOf({ chargedBytes, ...letter }: ListedLetter): DeadLetter {
  return { ...letter, byteLength: letter.kind === 'row' ? chargedBytes : 0 };
}

function letterOf({ letter, bytes }: FoundLetter): DeadLetter {
  if (bytes === undefined) return summaryOf(letter);
  return { ...summaryOf(letter), byteLength: bytes.byteLength, event: new TextDecoder().decode(bytes) };
}

function caveatsOf({ uncountedEvents, addsUp }: Reconciliation): string[] {
  return [
    ...(uncountedEvents === 0
      ? []
      : [
          `${uncountedEvents} events wait in the journals and were not looked at, because there are too many: pending is too low, and for sinks other than the store stored is too high, by so many at the most. Ask again once the backlog is smaller.`,
        ]),
    ...(addsUp
      ? []
      : ['The counts do not allow for all dead letters and pending events: somewhere stored is below zero.']),
  ];
}
