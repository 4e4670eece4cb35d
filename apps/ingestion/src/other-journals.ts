/**
 * How far journals are that are not ours. Of those in our own data folder deliver tells us (other accept processes, and
 * journals that nobody writes any more), of those of other instances the bus does. Known by tag, because that is what a
 * duplicate comes with.
 */
import type { ConfirmationBus } from '@libs/database/redis';
import { type DeliveredLevel, journalTag } from '@libs/pipeline';
import { createLevels, type Levels } from './levels.ts';

export interface OtherJournals {
  /** Deliver says that this sink is done with everything of a journal of our folder up to and including `seq`. */
  advance(journal: string, sink: string, seq: number): void;
  /** Another instance says that everything of its journal up to and including `seq` has reached the level. */
  hear(journal: string, level: DeliveredLevel, seq: number): void;
  /** 0: nothing, or nothing is known of such a journal. */
  seq(tag: string, level: DeliveredLevel): number;
  /**
   * True when for `SILENCE_MS` from `sinceMs` (monotonic) on nothing was heard of a journal of another instance, not counting
   * the time in which nobody could be heard. Asked every second while somebody waits.
   */
  isSilent(tag: string, sinceMs: number): boolean;
  /** Called with the journal of which something has grown. */
  onAdvance(listener: (journal: string) => void): () => void;
}

export interface OtherJournalsOptions {
  /** All sinks that are configured beside the store. */
  readonly otherSinks: readonly string[];
  readonly monotonicMs: () => number;
  /** Absent: there are no other instances. */
  readonly bus?: Pick<ConfirmationBus, 'health' | 'lastHeardMs'> | undefined;
}

/** An instance repeats itself every second; a restart takes a few of them. */
export const SILENCE_MS = 60_000;
/** Beyond it the journal of which something has grown longest ago is forgotten. */
const JOURNALS_MAX = 1_000;

interface Known {
  readonly journal: string;
  /** What deliver says; undefined for a journal of another instance. */
  local: Levels | undefined;
  readonly told: Record<DeliveredLevel, number>;
}

export function createOtherJournals(options: OtherJournalsOptions): OtherJournals {
  const { otherSinks, monotonicMs, bus } = options;
  const journals = new Map<string, Known>();
  const listeners = new Set<(journal: string) => void>();
  let deafUntilMs = 0;

  /** Moves it to the end, so that the first is the one that has stood still for longest. */
  function touch(journal: string): Known {
    const tag = journalTag(journal);
    const known = journals.get(tag) ?? { journal, local: undefined, told: { stored: 0, routed: 0 } };
    journals.delete(tag);
    journals.set(tag, known);
    if (journals.size > JOURNALS_MAX) journals.delete(journals.keys().next().value as string);
    return known;
  }

  function announce(journal: string): void {
    for (const listener of listeners) listener(journal);
  }

  function seq(tag: string, level: DeliveredLevel): number {
    const known = journals.get(tag);
    return known === undefined ? 0 : Math.max(known.told[level], known.local?.seq(level) ?? 0);
  }

  function isSilent(tag: string, sinceMs: number): boolean {
    const known = journals.get(tag);
    if (bus === undefined || known?.local !== undefined) return false;
    const nowMs = monotonicMs();
    if (!bus.health().isConnected) deafUntilMs = nowMs;
    const heardMs = known === undefined ? undefined : bus.lastHeardMs(known.journal);
    return nowMs - Math.max(sinceMs, deafUntilMs, heardMs ?? 0) >= SILENCE_MS;
  }

  return {
    advance(journal, sink, through) {
      const known = touch(journal);
      known.local ??= createLevels(otherSinks);
      if (known.local.advance(sink, through)) announce(journal);
    },
    hear(journal, level, through) {
      const known = touch(journal);
      if (known.told[level] >= through) return;
      known.told[level] = through;
      announce(journal);
    },
    seq,
    isSilent,
    onAdvance(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
