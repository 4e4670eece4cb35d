/** Events that a seed brings back: good ones that vary in every field, and bad ones that must never be stored. */
import type { Seeded } from './seeded.ts';

export interface SentEvent {
  /** storeId and eventId: what a duplicate is recognised by. */
  readonly key: string;
  readonly eventId: string;
  /** JSON text as it is sent. */
  readonly text: string;
  /** Of everything that must be stored as it was sent; undefined: this event must be rejected. */
  readonly digest: bigint | undefined;
}

export interface StoredFields {
  readonly storeId: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly sessionId: string;
  readonly userId: string | null;
  /** ISO 8601 in UTC with milliseconds. */
  readonly timestamp: string;
  /** JSON text. */
  readonly data: string;
}

export interface EventMaker {
  good(): SentEvent;
  /** A good one of so many bytes and a few more; default 20 KB: far more than any other. */
  large(bytes?: number): SentEvent;
  bad(): SentEvent;
  /** A good one with this id. */
  named(eventId: string): SentEvent;
}

const TYPES = ['cart_created', 'cart_updated', 'cart_abandoned', 'item_added', 'item_removed', 'purchase_completed'];
const STORES = ['berlin', 'lagos', 'lima', 'osaka'];
/** Escapes, several lengths of UTF-8, and what looks like the end of a row. */
const WORDS = [
  'sock',
  'hat "L"',
  'a\\b',
  'Größe',
  '帽子',
  '🧢',
  'line\nline',
  '}\n{"eventId":"x"}',
  '\t',
  "it's",
  '\\u0041',
];

export const keyOf = (storeId: string, eventId: string): string => `${storeId}/${eventId}`;

export function digestOf(fields: StoredFields): bigint {
  const { storeId, eventId, eventType, sessionId, userId, timestamp, data } = fields;
  return Bun.hash.xxHash3(JSON.stringify([storeId, eventId, eventType, sessionId, userId, timestamp, data])) as bigint;
}

/** `session` is the ordering key of all events of this maker; `name` makes their ids unique among all makers of a run. */
export function createEventMaker(random: Seeded, name: string, session: string): EventMaker {
  let made = 0;
  let lastId = '';

  function fields(): StoredFields {
    made += 1;
    // Now and then the id of another store's event: the two are strangers.
    const reused = lastId !== '' && random.next() < 0.05;
    const eventId = reused ? lastId : `${name}-${made}`;
    const storeId = reused ? `${random.pick(STORES)}-${made}` : random.pick(STORES);
    lastId = eventId;
    return {
      storeId,
      eventId,
      eventType: random.pick(TYPES),
      sessionId: session,
      userId: random.next() < 0.5 ? null : `user-${random.integer(1, 500)}`,
      timestamp: new Date(1_750_000_000_000 + random.integer(0, 20_000_000_000)).toISOString(),
      data: JSON.stringify(data()),
    };
  }

  function data(): object {
    const items = Array.from({ length: random.integer(1, 4) }, () => ({
      sku: `${random.pick(WORDS)}-${random.integer(1, 100_000)}`,
      price: random.integer(1, 100_000) / 100,
      quantity: random.integer(1, 9),
    }));
    const note = random.next() < 0.05 ? { note: random.pick(WORDS).repeat(random.integer(1, 400)) } : {};
    return { items, total: random.next() * 1_000, currency: random.pick(['EUR', 'NGN', 'PEN', 'JPY']), ...note };
  }

  function good(more: Partial<StoredFields> = {}): SentEvent {
    const sent = { ...fields(), ...more };
    return {
      key: keyOf(sent.storeId, sent.eventId),
      eventId: sent.eventId,
      text: textOf(sent),
      digest: digestOf(sent),
    };
  }

  function bad(): SentEvent {
    const sent = { ...fields(), eventId: `${name}-bad-${made}` };
    const flaw = random.pick<Partial<Record<keyof StoredFields | 'extra', unknown>>>([
      { eventType: 'cart_exploded' },
      { sessionId: '' },
      { timestamp: 'yesterday' },
      { storeId: 7 },
      { data: '"text"' },
      { extra: true },
    ]);
    const { eventId } = sent;
    const text = textOf({ ...sent, ...flaw });
    return { key: keyOf(sent.storeId, eventId), eventId, text, digest: undefined };
  }

  return {
    good: () => good(),
    named: (eventId) => good({ eventId }),
    large: (bytes = 20_000) => good({ data: JSON.stringify({ note: 'x'.repeat(bytes) }) }),
    bad,
  };
}

function textOf(fields: object): string {
  const { data, userId, ...rest } = fields as StoredFields;
  const user = userId === null ? {} : { userId };
  return `${JSON.stringify({ ...rest, ...user }).slice(0, -1)},"data":${data}}`;
}
