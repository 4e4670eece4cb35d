/** Reads a route's events from the store, in pages, by position. */
import { Overloaded } from '@libs/pipeline';
import type { Positions, TopicPage, TopicRow } from './operator-requests.ts';

export interface TopicBackend {
  /** How far the store has come in the journals that are being delivered. */
  storedPositions(): readonly { readonly journal: string; readonly seq: number }[];
  /** Journals of which the table holds rows, also of those that are no more. */
  heldJournals(signal: AbortSignal): Promise<readonly { readonly journal: string; readonly lastSeq: number }[]>;
  /** Rows behind `afterSeq` and not behind `throughSeq`, in order; `throughSeq` of the result says how far it looked. */
  selectRows(query: {
    readonly journal: string;
    readonly afterSeq: number;
    readonly throughSeq: number;
    readonly eventTypes: readonly string[];
    readonly limit: number;
    readonly signal: AbortSignal;
  }): Promise<{
    readonly rows: readonly { readonly seq: number; readonly json: string }[];
    readonly throughSeq: number;
  }>;
}

export interface TopicQuery {
  readonly eventTypes: readonly string[];
  readonly after: Positions;
  readonly limit: number;
}

export interface TopicReader {
  positions(signal: AbortSignal): Promise<Positions>;
  /** The next rows behind `after`; journals that it does not name are read from their beginning. */
  page(query: TopicQuery, signal: AbortSignal): Promise<TopicPage>;
}

/** Where rows of the wanted types are rare, a page ends here without any: whoever reads is told that we are alive. */
const PAGE_EVENTS_MAX = 2_000_000;
/** The engine's threads are needed for inserts and queries too. */
const SELECTS_AT_ONCE_MAX = 2;
const SELECTS_WAITING_MAX = 64;
/** How long an answer of the table about its journals is good for. */
const HELD_MS = 2_000;

export function createTopicReader(backend: TopicBackend): TopicReader {
  /** Grows only: a journal that has been delivered and removed still has its rows. */
  const known = new Map<string, number>();
  const limitSelects = createSelectLimit();
  let held: Promise<void> | undefined;
  let heldMs = Number.NEGATIVE_INFINITY;

  /** Other instances may store in the same table: they send their blocks in order, so what stands there has no gaps. */
  function findHeld(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now();
    if (held !== undefined && nowMs - heldMs < HELD_MS) return held;
    heldMs = nowMs;
    const found = backend.heldJournals(signal).then(
      (journals) => {
        for (const { journal, lastSeq } of journals) known.set(journal, Math.max(known.get(journal) ?? 0, lastSeq));
      },
      (error: unknown) => {
        if (held === found) held = undefined;
        throw error;
      },
    );
    held = found;
    return found;
  }

  /** What the table holds beyond the cursor may still have gaps: the cursor goes before it. */
  async function ends(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    await findHeld(signal);
    for (const { journal, seq } of backend.storedPositions()) known.set(journal, seq);
    return known;
  }

  async function page({ eventTypes, after, limit }: TopicQuery, signal: AbortSignal): Promise<TopicPage> {
    const positions: Record<string, number> = { ...after };
    const rows: TopicRow[] = [];
    let isEnd = true;
    for (const [journal, end] of await ends(signal)) {
      const afterSeq = positions[journal] ?? 0;
      if (afterSeq >= end) continue;
      if (rows.length >= limit) {
        isEnd = false;
        break;
      }
      const throughSeq = Math.min(end, afterSeq + PAGE_EVENTS_MAX);
      const left = limit - rows.length;
      const found = await limitSelects(signal, () =>
        backend.selectRows({ journal, afterSeq, throughSeq, eventTypes, limit: left, signal }),
      );
      for (const { seq, json } of found.rows) rows.push({ journal, seq, json });
      positions[journal] = found.throughSeq;
      if (found.throughSeq >= end) continue;
      isEnd = false;
      break;
    }
    return { rows, positions, isEnd };
  }

  return { page, positions: async (signal) => Object.fromEntries(await ends(signal)) };
}

function createSelectLimit() {
  const waiting: (() => void)[] = [];
  let running = 0;

  return async <T>(signal: AbortSignal, select: () => Promise<T>): Promise<T> => {
    if (running < SELECTS_AT_ONCE_MAX) running += 1;
    else if (waiting.length < SELECTS_WAITING_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    else throw new Overloaded('too_many_readers', 'Too many readers wait for the store.', 1_000);
    try {
      signal.throwIfAborted();
      return await select();
    } finally {
      const next = waiting.shift();
      // Whoever waits longest takes the place over.
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
