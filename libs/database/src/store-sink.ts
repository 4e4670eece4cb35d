/** The sink that stores blocks in `raw_events`: each row once, whatever was lost on the way. */
import {
  type Block,
  Overloaded,
  Permanent,
  Retryable,
  type RowFailure,
  type Sink,
  type SinkHealth,
  type WriteContext,
} from '@libs/pipeline';
import { migrate } from './migrate.ts';
import type { Store, StoreLogger } from './store.ts';
import { mayBePartial } from './store-errors.ts';
import { createAttempts, queryPrefix } from './store-insert.ts';
import { resolveBlock } from './store-resolve.ts';

/** Tokens become part of query ids and of SQL literals. */
const TOKEN = /^[A-Za-z0-9:._/-]{1,200}$/;
const JOURNAL = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** A server that came back empty: the next `connect` makes the tables again. */
const TABLES_GONE = /^clickhouse_unknown_(table|database)$/;
/** The wait after an overload doubles up to here. */
const OVERLOADED_AFTER_MS_MAX = 60_000;
/** Longer than any healthy block takes: a server that fell silent shows in the health long before a request times out. */
const SILENT_MS = 5_000;

export interface StoreSinkOptions {
  /** How long a resolution waits for earlier attempts that the store still works on. Default 60,000. */
  readonly settleTimeoutMs?: number;
}

export interface StoreSinkDeps {
  readonly logger: StoreLogger;
}

/**
 * Builds the sink, named `store`. `connect` checks that the store answers and brings its tables up to date; it throws
 * `Permanent` (`schema_too_new`, which concerns the sink) or `Retryable`. `write` throws `Permanent` when a row can
 * never be stored (it concerns the rows, and none of the block is stored), `Overloaded`, with a wait that grows while
 * it goes on, or `Retryable`, ambiguous when rows may have been stored; what an operator has to put right, such as a
 * login, is `Retryable`. It resolves with refused rows only for a block of which others were stored before.
 *
 * The embedded engine cannot be interrupted: when the signal aborts, `write` ends at once with an ambiguous error
 * while the insert goes on, and the next `write` of the same block, and `close`, wait for it first.
 */
export function createStoreSink(store: Store, deps: StoreSinkDeps, options: StoreSinkOptions = {}): Sink {
  const settleTimeoutMs = options.settleTimeoutMs ?? 60_000;
  const attempts = createAttempts(store);
  /** Tokens of blocks that were cut off between two parts. */
  const partial = new Set<string>();
  /** When the calls that are under way began. */
  const startedAt = new Map<symbol, number>();
  let health: SinkHealth = { state: 'unhealthy', lastError: 'not connected yet' };
  let migrated = false;
  let overloads = 0;

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
    const id = Symbol();
    startedAt.set(id, startedMs);
    try {
      const result = await call();
      health = { state: 'healthy', latencyMs: performance.now() - startedMs };
      return result;
    } catch (error) {
      const lastError = error instanceof Error ? error.message : String(error);
      health = { ...health, state: error instanceof Overloaded ? 'degraded' : 'unhealthy', lastError };
      throw error;
    } finally {
      startedAt.delete(id);
    }
  }

  function currentHealth(): SinkHealth {
    const silentMs = performance.now() - Math.min(...startedAt.values());
    if (silentMs < SILENT_MS) return health;
    const lastError = `A call to the store has had no answer for ${Math.floor(silentMs / 1_000)} s.`;
    return { ...health, state: health.state === 'unhealthy' ? 'unhealthy' : 'degraded', lastError };
  }

  async function write(block: Block, context: WriteContext): Promise<readonly RowFailure[]> {
    assertBlock(block);
    try {
      const failures = await observed(() => attempt(block, context));
      overloads = 0;
      settle(block);
      return failures;
    } catch (error) {
      if (error instanceof Permanent) settle(block);
      if (error instanceof Retryable && TABLES_GONE.test(error.code)) migrated = false;
      if (!(error instanceof Overloaded)) throw error;
      if (mayBePartial(error)) partial.add(block.token);
      throw slower(error, overloads++);
    }
  }

  /** The block's fate is known. */
  function settle(block: Block): void {
    attempts.forget(block);
    partial.delete(block.token);
  }

  async function attempt(block: Block, { signal, ambiguous, only }: WriteContext): Promise<readonly RowFailure[]> {
    // A caller that lost count of its own attempt is corrected here.
    const isUntouched = !ambiguous && !attempts.running(block) && !partial.has(block.token);
    if (isUntouched && only === undefined) {
      const seqs = (row: number) => block.firstSeq + row - 1;
      await attempts.first({ block, chunks: block.chunks, token: block.token, seqs, signal });
      return [];
    }
    await attempts.settled(block, signal);
    const resolution = {
      store,
      host: attempts.host(block),
      send: (chunks: readonly Uint8Array[], token: string, seqs: (row: number) => number | undefined) =>
        attempts.again({ block, chunks, token, seqs, signal }),
      only,
      signal,
      settleTimeoutMs,
      queryPrefix: queryPrefix(block),
      logger: deps.logger,
    };
    return await resolveBlock(block, resolution).catch(stayAmbiguous);
  }

  return {
    name: 'store',
    connect,
    write,
    close: (signal) => attempts.idle(signal),
    health: currentHealth,
  };
}

function assertBlock(block: Block): void {
  const rangeIsRight =
    Number.isSafeInteger(block.firstSeq) && Number.isSafeInteger(block.lastSeq) && block.firstSeq <= block.lastSeq;
  if (!TOKEN.test(block.token) || !JOURNAL.test(block.journal) || !rangeIsRight) {
    throw new TypeError(`not a block: ${JSON.stringify([block.token, block.journal, block.firstSeq, block.lastSeq])}`);
  }
}

/** Each overload in a row doubles the wait. */
function slower(error: Overloaded, overloadsBefore: number): Overloaded {
  const afterMs = Math.min(OVERLOADED_AFTER_MS_MAX, error.afterMs * 2 ** Math.min(overloadsBefore, 20));
  return new Overloaded(error.code, error.message, Math.max(afterMs, error.afterMs), { cause: error.cause });
}

/** An error while finding out proves nothing about the attempt before. */
function stayAmbiguous(error: unknown): never {
  if (!(error instanceof Retryable) || error.ambiguous) throw error;
  throw new Retryable(error.code, error.message, { cause: error, ambiguous: true });
}
