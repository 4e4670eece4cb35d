/**
 * Holds the store against the ledger. Everything is read the way a user reads it (`/query`, `?ack=stored`), except the
 * counters, which stand in deliver's state database and are looked at once the service has ended.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openState } from '@libs/delivery';
import { digestOf, keyOf } from './events.ts';
import { type Entry, journalOf, type Ledger } from './ledger.ts';
import { until } from './until.ts';

export interface Stored {
  /** By storeId and eventId; the list has one entry per row. */
  readonly rows: ReadonlyMap<string, readonly { readonly position: string; readonly digest: bigint }[]>;
  readonly count: number;
  /** Sequence numbers per journal. */
  readonly journals: ReadonlyMap<string, { readonly rows: number; readonly first: number; readonly last: number }>;
  /** Rows of the view `events`, and how many distinct keys they have. */
  readonly view: { readonly rows: number; readonly keys: number };
  readonly countByType: ReadonlyMap<string, number>;
}

const DRAIN_TIMEOUT_MS = 60_000;
/** Each is as likely as any other to answer on a new connection, so that one of them is missed once in 2^20 times. */
const ASKS_PER_WORKER = 10;
const PAGE_ROWS = 20_000;
const EVERYTHING = { fromMinute: 0, untilMinute: Number.MAX_SAFE_INTEGER, rowsMax: 1_000_000 };
/** Of each kind of broken promise so many are spelled out. */
const NAMED_MAX = 5;

/**
 * Waits until everything that is in the journal is in the store; false when that does not come. Who answers `/health` is one
 * of the `workers` that share the port, another one on each connection: so it is asked until nobody can have been missed.
 */
export async function drain(url: string, timeoutMs = DRAIN_TIMEOUT_MS, workers = 1): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  const wanted = workers === 1 ? 1 : ASKS_PER_WORKER * workers;
  for (let idle = 0; performance.now() < deadline; ) {
    const health = (await askJson(`${url}/health`)) as { services?: { journal?: { pendingEvents?: number } } };
    idle = health?.services?.journal?.pendingEvents === 0 ? idle + 1 : 0;
    if (idle === wanted) return true;
    if (idle === 0) await Bun.sleep(20);
  }
  return false;
}

export async function readStored(url: string): Promise<Stored> {
  const rows = new Map<string, { position: string; digest: bigint }[]>();
  const countByType = new Map<string, number>();
  const journals = new Map<string, { rows: number; first: number; last: number }>();
  let count = 0;
  for (const [journal, rowCount, first, last] of await select<[string, number, number, number]>(
    url,
    'SELECT journal, count(), min(seq), max(seq) FROM raw_events GROUP BY journal ORDER BY journal',
  )) {
    journals.set(journal, { rows: Number(rowCount), first: Number(first), last: Number(last) });
    for (let from = Number(first); from <= Number(last); from += PAGE_ROWS)
      for (const row of await readPage(url, journal, from)) {
        const list = rows.get(row.key) ?? [];
        rows.set(row.key, list);
        list.push(row);
        count += 1;
        countByType.set(row.eventType, (countByType.get(row.eventType) ?? 0) + 1);
      }
  }
  const [view] = await select<[number, number]>(url, 'SELECT count(), uniqExact(storeId, eventId) FROM events');
  return { rows, count, journals, view: { rows: Number(view?.[0]), keys: Number(view?.[1]) }, countByType };
}

async function readPage(url: string, journal: string, from: number) {
  const rows = await select<[number, string, string, string, string, string | null, string, string]>(
    url,
    `SELECT seq, storeId, eventId, eventType, sessionId, userId, timestamp, data FROM raw_events
     WHERE journal = '${journal}' AND seq >= ${from} AND seq < ${from + PAGE_ROWS} ORDER BY seq`,
  );
  return rows.map(([seq, storeId, eventId, eventType, sessionId, userId, at, data]) => {
    const timestamp = `${at.replace(' ', 'T').slice(0, 23)}Z`;
    const digest = digestOf({ storeId, eventId, eventType, sessionId, userId, timestamp, data });
    return { key: keyOf(storeId, eventId), position: `${journal}:${seq}`, digest, eventType };
  });
}

/** Events of which more than one row is stored. */
export function storedTwice(stored: Stored): string[] {
  return [...stored.rows].filter(([, rows]) => rows.length > 1).map(([key]) => key);
}

/**
 * What may explain that an event stands in more than one journal; in one journal nothing does. `local`: a reply that accepted
 * it said that Redis was not asked. `lost window`: Redis has lost what it knew.
 */
export type Excuse = 'none' | 'local' | 'lost window';

function mayRepeat(
  entry: Entry,
  rows: Stored['rows'] extends ReadonlyMap<string, infer Rows> ? Rows : never,
  excuse: Excuse,
) {
  const journals = new Set(rows.map(({ position }) => journalOf(position)));
  return journals.size === rows.length && (excuse === 'lost window' || (excuse === 'local' && entry.wasLocal));
}

