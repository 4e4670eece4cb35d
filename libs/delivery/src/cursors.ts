/** Whether the cursors fit the journals that are there, and where those that are missing begin. */
import type { JournalReader } from '@libs/journal';
import { STORE_SINK } from './messages.ts';
import type { Cursor, State } from './state.ts';

/** A sink as far as its cursors are concerned. */
export interface CursorOwner {
  readonly name: string;
  /** Where a sink begins that was added beside a journal in use: with the service's start, or with all that is left. */
  readonly from?: 'oldest' | 'now';
}

export type NewCursor = Cursor & { readonly sinceMs: number };

/**
 * Why deliver must not start: one sentence each, none when it may. A journal without cursors is new, and its sinks
 * start at its first frame, unless that frame is gone: then it was delivered from, and the cursors were lost. So were
 * the store's, when only others have one.
 * (A cursor beyond a journal's end is no reason to refuse: it stops its sink, and the others go on.)
 */
export function checkCursors(
  state: Pick<State, 'cursors'>,
  readers: readonly Pick<JournalReader, 'journal' | 'oldestSeq'>[],
  sinks: readonly CursorOwner[],
): readonly string[] {
  const all = state.cursors();
  const refusals: string[] = [];
  for (const reader of readers) {
    const oldest = reader.oldestSeq();
    const cursors = new Map(
      all.filter(({ journal }) => journal === reader.journal).map(({ sink, seq }) => [sink, seq]),
    );
    for (const { name } of sinks) {
      const seq = cursors.get(name);
      const isAdded = seq === undefined && name !== STORE_SINK && cursors.size > 0;
      if (isAdded || (seq ?? 0) + 1 >= oldest) continue;
      refusals.push(
        seq === undefined
          ? `Journal ${reader.journal} starts at event ${oldest}, so it was delivered from before, but sink ${name} has no cursor in it: restore deliver's state database, or move the journal away.`
          : `Sink ${name} is at event ${seq} of journal ${reader.journal}, whose oldest event is ${oldest}: events ${seq + 1} to ${oldest - 1} are gone. Restore the journal and deliver's state database from the same backup.`,
      );
    }
  }
  return refusals;
}

/**
 * The cursors that a journal still lacks. A new journal gets one for each sink there ever was (but for those that were
 * dropped), at its beginning; in one that is in use, a sink that was added begins behind what others have done (`now`:
 * and passes over frames older than itself), or with the oldest frame.
 */
export function missingCursors(
  state: Pick<State, 'findCursor' | 'cursors' | 'knownSinks'>,
  reader: Pick<JournalReader, 'journal' | 'oldestSeq'>,
  sinks: readonly CursorOwner[],
): readonly NewCursor[] {
  const { journal } = reader;
  const known = state.knownSinks();
  const present = state.cursors().filter((cursor) => cursor.journal === journal);
  if (present.length === 0) {
    const names = new Set([...sinks.map(({ name }) => name), ...known.map(({ sink }) => sink)]);
    return [...names].map((sink) => ({ journal, sink, seq: 0, sinceMs: 0 }));
  }
  const oldest = reader.oldestSeq() - 1;
  const ends = present.map(({ sink }) => state.findCursor(journal, sink)?.frameSeq ?? 0);
  const furthest = Math.max(oldest, ...ends);
  return sinks
    .filter(({ name }) => !present.some(({ sink }) => sink === name))
    .map(({ name, from }) => {
      if (name === STORE_SINK) return { journal, sink: name, seq: 0, sinceMs: 0 };
      if (from === 'oldest') return { journal, sink: name, seq: oldest, sinceMs: 0 };
      const sinceMs = known.find(({ sink }) => sink === name)?.sinceMs ?? 0;
      return { journal, sink: name, seq: furthest, sinceMs };
    });
}
