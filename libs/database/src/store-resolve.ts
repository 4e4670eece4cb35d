/**
 * What to do with a block whose earlier attempt may have been stored, in whole, in part, or not at all: ask the table,
 * send what is missing, ask again.
 *
 * Why a token alone is not enough: ClickHouse writes its dedupe log before it commits the part, so a crash between the
 * two leaves a token that swallows rows which are not there. And why a SELECT alone is not: the first attempt may
 * still be under way, or wait in a proxy, and land after it.
 */
import { type Block, Permanent, Retryable, type RowFailure } from '@libs/pipeline';
import { type BlockRow, blockRows } from './block-rows.ts';
import { insertTable } from './schema.ts';
import type { Store, StoreLogger } from './store.ts';
import type { RowSeqs } from './store-insert.ts';

interface Resolution {
  readonly store: Store;
  /** Where the block is. Not remembered: where it should be, unless that host could not be reached or the list has changed. */
  readonly host: { readonly name: string; readonly isRemembered: boolean };
  /** One attempt at some rows of the block, on its host. Throws the pipeline's errors. */
  readonly send: (chunks: readonly Uint8Array[], token: string, seqs: RowSeqs) => Promise<void>;
  /** The rows that are still to be stored; undefined: every row. */
  readonly only: ReadonlySet<number> | undefined;
  readonly signal: AbortSignal;
  readonly settleTimeoutMs: number;
  /** What the query ids of all attempts at this block begin with. */
  readonly queryPrefix: string;
  readonly logger: StoreLogger;
}

/** More would mean that the table forgets what it confirmed. */
const ROUNDS_MAX = 5;
const POLL_MS = 100;
/** What a host says that cannot reach another one of its cluster. */
const HOST_MISSING = /^clickhouse_(all_connection_tries_failed|network_error|socket_timeout|dns_error)$/;

/**
 * Resolves when every row of the block (of `only`) stands in the table once, or is refused: `Permanent` while none of
 * the block is stored, else the refused rows as the result. Throws as a write does.
 */
export async function resolveBlock(block: Block, resolution: Resolution): Promise<RowFailure[]> {
  const { logger, only } = resolution;
  const all = blockRows(block);
  const rows = only === undefined ? all : all.filter((row) => only.has(row.seq));
  const lookup = createLookup(block, rows, resolution);
  const failures: RowFailure[] = [];
  const isOpen = ({ seq }: BlockRow) => !failures.some((failure) => failure.seq === seq);

  let missing = await lookup.missingAtFirst();
  if (missing.length > 0) {
    await sendUnderOwnToken(block, all, missing, resolution);
    missing = await lookup.missing('host');
  }
  for (let round = 0; missing.length > 0; round++) {
    if (round === ROUNDS_MAX) throw storeForgets(block, missing.length);
    await lookup.noneRunning();
    missing = (await lookup.missing('everywhere')).filter(isOpen);
    if (missing.length === 0) break;
    logger.warn(
      { token: block.token, missing: missing.length, rows: rows.length },
      'rows of a block are missing: sending them again',
    );
    failures.push(...(await sendUnderFreshTokens(block, missing, round, resolution)));
    missing = (await lookup.missing('host')).filter(isOpen);
  }
  return failures;
}

/**
 * Under the block's own token a first attempt that lands late is swallowed. When nothing is there these are the same
 * bytes; else the rows that are missing, because the table keeps a token for each day: one for a day that was stored
 * may be forgotten by now, and one for a day that is missing is taken from the late attempt.
 */
async function sendUnderOwnToken(
  block: Block,
  all: readonly BlockRow[],
  missing: readonly BlockRow[],
  { send }: Resolution,
): Promise<void> {
  const seqs: RowSeqs = (row) => missing[row - 1]?.seq;
  if (missing.length === all.length) return send(block.chunks, block.token, seqs);
  try {
    await send(
      missing.map((row) => row.bytes),
      block.token,
      seqs,
    );
  } catch (error) {
    // Rows of this block are stored: which of the others are refused is found out among them.
    if (!(error instanceof Permanent)) throw error;
  }
}

