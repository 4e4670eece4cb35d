/**
 * Cart events that differ in every field, about 330 bytes each as JSON. Alike events would flatter both servers: a JSON
 * parser reads the same short strings again from its cache.
 */
import type { Random } from './random.ts';

/** The id is the first field, so that its bytes stand at the same place in every event. */
export const ID_OFFSET = '{"eventId":"'.length;
/** The first digits of the id: what is written anew before an event is sent again. */
export const STAMP_DIGITS = 8;

const NONCE_DIGITS = 12;
const STORES = 50;
const USERS = 200_000;
const SESSIONS = 20_000;
const PRODUCTS = 1_000_000;
const HOUR_MS = 3_600_000;
/** An event without line items, and one line item, on average. */
const PLAIN_BYTES = 330;
const ITEM_BYTES = 150;

const EVENT_TYPES = [
  'cart_created',
  'cart_updated',
  'cart_abandoned',
  'item_added',
  'item_removed',
  'purchase_completed',
] as const;
const WORDS = 'oak steel linen garden winter copper travel ceramic double quiet folding round slim heavy'.split(' ');
const THINGS = ['table', 'lamp', 'bottle', 'jacket', 'hose', 'chair', 'kettle', 'blanket'] as const;
/** Used in `mixed` titles: one such character makes a parser widen the whole text it stands in. */
const THINGS_BEYOND_ASCII = ['café cup', 'Gießkanne', 'fauteuil bergère', '折り畳み傘'] as const;
const AGENTS = ['ShopApp', 'Front', 'Kiosk', 'Cart'] as const;
const SYSTEMS = ['iOS 18', 'Android', 'Linux', 'Windows'] as const;

export type Titles = 'ascii' | 'mixed';

export interface EventOptions {
  readonly random: Random;
  /** Milliseconds since 1970; events happened within the hour before. */
  readonly nowMs: number;
  /** Told apart from every other generator of the run: 12 hexadecimal digits. */
  readonly nonce: string;
  /** `mixed`: one title in twenty has characters beyond ASCII. */
  readonly titles: Titles;
  /** About so many bytes: line items are added until it is reached. Default: none. */
  readonly bytes?: number;
}

/** The JSON text of one event. Its id starts with `STAMP_DIGITS` zeros at `ID_OFFSET` (all ASCII up to there). */
export function eventText({ random, nowMs, nonce, titles, bytes = 0 }: EventOptions): string {
  const id = `${'0'.repeat(STAMP_DIGITS)}-${random.hex(4)}-4${random.hex(3)}-8${random.hex(3)}-${nonce}`;
  const session = `s-${random.below(SESSIONS).toString(36).padStart(4, '0')}-${random.hex(10)}`;
  return JSON.stringify({
    eventId: id,
    eventType: random.pick(EVENT_TYPES),
    timestamp: new Date(nowMs - random.below(HOUR_MS)).toISOString(),
    userId: `user-${random.below(USERS)}`,
    sessionId: session,
    storeId: `store-${random.below(STORES)}`,
    data: {
      productId: `sku-${random.below(PRODUCTS)}`,
      price: random.below(100_000) / 100,
      quantity: 1 + random.below(9),
      title: title(random, titles),
      ...lineItems(random, titles, bytes - PLAIN_BYTES),
    },
    metadata: { userAgent: agent(random) },
  });
}

/** Event after event, each with an id of its own. */
export function createEvents(options: Pick<EventOptions, 'random' | 'titles'>): () => string {
  const nonce = newNonce();
  let count = 0;
  return () => {
    count += 1;
    const text = eventText({ ...options, nowMs: Date.now(), nonce });
    return text.replace('0'.repeat(STAMP_DIGITS), count.toString(16).padStart(STAMP_DIGITS, '0'));
  };
}

/** Line items that together have about `bytes` bytes; none where that is less than one has. */
function lineItems(random: Random, titles: Titles, bytes: number): { readonly items?: readonly object[] } {
  const items = [];
  for (let left = bytes; left >= ITEM_BYTES; left -= ITEM_BYTES) {
    items.push({
      sku: `sku-${random.below(PRODUCTS)}`,
      title: title(random, titles),
      price: random.below(100_000) / 100,
      note: `${random.pick(WORDS)} ${random.pick(WORDS)} ${random.hex(60)}`,
    });
  }
  return items.length === 0 ? {} : { items };
}

/** 12 digits that no other generator of any run is likely to have (48 random bits). */
export function newNonce(): string {
  return crypto.randomUUID().replaceAll('-', '').slice(-NONCE_DIGITS);
}

function title(random: Random, titles: Titles): string {
  const thing = titles === 'mixed' && random.below(20) === 0 ? random.pick(THINGS_BEYOND_ASCII) : random.pick(THINGS);
  return `${random.pick(WORDS)} ${thing} ${20 + random.below(180)}`;
}

function agent(random: Random): string {
  return `${random.pick(AGENTS)}/${random.below(9)}.${random.below(40)}.${random.below(100)} (${random.pick(SYSTEMS)})`;
}

export interface IdStamp {
  /**
   * Writes the next id's first digits (ASCII) at `offset`. With `mask` (four bytes), they are masked as WebSocket asks,
   * `maskFrom` being the offset at which the masked bytes begin.
   */
  write(bytes: Uint8Array, offset: number, mask?: Uint8Array, maskFrom?: number): void;
  /** Ids written so far. */
  count(): number;
}

/** All 2^32 stamps differ: they count, times an odd number, so that neighbours differ in every digit. */
export function createIdStamp(): IdStamp {
  const digits = new TextEncoder().encode('0123456789abcdef');
  let count = 0;

  return {
    write(bytes, offset, mask, maskFrom = 0) {
      let value = Math.imul(count, 0x9e37_79b1) >>> 0;
      count += 1;
      for (let at = offset + STAMP_DIGITS - 1; at >= offset; at--) {
        const digit = digits[value & 15] as number;
        bytes[at] = mask === undefined ? digit : digit ^ (mask[(at - maskFrom) & 3] as number);
        value >>>= 4;
      }
    },
    count: () => count,
  };
}
