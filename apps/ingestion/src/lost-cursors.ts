/** Cursors that are missing beside a journal which the store already holds rows of: delivering it again would store them twice. */
import type { Store } from '@libs/database';
import type { State } from '@libs/delivery';
import { createDisk, listJournals } from '@libs/journal';
import { Refusal } from '@libs/runtime';
import type { Config } from './config.ts';

/** Only the embedded engine is asked: it is always there, and its folder stands beside the state database that may be lost. */
export async function refuseLostCursors(store: Store, state: Pick<State, 'cursors'>, config: Config): Promise<void> {
  if (store.kind !== 'embedded') return;
  const known = new Set(state.cursors().map(({ journal }) => journal));
  for (const { journal } of listJournals(createDisk(), config.dataFolder)) {
    if (known.has(journal)) continue;
    const [row] = await store.select(
      `SELECT count(), max(seq) FROM ${store.database}.raw_events WHERE journal = '${journal}'`,
    );
    if (Number(row?.[0] ?? 0) === 0) continue;
    throw new Refusal(
      `The store holds events up to ${row?.[1]} of journal ${journal}, but the cursors beside it are gone: put deliver/state.sqlite back from the backup that the data folder is from.`,
    );
  }
}
