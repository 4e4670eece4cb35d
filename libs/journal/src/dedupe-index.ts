/**
 * Which ids the journal holds, within the window: derived from durable frames, never stored beside them.
 *
 * The ids stand in a log addressed by sequence number (chunks of 4,096 ids). A hash table of 8-byte slots points into
 * that log: 32 bits of the hash and the low 32 bits of the sequence number. A slot whose sequence number is older than
 * `base` is dead, so that expiry is one assignment; dead slots disappear when the table is rebuilt, which happens a
 * few slots per insert. Slots stand in order of their hash, so that a rebuild reads and writes memory in order.
 *
 * Memory: 16 bytes an id in the log and about 16 to 32 in the table.
 */

/** 128 bits of hash as four 32-bit words. */
export type IdHash = Uint32Array;

export interface DedupeIndex {
  /** The sequence number that holds this id, or 0. */
  find(id: IdHash): number;
  /**
   * Has the processor fetch the places of many ids, four words each, before they are asked for one by one: it then waits
   * for memory once and not for each. 1,000 ids of 12 million cost 0.15 instead of 0.31 µs each to find and add.
   */
  prefetch(ids: Uint32Array): void;
  /** Adds an id that `find` did not find, as the next sequence number, at this frame time (ms). */
  add(id: IdHash, seq: number, timeMs: number): void;
  /** The same for many, four words each, of which none is in the index yet: `firstSeq` and those that follow it. */
  addAll(ids: Uint32Array, firstSeq: number, timeMs: number): void;
  /**
   * Drops what has left the window at this frame time, or is too much; never `keepFromSeq` and what follows it, whose
   * ids the journal still needs for their frame.
   */
  expire(timeMs: number, keepFromSeq?: number): void;
  /** The oldest sequence number that still counts; ids below it are gone. */
  baseSeq(): number;
  /** The next sequence number to add. */
  nextSeq(): number;
  size(): number;
  /** Milliseconds back to which ids are remembered: the window, or less when there are too many of them. */
  effectiveWindowMs(timeMs: number): number;
  /** The ids from `firstSeq` up to before `endSeq`, 16 bytes each; `firstSeq` must not be below `baseSeq()`. */
  copyIds(firstSeq: number, endSeq: number): Uint8Array;
  /** Sequence number and time of each generation's end, for those that lie within the range. */
  marks(firstSeq: number, endSeq: number): { readonly endSeq: number; readonly timeMs: number }[];
}

export interface DedupeLimits {
  readonly windowMs: number;
  /** Past this many ids the oldest generation goes first. */
  readonly idsMax: number;
}

interface Generation {
  readonly firstSeq: number;
  readonly firstMs: number;
  lastMs: number;
}

interface Table {
  readonly slots: Uint32Array;
  readonly capacity: number;
  used: number;
}

const CHUNK_IDS = 4096;
/** An id outlives the window by up to one generation, and by up to two after a restart: under a minute in an hour. */
const GENERATIONS = 128;
const CAPACITY_MIN = 4096;
/** Slots moved per insert while the table is rebuilt; 2 would do at twice the live ids, more ends it sooner. */
const MOVES_PER_ADD = 16;
const LOAD_MAX = 0.75;
const TWO_32 = 2 ** 32;

