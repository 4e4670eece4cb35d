/**
 * `async_insert=1, wait_for_async_insert=0` as a server does it: the insert is answered at once, and what came within a
 * moment becomes one part. The engine itself, embedded, makes a part of each insert, at 5 ms of CPU.
 */

/** A server's `async_insert_busy_timeout_max_ms` and `async_insert_max_data_size`. */
const GATHER_MS = 200;
const GATHERED_BYTES_MAX = 10 * 1024 * 1024;

interface Gathered {
  readonly search: URLSearchParams;
  readonly bodies: string[];
  bytes: number;
  readonly timer: NodeJS.Timeout;
}

export interface Gatherer {
  /** False: it is no such insert, and nothing was done. */
  take(search: URLSearchParams, body: string): boolean;
  /** Inserts what is there. */
  close(): Promise<void>;
}

/** Whoever sent an insert that fails has had its answer: nobody hears of it. */
export function createGatherer(insert: (sql: string, search: URLSearchParams) => Promise<unknown>): Gatherer {
  const waiting = new Map<string, Gathered>();
  const inserting = new Set<Promise<unknown>>();

  function flush(query: string): void {
    const gathered = waiting.get(query);
    if (gathered === undefined) return;
    waiting.delete(query);
    clearTimeout(gathered.timer);
    const running = insert(`${query}\n${gathered.bodies.join('\n')}`, gathered.search).catch(() => undefined);
    inserting.add(running);
    void running.finally(() => inserting.delete(running));
  }

  return {
    take(search, body) {
      const query = search.get('query') ?? '';
      const isGathered = search.get('async_insert') === '1' && search.get('wait_for_async_insert') === '0';
      if (!isGathered || !/^\s*INSERT\b/i.test(query)) return false;
      const gathered = waiting.get(query) ?? {
        search,
        bodies: [],
        bytes: 0,
        timer: setTimeout(flush, GATHER_MS, query),
      };
      waiting.set(query, gathered);
      // An empty line ends the rows that stand in a statement.
      gathered.bodies.push(body.trimEnd());
      gathered.bytes += body.length;
      if (gathered.bytes >= GATHERED_BYTES_MAX) flush(query);
      return true;
    },
    async close() {
      for (const query of [...waiting.keys()]) flush(query);
      await Promise.all(inserting);
    },
  };
}
