/**
 * What a sink really holds of an interval, for reconciling: the store is asked by position, each event counted once; Kafka
 * is read back when that is asked for.
 */
import type { StoreAudit } from '@libs/database';
import { STORE_SINK } from '@libs/delivery';
import type { KafkaAudit } from '@libs/messaging/kafka';
import type { CountInterval, CountStored, StoredCount, StoredCounts } from './deliver-operator-backend.ts';

export interface CountStoredDeps {
  readonly store: Pick<StoreAudit, 'countByJournalRange'>;
  /** Absent where nothing goes to Kafka. */
  readonly kafka?: KafkaAudit | undefined;
  /** By journal: the sequence numbers up to which the rows went to another store. */
  readonly storedElsewhere?: Readonly<Record<string, number>> | undefined;
}

const KAFKA_SINK = 'kafka';
/** The cursor moves only past rows that all in-sync replicas have (acks=all), or that became dead letters. */
const BY_ACKNOWLEDGEMENT: StoredCounts = {
  source:
    'acknowledged by the brokers (acks=all) before its cursor passed them, less dead letters; the topics were not read and copies not counted, as --deep does',
};

const ELSEWHERE: StoredCounts = {
  source: 'what its cursor has passed, less dead letters',
  caveats: ['A part of the interval was delivered to another store than the one of today: the store was not counted.'],
};

export function createCountStored({ store, kafka, storedElsewhere = {} }: CountStoredDeps): CountStored {
  async function countInStore({ ranges }: CountInterval, signal: AbortSignal): Promise<StoredCounts> {
    if (ranges.some(({ journal, firstSeq }) => firstSeq <= (storedElsewhere[journal] ?? 0))) return ELSEWHERE;
    const byEventType = new Map<string, StoredCount>();
    for (const range of ranges) {
      for (const { eventType, rows, distinct } of await store.countByJournalRange(range, signal)) {
        const sum = byEventType.get(eventType) ?? { stored: 0, duplicates: 0 };
        byEventType.set(eventType, { stored: sum.stored + distinct, duplicates: sum.duplicates + rows - distinct });
      }
    }
    return { byEventType, source: 'counted in raw_events by position, each position once' };
  }

  async function countInKafka(audit: KafkaAudit, interval: CountInterval, signal: AbortSignal): Promise<StoredCounts> {
    const { byEventType, caveats } = await audit.count({ ...interval, expected: interval.done }, signal);
    const source =
      'read back from the topics of its routes, from the oldest offset that may matter up to where they ended when asked, each position once';
    return { byEventType, source, caveats };
  }

  return async (sink, interval, signal) => {
    if (sink === STORE_SINK) return countInStore(interval, signal);
    if (sink !== KAFKA_SINK) return undefined;
    return interval.deep && kafka !== undefined ? countInKafka(kafka, interval, signal) : BY_ACKNOWLEDGEMENT;
  };
}
