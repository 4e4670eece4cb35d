/** Cursors that are missing beside a journal which the store already holds rows of: delivering it again would store them twice. */
import type { Store } from '@libs/database';
import type { State } from '@libs/delivery';
import { createDisk, listJournals } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import { Refusal } from '@libs/runtime';
import type { Config } from './config.ts';

/** A server that does not answer within this time is not waited for. */
const ASK_TIMEOUT_MS = 3_000;

/**
 * The embedded engine is always there to be asked. A server may be away: then a warning has to do, because deliver must
 * start without it, and the view `events` still shows each event once.
 */
export async function refuseLostCursors(
  store: Store,
  state: Pick<State, 'cursors'>,
  config: Config,
  logger: Pick<Logger, 'warn'>,
): Promise<void> {
  const known = new Set(state.cursors().map(({ journal }) => journal));
  for (const { journal } of listJournals(createDisk(), config.dataFolder)) {
    if (known.has(journal)) continue;
    const lastSeq = await lastStored(store, journal).catch((error: unknown) => {
      if (store.kind === 'embedded') throw error;
      logger.warn(
        { journal, reason: error instanceof Error ? error.message : String(error) },
        'whether the store already holds events of a journal without cursors could not be asked',
      );
      return 0;
    });
    if (lastSeq === 0) continue;
    throw new Refusal(
      `The store holds events up to ${lastSeq} of journal ${journal}, but the cursors beside it are gone: put deliver/state.sqlite back from the backup that the data folder is from.`,
    );
  }
}

/** 0 when it holds none, or has no table yet. */
async function lastStored(store: Store, journal: string): Promise<number> {
  const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
  const [there] = await store.select(
    `SELECT count() FROM system.tables WHERE database = '${store.database}' AND name = 'raw_events'`,
    { signal },
  );
  if (Number(there?.[0] ?? 0) === 0) return 0;
  const [row] = await store.select(`SELECT max(seq) FROM ${store.database}.raw_events WHERE journal = '${journal}'`, {
    signal,
  });
  return Number(row?.[0] ?? 0);
}
