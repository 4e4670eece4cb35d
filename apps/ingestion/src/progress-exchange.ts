/** What instances tell each other of their journals: how far the events have been stored, and routed. */
import type { ConfirmationBus } from '@libs/database/redis';
import type { Journal } from '@libs/journal';
import { journalTag } from '@libs/pipeline';
import { DELIVERED_LEVELS } from './levels.ts';
import type { OtherJournals } from './other-journals.ts';
import type { StoredProgress } from './stored-watch.ts';

export interface ProgressExchangeOptions {
  readonly bus: Pick<ConfirmationBus, 'publish' | 'subscribe'>;
  readonly journal: Pick<Journal, 'id' | 'leftovers'>;
  readonly stored: Pick<StoredProgress, 'seq' | 'onAdvance'>;
  readonly others: Pick<OtherJournals, 'hear' | 'seq' | 'onAdvance'>;
}

/**
 * From now on ours is told and that of others is heard. On the bus a level stands where a sink could: which sinks an event
 * must pass is a matter of the instance that delivers it.
 */
export function exchangeProgress({ bus, journal, stored, others }: ProgressExchangeOptions): void {
  function tell(id: string, sink: string, throughSeq: number): void {
    if (throughSeq > 0) bus.publish({ journal: id, sink, throughSeq });
  }

  stored.onAdvance(() => {
    for (const level of DELIVERED_LEVELS) tell(journal.id, level, stored.seq(level));
  });

  // Journals that nobody writes any more are spoken for by the process that looks after them.
  others.onAdvance((other) => {
    if (!journal.leftovers().some((leftover) => leftover.journal === other)) return;
    for (const level of DELIVERED_LEVELS) tell(other, level, others.seq(journalTag(other), level));
  });

  bus.subscribe(({ journal: other, sink, throughSeq }) => {
    const level = DELIVERED_LEVELS.find((known) => known === sink);
    if (level !== undefined && other !== journal.id) others.hear(other, level, throughSeq);
  });
}
