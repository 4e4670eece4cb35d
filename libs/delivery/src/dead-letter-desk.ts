/** What an operator does with dead letters: look at them, send them again, give them up. */
import type { DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterTotals, RangeContent } from './dead-letter.ts';
import { parseContent } from './dead-letter-table.ts';
import type { Replayer, ReplayOutcome } from './replay.ts';
import type { State } from './state.ts';

export interface ListedLetter extends DeadLetter {
  readonly state: 'waiting' | 'replaying';
}

/** At most 10,000 letters at a time. */
export type LetterSelection =
  | { readonly ids: readonly number[] }
  | { readonly filter: DeadLetterFilter & { readonly afterId?: number }; readonly limit?: number };

export interface DeadLetterDesk {
  /** By id. `state` asks for those that are being replayed, or those that are not. */
  list(page: DeadLetterPage & { readonly state?: ListedLetter['state'] }): readonly ListedLetter[];
  get(id: number): FoundLetter | undefined;
  /** `more`: the filter fits others that the limit left out; they come after `lastId`. Never rejects. */
  replay(
    selection: LetterSelection,
    signal: AbortSignal,
  ): Promise<{ readonly outcomes: readonly ReplayOutcome[]; readonly more: boolean; readonly lastId: number }>;
  /** The rows are given up. Letters that are being replayed stay. */
  delete(selection: LetterSelection): { readonly deleted: number; readonly more: boolean };
  stats(): { readonly bytes: number; readonly bytesMax: number; readonly sinks: readonly DeadLetterTotals[] };
}

/** A row with the bytes of its JSON object, or a range with what it holds. */
export interface FoundLetter {
  readonly letter: ListedLetter;
  readonly bytes?: Uint8Array;
  readonly range?: RangeContent;
}

const SELECTED_MAX = 10_000;

export function createDeadLetterDesk(state: State, replayer: Replayer, bytesMax: number): DeadLetterDesk {
  const { deadLetters } = state;

  function listed(letter: DeadLetter): ListedLetter {
    return { ...letter, state: replayer.isReplaying(letter.id) ? 'replaying' : 'waiting' };
  }

  function select(selection: LetterSelection): { ids: readonly number[]; more: boolean } {
    if ('ids' in selection) {
      const ids = [...new Set(selection.ids)];
      return { ids: ids.slice(0, SELECTED_MAX), more: ids.length > SELECTED_MAX };
    }
    const limit = Math.min(selection.limit ?? SELECTED_MAX, SELECTED_MAX);
    const found = deadLetters.list({ ...selection.filter, limit: limit + 1 });
    return { ids: found.slice(0, limit).map(({ id }) => id), more: found.length > limit };
  }

  function list({ state: wanted, ...page }: DeadLetterPage & { state?: ListedLetter['state'] }): ListedLetter[] {
    const found: ListedLetter[] = [];
    for (let { afterId = 0 } = page; found.length < page.limit; ) {
      const letters = deadLetters.list({ ...page, afterId }).map(listed);
      for (const letter of letters) if (wanted === undefined || letter.state === wanted) found.push(letter);
      if (letters.length < page.limit) break;
      afterId = letters.at(-1)?.id ?? afterId;
    }
    return found.slice(0, page.limit);
  }

  return {
    list,
    get(id) {
      const found = deadLetters.get(id);
      if (found === undefined) return undefined;
      const letter = listed(found.letter);
      return letter.kind === 'row' ? { letter, bytes: found.bytes } : { letter, range: parseContent(found.bytes) };
    },
    async replay(selection, signal) {
      const { ids, more } = select(selection);
      return { outcomes: await replayer.replay(ids, signal), more, lastId: Math.max(0, ...ids) };
    },
    delete(selection) {
      const { ids, more } = select(selection);
      return { deleted: deadLetters.delete(ids.filter((id) => !replayer.isReplaying(id))), more };
    },
    stats() {
      const sinks = deadLetters.totals();
      return { bytes: sinks.reduce((sum, { bytes }) => sum + bytes, 0), bytesMax, sinks };
    },
  };
}
