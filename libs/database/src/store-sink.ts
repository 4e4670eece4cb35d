/** The sink that stores blocks in `raw_events`: each row once, whatever was lost on the way. */
import { type Block, Overloaded, Retryable, type Sink, type SinkHealth } from '@libs/pipeline';
import { migrate } from './migrate.ts';
import type { Store, StoreLogger } from './store.ts';
import { insertError } from './store-errors.ts';
import { resolveBlock } from './store-resolve.ts';

/** What marks every query of ours that carries a block, in `query_id` and `log_comment`. */
const QUERY_PREFIX = 'weir-insert';
/** Tokens become part of query ids and of SQL literals. */
const TOKEN = /^[A-Za-z0-9:._/-]{1,200}$/;
const JOURNAL = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export interface StoreSinkOptions {
  /** How long a resolution waits for earlier attempts that the store still works on. Default 60,000. */
  readonly settleTimeoutMs?: number;
}

export interface StoreSinkDeps {
  readonly logger: StoreLogger;
}

/** One attempt: some rows of a block under one token. Throws the pipeline's errors. */
export type SendRows = (chunks: readonly Uint8Array[], token: string, seqs: RowSeqs) => Promise<void>;
/** The sequence number of the row with that number (from 1) in what was sent. */
export type RowSeqs = (row: number) => number | undefined;

/**
 * Builds the sink, named `store`. `connect` checks that the store answers and brings its tables up to date; it throws
 * `Permanent` (`schema_too_new`) or `Retryable`. `write` throws `Permanent` when a row can never be stored (nothing of
 * the block is, then), `Overloaded`, or `Retryable`, ambiguous when rows may have been stored.
 *
 * The embedded engine cannot be interrupted: when the signal aborts, `write` ends at once with an ambiguous error
 * while the insert goes on, and the next `write` of the same block, and `close`, wait for it first.
 */
export function createStoreSink(store: Store, deps: StoreSinkDeps, options: StoreSinkOptions = {}): Sink {
  const settleTimeoutMs = options.settleTimeoutMs ?? 60_000;
  const attempts = createAttempts(store);
  let health: SinkHealth = { state: 'unhealthy', lastError: 'not connected yet' };
  let migrated = false;

  async function connect(): Promise<void> {
    await observed(async () => {
      await store.ping();
      if (migrated) return;
      const { version, applied } = await migrate(store);
      migrated = true;
      deps.logger.debug({ version, applied, store: await store.version() }, 'store connected');
    });
  }

  /** Keeps `health` true to what the last call saw. */
  async function observed<T>(call: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    try {
      const result = await call();
      health = { state: 'healthy', latencyMs: performance.now() - startedMs };
      return result;
    } catch (error) {
      const lastError = error instanceof Error ? error.message : String(error);
      health = { ...health, state: error instanceof Overloaded ? 'degraded' : 'unhealthy', lastError };
      throw error;
    }
  }

  async function write(block: Block, context: { signal: AbortSignal; ambiguous: boolean }): Promise<[]> {
    assertBlock(block);
    const { signal } = context;
    await observed(async () => {
      const send: SendRows = (chunks, token, seqs) => attempts.run({ block, chunks, token, seqs, signal });
      // A caller that lost count of its own attempt is corrected here.
      if (context.ambiguous || attempts.running(block)) {
        await attempts.settled(block, signal);
        const resolution = { store, send, signal, settleTimeoutMs, queryPrefix: queryPrefix(block), ...deps };
        await resolveBlock(block, resolution).catch(stayAmbiguous);
      } else {
        await send(block.chunks, block.token, (row) => block.firstSeq + row - 1);
      }
    });
    return [];
  }

  return {
    name: 'store',
    connect,
    write,
    close: (signal) => attempts.idle(signal),
    health: () => health,
  };
}

function queryPrefix(block: Block): string {
  return `${QUERY_PREFIX}:${block.token}:`;
}

