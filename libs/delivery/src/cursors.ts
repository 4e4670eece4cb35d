/** Whether the cursors fit the journals that are there. */
import type { JournalReader } from '@libs/journal';
import type { State } from './state.ts';

/**
 * Why deliver must not start: one sentence each, none when it may. A journal without cursors is new, and its sinks
 * start at its first frame, unless that frame is gone: then it was delivered from, and the cursors were lost.
 * (A cursor beyond a journal's end is no reason to refuse: it stops its sink, and the others go on.)
 */
export function checkCursors(
  state: Pick<State, 'cursors'>,
  readers: readonly Pick<JournalReader, 'journal' | 'oldestSeq'>[],
  sinks: readonly { readonly name: string }[],
): readonly string[] {
  const known = new Map(state.cursors().map(({ journal, sink, seq }) => [`${journal} ${sink}`, seq]));
  const refusals: string[] = [];
  for (const reader of readers) {
    const oldest = reader.oldestSeq();
    for (const sink of sinks) {
      const seq = known.get(`${reader.journal} ${sink.name}`);
      if ((seq ?? 0) + 1 >= oldest) continue;
      refusals.push(
        seq === undefined
          ? `Journal ${reader.journal} starts at event ${oldest}, so it was delivered from before, but sink ${sink.name} has no cursor in it: restore deliver's state database, or move the journal away.`
          : `Sink ${sink.name} is at event ${seq} of journal ${reader.journal}, whose oldest event is ${oldest}: events ${seq + 1} to ${oldest - 1} are gone. Restore the journal and deliver's state database from the same backup.`,
      );
    }
  }
  return refusals;
}
