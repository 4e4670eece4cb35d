/** Inserts of rows: what they say, which of them are under way, and on which host. */
import { type Block, Retryable } from '@libs/pipeline';
import { insertTable } from './schema.ts';
import type { Store } from './store.ts';
import type { InsertSettings } from './store-embedded.ts';
import { insertError, isUnreachable } from './store-errors.ts';

/** What marks every query of ours that carries a block, in `query_id` and `log_comment`. */
const QUERY_PREFIX = 'weir-insert';
/** A block's host is forgotten once its fate is known; this only bounds what a bug could leave behind. */
const PLACES_MAX = 1_000;

/** The sequence number of the row with that number (from 1) in what was sent. */
export type RowSeqs = (row: number) => number | undefined;

export interface Attempt {
  readonly block: Block;
  readonly chunks: readonly Uint8Array[];
  readonly token: string;
  readonly seqs: RowSeqs;
  readonly signal: AbortSignal;
}

export interface Attempts {
  /** Sends the rows to the block's host, or for its first attempt to the first that can be reached. Throws the pipeline's errors. */
  first(attempt: Attempt): Promise<void>;
  /** Sends the rows to the block's host and no other. */
  again(attempt: Attempt): Promise<void>;
  /** Where the block is: where an attempt of this process went, else where a first attempt would go. */
  host(block: Block): { readonly name: string; readonly isRemembered: boolean };
  /** The block's fate is known. */
  forget(block: Block): void;
  /** True while an attempt at this block is under way, even when nobody waits for it any more. */
  running(block: Block): boolean;
  /** Resolves once none is. Throws an ambiguous `Retryable` when the signal aborts first. */
  settled(block: Block, signal: AbortSignal): Promise<void>;
  /** The same for all blocks. */
  idle(signal: AbortSignal): Promise<void>;
}

/** What the query ids of all attempts at a block begin with. */
export function queryPrefix(block: Block): string {
  return `${QUERY_PREFIX}:${block.token}:`;
}

/**
 * Every setting that the guarantees need is written out, whatever the user's profile says:
 * - one insert makes one part per day, so that an error in any row leaves nothing behind: no flushing in between, by
 *   rows or by bytes, and one thread;
 * - `data` and `metadata` keep their text, byte for byte;
 * - an unknown field or a null is an error, never a default.
 */
function insertSettings(token: string, queryId: string): InsertSettings {
  return {
    async_insert: 0,
    insert_deduplicate: 1,
    insert_deduplication_token: token,
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
    date_time_input_format: 'best_effort',
    log_comment: queryId,
  };
}

export function createAttempts(store: Store): Attempts {
  const inFlight = new Map<string, Set<Promise<void>>>();
  const places = new Map<string, string>();

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

  function place(block: Block, host: string): void {
    places.delete(block.token);
    places.set(block.token, host);
    const [oldest] = places.keys();
    if (places.size > PLACES_MAX && oldest !== undefined) places.delete(oldest);
  }

  async function run({ block, chunks, token, seqs, signal }: Attempt, host: string): Promise<void> {
    if (signal.aborted) throw new Retryable('aborted', 'The write was given up before it began.');
    const queryId = `${queryPrefix(block)}${crypto.randomUUID()}`;
    const settings = insertSettings(token, queryId);
    // The engine would settle early and go on: it gets no signal, and we wait or leave.
    const work = store.insert(insertTable(store), chunks, {
      queryId,
      host,
      settings,
      ...(store.kind === 'server' ? { signal } : {}),
    });
    place(block, host);
    track(block.token, work);
    try {
      await untilAborted(work, signal);
    } catch (error) {
      if (error instanceof Retryable) throw error;
      if (signal.aborted) throw givenUp(error);
      throw insertError(error, seqs);
    }
  }

  async function first(attempt: Attempt): Promise<void> {
    let last: unknown;
    for (const host of store.hostsFor(attempt.block.token)) {
      try {
        return await run(attempt, host);
      } catch (error) {
        last = error;
        if (!isUnreachable(error) || (error as Retryable).ambiguous) throw error;
      }
    }
    throw last;
  }

  function host({ token }: Block) {
    const remembered = places.get(token);
    return { name: remembered ?? String(store.hostsFor(token)[0]), isRemembered: remembered !== undefined };
  }

  return {
    first,
    again: (attempt) => run(attempt, host(attempt.block).name),
    host,
    forget: ({ token }) => places.delete(token),
    running: ({ token }) => inFlight.has(token),
    settled: ({ token }, signal) => untilAborted(Promise.all(inFlight.get(token) ?? []), signal),
    idle: (signal) => untilAborted(Promise.all([...inFlight.values()].flatMap((group) => [...group])), signal),
  };
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