function assertBlock(block: Block): void {
  const rangeIsRight =
    Number.isSafeInteger(block.firstSeq) && Number.isSafeInteger(block.lastSeq) && block.firstSeq <= block.lastSeq;
  if (!TOKEN.test(block.token) || !JOURNAL.test(block.journal) || !rangeIsRight) {
    throw new TypeError(`not a block: ${JSON.stringify([block.token, block.journal, block.firstSeq, block.lastSeq])}`);
  }
}

/**
 * Every setting that the guarantees need is written out, whatever the user's profile says:
 * - one insert makes one part per day, so that an error in any row leaves nothing behind: no flushing in between, by
 *   rows or by bytes, and one thread;
 * - `data` and `metadata` keep their text, byte for byte;
 * - an unknown field or a null is an error, never a default.
 */
function insertStatement(database: string, token: string, queryId: string): string {
  const settings = Object.entries({
    async_insert: 0,
    insert_deduplicate: 1,
    insert_deduplication_token: `'${token}'`,
    max_insert_threads: 1,
    input_format_parallel_parsing: 0,
    max_insert_block_size: 1_000_000,
    max_insert_block_size_bytes: 0,
    min_insert_block_size_rows: 1_000_000,
    min_insert_block_size_bytes: 0,
    input_format_json_read_objects_as_strings: 1,
    input_format_skip_unknown_fields: 0,
    input_format_null_as_default: 0,
    input_format_defaults_for_omitted_fields: 1,
    date_time_input_format: `'best_effort'`,
    log_comment: `'${queryId}'`,
  });
  const list = settings.map(([name, value]) => `${name} = ${value}`).join(', ');
  return `INSERT INTO ${database}.raw_events SETTINGS ${list} FORMAT JSONEachRow`;
}

interface Attempt {
  readonly block: Block;
  readonly chunks: readonly Uint8Array[];
  readonly token: string;
  readonly seqs: RowSeqs;
  readonly signal: AbortSignal;
}

/** Runs inserts, and knows which of them the engine has not finished, even when nobody waits for them any more. */
function createAttempts(store: Store) {
  const inFlight = new Map<string, Set<Promise<void>>>();

  function track(key: string, work: Promise<unknown>): void {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    const group = inFlight.get(key) ?? new Set();
    inFlight.set(key, group.add(settled));
    settled.then(() => {
      group.delete(settled);
      if (group.size === 0 && inFlight.get(key) === group) inFlight.delete(key);
    });
  }

  async function run({ block, chunks, token, seqs, signal }: Attempt): Promise<void> {
    if (signal.aborted) throw new Retryable('aborted', 'The write was given up before it began.');
    const queryId = `${queryPrefix(block)}${crypto.randomUUID()}`;
    const statement = insertStatement(store.database, token, queryId);
    // The engine would settle early and go on: it gets no signal, and we wait or leave.
    const work = store.insert(statement, chunks, store.kind === 'server' ? { signal, queryId } : { queryId });
    track(block.token, work);
    try {
      await untilAborted(work, signal);
    } catch (error) {
      if (error instanceof Retryable) throw error;
      if (signal.aborted) throw givenUp(error);
      throw insertError(error, seqs);
    }
  }

  async function settled(block: Block, signal: AbortSignal): Promise<void> {
    await untilAborted(Promise.all(inFlight.get(block.token) ?? []), signal);
  }

  async function idle(signal: AbortSignal): Promise<void> {
    await untilAborted(Promise.all([...inFlight.values()].flatMap((group) => [...group])), signal);
  }

  return { run, settled, idle, running: (block: Block) => inFlight.has(block.token) };
}

/** An error while finding out proves nothing about the attempt before. */
function stayAmbiguous(error: unknown): never {
  if (!(error instanceof Retryable) || error.ambiguous) throw error;
  throw new Retryable(error.code, error.message, { cause: error, ambiguous: true });
}

function givenUp(cause: unknown): Retryable {
  return new Retryable('aborted', 'The write was given up before the store had answered.', { ambiguous: true, cause });
}

/** Waits for `work`, or throws an ambiguous `Retryable` once the signal aborts; `work` goes on either way. */
async function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(givenUp(signal.reason));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