/** Broken promises as sentences; none when all were kept. */
export function compare(ledger: Ledger, stored: Stored, excuse: Excuse = 'none'): string[] {
  const broken = createFindings();
  for (const [key, entry] of ledger.entries()) {
    const rows = stored.rows.get(key) ?? [];
    const [row] = rows;
    const places = rows.map(({ position }) => position);
    const elsewhere = entry.positions.find((position) => !places.includes(position));
    if (rows.length > 1 && !mayRepeat(entry, rows, excuse)) broken.add('stored more than once', `${key} (${places})`);
    if (row === undefined) {
      if (entry.promised) broken.add('promised and not stored', `${key} at ${entry.positions[0] ?? 'no position'}`);
    } else if (entry.digest === undefined) broken.add('bad and stored all the same', key);
    else if (rows.some(({ digest }) => digest !== entry.digest))
      broken.add('stored with other content than was sent', key);
    else if (elsewhere !== undefined)
      broken.add('stored elsewhere than was said', `${key}: ${places} instead of ${elsewhere}`);
  }
  for (const { keys, may } of ledger.together()) {
    const there = keys.filter((key) => stored.rows.has(key)).length;
    if (there > 0 && (may === 'none' || there < keys.length))
      broken.add('stored in part', `${there} of ${keys.length} events, ${keys[0]} and so on, of which ${may} may be`);
  }
  for (const key of stored.rows.keys()) if (!ledger.entries().has(key)) broken.add('stored and never sent', key);
  for (const [journal, { rows, first, last }] of stored.journals)
    if (first !== 1 || rows !== last)
      broken.add('sequence numbers with gaps or repeats', `${journal}: ${rows} rows from ${first} to ${last}`);
  for (const [name, log] of ledger.orders()) {
    for (const positions of Map.groupBy(log.positions(), journalOf).values()) {
      const seqs = positions.map((position) => Number(position.split(':')[1]));
      const at = seqs.findIndex((seq, index) => index > 0 && seq <= (seqs[index - 1] as number));
      if (at > 0) broken.add('out of order', `${name}: ${seqs[at]} after ${seqs[at - 1]}`);
    }
  }
  if (stored.view.rows !== stored.rows.size || stored.view.keys !== stored.rows.size)
    broken.add('the view differs', `${stored.view.rows} rows of ${stored.view.keys} events, not ${stored.rows.size}`);
  return [...ledger.broken(), ...broken.sentences()];
}

/** After the services have ended: what the delivers of one store counted is what stands in its table. */
export function compareCounters(dataFolders: readonly string[], stored: Stored): string[] {
  const broken: string[] = [];
  const counted = new Map<string, number>();
  let total = 0;
  for (const dataFolder of dataFolders) {
    const file = join(dataFolder, 'deliver', 'state.sqlite');
    if (!existsSync(file)) return [`${file} is not there`];
    const state = openState(file);
    try {
      for (const { eventType, count } of state.counts(EVERYTHING))
        counted.set(eventType, (counted.get(eventType) ?? 0) + count);
      total += state.countedTotal();
      for (const { journal, seq } of state.cursors())
        if (seq !== (stored.journals.get(journal)?.last ?? 0))
          broken.push(
            `the cursor of ${journal} stands at ${seq}, the last row has ${stored.journals.get(journal)?.last}`,
          );
    } finally {
      state.close();
    }
  }
  for (const type of new Set([...counted.keys(), ...stored.countByType.keys()]))
    if (counted.get(type) !== stored.countByType.get(type))
      broken.push(`${counted.get(type) ?? 0} ${type} were counted, ${stored.countByType.get(type) ?? 0} are stored`);
  if (total !== stored.count) broken.push(`${total} events were counted, ${stored.count} are stored`);
  return broken;
}

/** Rows of a query as arrays of cells. Tried again while deliver is being started. */
export async function select<T>(url: string, sql: string): Promise<T[]> {
  let text = '';
  await until(
    async () => {
      try {
        const response = await fetch(`${url}/query`, { method: 'POST', body: `${sql} FORMAT JSONCompactEachRow` });
        text = await response.text();
        if (response.ok) return true;
        if (response.status === 503) return false;
      } catch {
        return false; // nobody listens yet
      }
      throw new Error(`${sql}: ${text}`);
    },
    () => `an answer to ${sql}: ${text}`,
  );
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line));
}

/** Undefined while nobody listens. On a connection of its own. */
export async function askJson(url: string): Promise<unknown> {
  try {
    return await (await fetch(url, { keepalive: false, signal: AbortSignal.timeout(10_000) })).json();
  } catch {
    return undefined;
  }
}

function createFindings() {
  const byKind = new Map<string, string[]>();
  return {
    add(kind: string, what: string) {
      const list = byKind.get(kind) ?? [];
      byKind.set(kind, list);
      list.push(what);
    },
    sentences: () =>
      [...byKind].map(([kind, list]) => {
        const more = list.length > NAMED_MAX ? ` and ${list.length - NAMED_MAX} more` : '';
        return `${kind}: ${list.slice(0, NAMED_MAX).join(', ')}${more}`;
      }),
  };
}