/** `expectedIds` are about to be added: room for them at once is cheaper than to grow into it. */
export function createDedupeIndex(limits: DedupeLimits, firstSeq: number, expectedIds = 0): DedupeIndex {
  const chunks = new Map<number, Uint32Array>();
  const generations: Generation[] = [];
  const generationMs = Math.max(1, Math.floor(limits.windowMs / GENERATIONS));
  const generationIds = Math.max(1, Math.floor(limits.idsMax / GENERATIONS));
  let base = firstSeq;
  let next = firstSeq;
  let evicted = false;
  let table = newTable(Math.max(CAPACITY_MIN, Math.min(expectedIds, limits.idsMax) * 2));
  let old: Table | undefined;
  let moved = 0;
  // The chunk being filled: most inserts, and lookups of recent ids, need no map look-up.
  let tailChunk: Uint32Array = new Uint32Array(0);
  let tailNumber = -1;
  // Written, so that no compiler leaves out what otherwise only reads.
  const prefetched = new Uint32Array(1);

  function chunkOf(seq: number): Uint32Array | undefined {
    const number = Math.floor(seq / CHUNK_IDS);
    return number === tailNumber ? tailChunk : chunks.get(number);
  }

  /** The live sequence number with these low 32 bits, or 0 when it is dead. */
  function live(low: number): number {
    const distance = (low - (base >>> 0)) >>> 0;
    return distance < next - base ? base + distance : 0;
  }

  function findIn(where: Table, id: IdHash, tag: number): number {
    const { slots, capacity } = where;
    let at = homeOf(tag, capacity);
    for (let seen = slots[at * 2] as number; seen !== 0; seen = slots[at * 2] as number) {
      if (seen === tag) {
        const seq = live(slots[at * 2 + 1] as number);
        if (seq !== 0 && isSame(seq, id)) return seq;
      }
      at = at + 1 === capacity ? 0 : at + 1;
    }
    return 0;
  }

  function isSame(seq: number, id: IdHash): boolean {
    const chunk = chunkOf(seq);
    if (chunk === undefined) return false;
    const at = (seq % CHUNK_IDS) * 4;
    return chunk[at] === id[0] && chunk[at + 1] === id[1] && chunk[at + 2] === id[2] && chunk[at + 3] === id[3];
  }

  function find(id: IdHash): number {
    const tag = tagOf(id[0] as number);
    const seq = findIn(table, id, tag);
    return seq !== 0 || old === undefined ? seq : findIn(old, id, tag);
  }

  function prefetch(ids: Uint32Array): void {
    const { slots, capacity } = table;
    let sum = 0;
    for (let at = 0; at < ids.length; at += 4) sum += slots[homeOf(tagOf(ids[at] as number), capacity) * 2] as number;
    prefetched[0] = sum;
  }

  function add(id: IdHash, seq: number, timeMs: number): void {
    if (seq !== next) throw new Error(`the index expects sequence number ${next}, not ${seq}`);
    addNext(id, 0, timeMs);
  }

  function addAll(ids: Uint32Array, firstSeq: number, timeMs: number): void {
    if (firstSeq !== next) throw new Error(`the index expects sequence number ${next}, not ${firstSeq}`);
    for (let from = 0; from < ids.length; from += 4) addNext(ids, from, timeMs);
  }

  /** Adds the four words from `from` on. No view of them is made: at a start there are millions. */
  function addNext(ids: Uint32Array, from: number, timeMs: number): void {
    const seq = next;
    const number = Math.floor(seq / CHUNK_IDS);
    if (number !== tailNumber) {
      tailChunk = new Uint32Array(CHUNK_IDS * 4);
      tailNumber = number;
      chunks.set(number, tailChunk);
    }
    const to = (seq % CHUNK_IDS) * 4;
    for (let word = 0; word < 4; word++) tailChunk[to + word] = ids[from + word] as number;
    next = seq + 1;
    noteTime(seq, timeMs);
    if (old !== undefined) moveSome(MOVES_PER_ADD);
    if (table.used >= table.capacity * LOAD_MAX) rebuild();
    put(table, tagOf(ids[from] as number), seq >>> 0);
  }

  function noteTime(seq: number, timeMs: number): void {
    const current = generations.at(-1);
    if (current === undefined || timeMs >= current.firstMs + generationMs || seq - current.firstSeq >= generationIds) {
      generations.push({ firstSeq: seq, firstMs: timeMs, lastMs: timeMs });
    } else current.lastMs = timeMs;
  }

  /** Starts a new table; what is dead stays behind. */
  function rebuild(): void {
    if (old !== undefined) moveSome(old.capacity);
    old = table;
    moved = 0;
    table = newTable(capacityAfter(table.capacity, next - base));
  }

  function moveSome(count: number): void {
    if (old === undefined) return;
    const end = Math.min(old.capacity, moved + count);
    for (; moved < end; moved++) {
      const tag = old.slots[moved * 2] as number;
      const low = old.slots[moved * 2 + 1] as number;
      if (tag !== 0 && live(low) !== 0) put(table, tag, low);
    }
    if (moved === old.capacity) old = undefined;
  }

  function expire(timeMs: number, keepFromSeq = next): void {
    const mayGo = (at: number): boolean =>
      at < generations.length && (generations[at + 1]?.firstSeq ?? next) <= keepFromSeq;
    let keep = 0;
    while (mayGo(keep) && (generations[keep] as Generation).lastMs < timeMs - limits.windowMs) keep++;
    while (mayGo(keep) && next - (generations[keep] as Generation).firstSeq > limits.idsMax) {
      keep++;
      evicted = true;
    }
    if (keep === 0) return;
    generations.splice(0, keep);
    const before = Math.floor(base / CHUNK_IDS);
    base = generations[0]?.firstSeq ?? next;
    const after = Math.floor(base / CHUNK_IDS);
    for (let number = before; number < after; number++) chunks.delete(number);
  }

  function effectiveWindowMs(timeMs: number): number {
    const oldest = generations[0];
    if (!evicted || oldest === undefined) return limits.windowMs;
    return Math.min(limits.windowMs, timeMs - oldest.firstMs);
  }

  function copyIds(from: number, end: number): Uint8Array {
    const words = new Uint32Array((end - from) * 4);
    for (let seq = from; seq < end; ) {
      const chunkEnd = Math.min(end, (Math.floor(seq / CHUNK_IDS) + 1) * CHUNK_IDS);
      const chunk = chunkOf(seq);
      if (chunk === undefined) throw new Error(`the index no longer holds sequence number ${seq}`);
      const at = (seq % CHUNK_IDS) * 4;
      words.set(chunk.subarray(at, at + (chunkEnd - seq) * 4), (seq - from) * 4);
      seq = chunkEnd;
    }
    return new Uint8Array(words.buffer);
  }

  function marks(from: number, end: number): { endSeq: number; timeMs: number }[] {
    const found: { endSeq: number; timeMs: number }[] = [];
    for (const [at, generation] of generations.entries()) {
      const generationEnd = generations[at + 1]?.firstSeq ?? next;
      if (generationEnd <= from || generation.firstSeq >= end) continue;
      found.push({ endSeq: Math.min(end, generationEnd), timeMs: generation.lastMs });
    }
    return found;
  }

  return {
    find,
    prefetch,
    add,
    addAll,
    expire,
    baseSeq: () => base,
    nextSeq: () => next,
    size: () => next - base,
    effectiveWindowMs,
    copyIds,
    marks,
  };
}

