/**
 * What to do with a block whose earlier attempt may have been stored, in whole, in part, or not at all: ask the table,
 * send what is missing, ask again.
 *
 * Why a token alone is not enough: ClickHouse writes its dedupe log before it commits the part, so a crash between the
 * two leaves a token that swallows rows which are not there. And why a SELECT alone is not: the first attempt may
 * still be under way and land after it.
 */
import { type Block, Retryable } from '@libs/pipeline';
import { type BlockRow, blockRows } from './block-rows.ts';
import type { Store, StoreLogger } from './store.ts';
import type { SendRows } from './store-sink.ts';

interface Resolution {
  readonly store: Store;
  readonly send: SendRows;
  readonly signal: AbortSignal;
  readonly settleTimeoutMs: number;
  /** What the query ids of all attempts at this block begin with. */
  readonly queryPrefix: string;
  readonly logger: StoreLogger;
}

/** More would mean that the table forgets what it confirmed. */
const ROUNDS_MAX = 5;
const POLL_MS = 100;

/** Resolves when every row of the block stands in the table, once. Throws as a write does. */
export async function resolveBlock(block: Block, resolution: Resolution): Promise<void> {
  const { send, logger } = resolution;
  const rows = blockRows(block);
  const range = receivedAtRange(rows);
  let missing = await missingRows(block, rows, range, resolution);
  if (missing.length === rows.length) {
    // Nothing is there: the same bytes under the same token, so that a first attempt which lands late is swallowed.
    await send(block.chunks, block.token, (row) => rows[row - 1]?.seq);
    missing = await missingRows(block, rows, range, resolution);
  }
  for (let round = 0; missing.length > 0; round++) {
    if (round === ROUNDS_MAX) {
      throw new Retryable(
        'store_forgets',
        `${missing.length} rows of block ${block.token} are not there after inserts that succeeded.`,
        {
          ambiguous: true,
        },
      );
    }
    await noneRunning(block, resolution);
    missing = await missingRows(block, rows, range, resolution);
    if (missing.length === 0) break;
    logger.warn(
      { token: block.token, missing: missing.length, rows: rows.length },
      'rows of a block are missing: sending them again',
    );
    const part = missing;
    // The token names the rows and the round: an attempt that is repeated is recognised, one that was swallowed is not.
    const token = `${block.token}/${seqsHash(part)}-${round}`;
    await send(
      part.map((row) => row.bytes),
      token,
      (row) => part[row - 1]?.seq,
    );
    missing = await missingRows(block, rows, range, resolution);
  }
}

/** The same rows always give the same text. */
function seqsHash(rows: readonly BlockRow[]): string {
  return Bun.hash.xxHash3(rows.map((row) => row.seq).join()).toString(16);
}

/** A condition that lets the table skip whole days. Empty when a row's receivedAt could not be read. */
function receivedAtRange(rows: readonly BlockRow[]): string {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { receivedAtMs } of rows) {
    if (Number.isNaN(receivedAtMs)) return '';
    first = Math.min(first, receivedAtMs);
    last = Math.max(last, receivedAtMs);
  }
  return ` AND receivedAt BETWEEN fromUnixTimestamp64Milli(${first}) AND fromUnixTimestamp64Milli(${last})`;
}

async function missingRows(
  block: Block,
  rows: readonly BlockRow[],
  range: string,
  { store, logger }: Resolution,
): Promise<BlockRow[]> {
  // Literals, not parameters: the embedded engine runs parameterised queries one at a time, behind any user's.
  const cells = await store.select(
    `SELECT seq FROM ${store.database}.raw_events WHERE journal = '${block.journal}' AND seq BETWEEN ${block.firstSeq} AND ${block.lastSeq}${range}`,
  );
  const held = new Set(cells.map(([seq]) => Number(seq)));
  if (held.size < cells.length) {
    logger.warn(
      { token: block.token, rows: cells.length, distinct: held.size },
      'rows of a block stand in the table twice',
    );
  }
  return rows.filter((row) => !held.has(row.seq));
}

/** Waits until the store works on no attempt at this block any more. */
async function noneRunning(block: Block, { store, signal, settleTimeoutMs, queryPrefix }: Resolution): Promise<void> {
  const deadlineMs = performance.now() + settleTimeoutMs;
  for (;;) {
    const [row] = await store.select(
      `SELECT count() FROM system.processes WHERE startsWith(query_id, '${queryPrefix}') OR startsWith(Settings['log_comment'], '${queryPrefix}')`,
    );
    if (row?.[0] === '0') return;
    if (signal.aborted || performance.now() > deadlineMs) {
      throw new Retryable('block_in_progress', `The store still works on an earlier attempt at block ${block.token}.`, {
        ambiguous: true,
      });
    }
    await Bun.sleep(POLL_MS);
  }
}
