/** What a sink really holds of an interval, for reconciling: the store is asked by position, each event counted once. */
import type { StoreAudit } from '@libs/database';
import { STORE_SINK } from '@libs/delivery';
import type { CountStored, StoredCount } from './deliver-operator-backend.ts';

export function createCountStored(audit: Pick<StoreAudit, 'countByJournalRange'>): CountStored {
  return async (sink, { ranges }, signal) => {
    if (sink !== STORE_SINK) return undefined;
    const byEventType = new Map<string, StoredCount>();
    for (const range of ranges) {
      for (const { eventType, rows, distinct } of await audit.countByJournalRange(range, signal)) {
        const sum = byEventType.get(eventType) ?? { stored: 0, duplicates: 0 };
        byEventType.set(eventType, { stored: sum.stored + distinct, duplicates: sum.duplicates + rows - distinct });
      }
    }
    return { byEventType, source: 'counted in raw_events by position, each position once' };
  };
}