/**
 * Slots of the table that follows one of `capacity` slots: room for the live ids twice, and so many that the old table
 * is moved, `MOVES_PER_ADD` slots an insert, before the new one is full. (When most of a large table has died, twice
 * the living would be full long before, and the rest would have to be moved in one go.)
 */
export function capacityAfter(capacity: number, live: number): number {
  return Math.max(CAPACITY_MIN, live * 2, Math.ceil((live + capacity / MOVES_PER_ADD + 1) / LOAD_MAX));
}

function newTable(capacity: number): Table {
  return { slots: new Uint32Array(capacity * 2), capacity, used: 0 };
}

/** The first 32 bits of the hash, never 0: that marks an empty slot. */
function tagOf(firstWord: number): number {
  return firstWord || 1;
}

function homeOf(tag: number, capacity: number): number {
  return Math.floor((tag / TWO_32) * capacity);
}

function put(table: Table, tag: number, low: number): void {
  const { slots, capacity } = table;
  let at = homeOf(tag, capacity);
  while (slots[at * 2] !== 0) at = at + 1 === capacity ? 0 : at + 1;
  slots[at * 2] = tag;
  slots[at * 2 + 1] = low;
  table.used += 1;
}

/** Hashes keys to 128 bits: XXH3-64 twice, with the two 32-bit seeds that are the secret. */
export function createIdHasher(secret: Uint8Array): (key: string, target: IdHash) => void {
  const data = new DataView(secret.buffer, secret.byteOffset, secret.byteLength);
  const firstSeed = BigInt(data.getUint32(0, true));
  const secondSeed = BigInt(data.getUint32(4, true));
  const wide = new BigUint64Array(2);
  const words = new Uint32Array(wide.buffer);
  return (key, target) => {
    wide[0] = Bun.hash.xxHash3(key, firstSeed) as bigint;
    wide[1] = Bun.hash.xxHash3(key, secondSeed) as bigint;
    target.set(words);
  };
}