/** Sends the rows, halving them where some are refused, and returns those. */
async function sendUnderFreshTokens(
  block: Block,
  rows: readonly BlockRow[],
  round: number,
  resolution: Resolution,
): Promise<RowFailure[]> {
  // The token names the rows and the round: an attempt that is repeated is recognised, one that was swallowed is not.
  const token = `${block.token}/${seqsHash(rows)}-${round}`;
  try {
    await resolution.send(
      rows.map((row) => row.bytes),
      token,
      (row) => rows[row - 1]?.seq,
    );
    return [];
  } catch (error) {
    if (!(error instanceof Permanent)) throw error;
    const [row] = rows;
    if (rows.length === 1 && row) {
      return [{ seq: row.seq, code: error.code, message: error.message, permanent: true }];
    }
    const middle = Math.ceil(rows.length / 2);
    const left = await sendUnderFreshTokens(block, rows.slice(0, middle), round, resolution);
    return [...left, ...(await sendUnderFreshTokens(block, rows.slice(middle), round, resolution))];
  }
}

/** The same rows always give the same text. */
function seqsHash(rows: readonly BlockRow[]): string {
  return Bun.hash.xxHash3(rows.map((row) => row.seq).join()).toString(16);
}

function storeForgets(block: Block, missing: number): Retryable {
  const text = `${missing} rows of block ${block.token} are not there after inserts that succeeded.`;
  return new Retryable('store_forgets', text, { ambiguous: true });
}

/** The block's own host, or every host of the cluster (which is the same when there is none). */
type Scope = 'host' | 'everywhere';

/** Questions about one block. */
function createLookup(block: Block, rows: readonly BlockRow[], resolution: Resolution) {
  const { store, host, signal, settleTimeoutMs, queryPrefix, logger } = resolution;
  const { database, cluster } = store;
  const range = receivedAtRange(rows);
  const ask = (sql: string) => store.select(sql, { host: host.name, signal });

  /** Every replica counts as one that may know more than the others. */
  function everyHosts(table: string): string {
    return cluster === undefined ? table : `clusterAllReplicas('${cluster}', ${table})`;
  }

  async function missing(scope: Scope): Promise<BlockRow[]> {
    const table = `${database}.${insertTable(store)}`;
    // Literals, not parameters: the embedded engine runs parameterised queries one at a time, behind any user's.
    const cells = await ask(
      `SELECT seq FROM ${scope === 'host' ? table : everyHosts(table)} WHERE journal = '${block.journal}' AND seq BETWEEN ${block.firstSeq} AND ${block.lastSeq}${range}`,
    );
    const held = new Set(cells.map(([seq]) => Number(seq)));
    if (held.size < cells.length && (scope === 'host' || cluster === undefined)) {
      logger.warn(
        { token: block.token, rows: cells.length, distinct: held.size },
        'rows of a block stand in the table twice',
      );
    }
    return rows.filter((row) => !held.has(row.seq));
  }

  /** A block whose host this process does not remember may be on another one: all are asked, as far as they are there. */
  async function missingAtFirst(): Promise<BlockRow[]> {
    if (cluster === undefined || host.isRemembered) return missing('host');
    try {
      return await missing('everywhere');
    } catch (error) {
      if (!(error instanceof Retryable && HOST_MISSING.test(error.code))) throw error;
      logger.warn(
        { token: block.token, host: host.name, err: error },
        'not every host of the cluster can be asked for a block',
      );
      return missing('host');
    }
  }

  /** Waits until no host works on an attempt at this block any more. */
  async function noneRunning(): Promise<void> {
    const deadlineMs = performance.now() + settleTimeoutMs;
    for (;;) {
      const [row] = await ask(
        `SELECT count() FROM ${everyHosts('system.processes')} WHERE startsWith(query_id, '${queryPrefix}') OR startsWith(Settings['log_comment'], '${queryPrefix}')`,
      );
      if (row?.[0] === '0') return;
      if (signal.aborted || performance.now() > deadlineMs) {
        const text = `The store still works on an earlier attempt at block ${block.token}.`;
        throw new Retryable('block_in_progress', text, { ambiguous: true });
      }
      await Bun.sleep(POLL_MS);
    }
  }

  return { missing, missingAtFirst, noneRunning };
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
  return rows.length === 0
    ? ''
    : ` AND receivedAt BETWEEN fromUnixTimestamp64Milli(${first}) AND fromUnixTimestamp64Milli(${last})`;
}
