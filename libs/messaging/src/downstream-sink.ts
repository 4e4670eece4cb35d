/**
 * Events to one HTTP service: one POST each, at least once.
 *
 * - A write, which begins no request after `WRITE_MS_MAX`, ends with what is left as failures to be retried: the next write
 *   of the block is given those alone (`only`), and what the service took is not sent again.
 * - `order: 'session'`: an event is sent when the one before it of the same session was taken or given up for good.
 *   While one waits, those behind it wait, and other sessions go on. A request that timed out may still be worked on
 *   by the service while its successor arrives: that is for the service to prevent.
 * - Slots, breaker and pauses belong to the service: every journal's writes share them.
 */
import { readStoredRows, type StoredRow } from '@libs/models';
import { type Block, Overloaded, Retryable, type RowFailure, type Sink, type WriteContext } from '@libs/pipeline';
import type { Downstream } from './downstream-options.ts';
import type { Failed, Reply } from './downstream-reply.ts';
import { createRetryCounts } from './downstream-retries.ts';
import {
  createDownstreamService,
  type DownstreamDeps,
  type DownstreamOptions,
  type Stop,
} from './downstream-service.ts';

/**
 * A write that has taken so long sends nothing more: what is left belongs to the next one. So what was taken is known
 * outside every few seconds, and a slow service never makes the runner abort requests that are under way.
 */
const WRITE_MS_MAX = 10_000;
const UNFINISHED: Stop = {
  code: 'unfinished',
  message: `After ${WRITE_MS_MAX} ms the rest is left to the next write.`,
};

/** What became of one row: undefined when the service has it. */
type Verdict = RowFailure | undefined;

export function createDownstreamSink(options: DownstreamOptions, deps: DownstreamDeps): Sink {
  const name = `http:${options.name}`;
  const { nowMs = () => performance.now(), wallClockMs = Date.now } = deps;
  const types: ReadonlySet<string> = new Set(options.eventTypes);
  const service = createDownstreamService(options, deps);
  const retryCounts = createRetryCounts();
  const closing = new AbortController();
  const writes = new Set<Promise<unknown>>();
  const isOld = (row: StoredRow) => wallClockMs() - row.receivedAtMs > options.ageMaxMs;

  function judge(row: StoredRow, reply: Reply, counts: Map<number, number>): Verdict {
    if (reply.kind === 'delivered') return undefined;
    if (reply.kind === 'refused') return refusal(row, reply.code, reply.message);
    const answers = (counts.get(row.seq) ?? 0) + (reply.isAnswer ? 1 : 0);
    if (reply.isAnswer) counts.set(row.seq, answers);
    if (answers > options.retries)
      return refusal(
        row,
        'retries_exhausted',
        `Sent ${answers} times, each time in vain; the last time ${reply.message}`,
      );
    if (isOld(row)) return expired(row, `${expiry()}; the last time ${reply.message}`);
    return retryLater(row, reply);
  }

  /** An old event goes to the dead letters even when it cannot be tried: an outage must not fill the journal. */
  function hold(row: StoredRow, stop: Stop): RowFailure {
    if (stop.afterMs !== undefined && isOld(row)) return expired(row, `${expiry()}. ${stop.message}`);
    return retryLater(row, stop);
  }

  const expiry = () => `Not delivered within ${options.ageMaxMs} ms of its receipt`;

  async function writeRows(block: Block, rows: readonly StoredRow[], signal: AbortSignal): Promise<RowFailure[]> {
    const counts = retryCounts.of(block.token);
    const chains = chainsOf(rows, options.order);
    const failures: RowFailure[] = [];
    let stop: Stop | undefined;
    const startMs = nowMs();
    let isSent = false;
    let next = 0;

    async function runRow(row: StoredRow): Promise<Verdict> {
      stop ??= nowMs() - startMs > WRITE_MS_MAX ? UNFINISHED : service.obstacle(signal);
      if (stop !== undefined) return hold(row, stop);
      const reply = await service.send(row, signal);
      if ('kind' in reply) {
        isSent = true;
        return judge(row, reply, counts);
      }
      stop ??= reply;
      return hold(row, reply);
    }

    async function runChain(chain: readonly StoredRow[]): Promise<void> {
      for (let at = 0; at < chain.length; at++) {
        const row = chain[at] as StoredRow;
        const verdict = await runRow(row);
        if (verdict === undefined) continue;
        failures.push(verdict);
        if (verdict.permanent) continue;
        const waiting = { code: 'waits_for_earlier', message: `Event ${row.seq} of the same session comes first.` };
        for (const later of chain.slice(at + 1)) failures.push(retryLater(later, waiting));
        return;
      }
    }

    async function runLane(): Promise<void> {
      for (let chain = chains[next++]; chain !== undefined; chain = chains[next++]) await runChain(chain);
    }

    await Promise.all(Array.from({ length: Math.min(options.concurrency, chains.length) }, runLane));
    retryCounts.settle(block.token, failures);
    // Nothing was sent and nothing is given up: one error says it all, and says how long to wait.
    if (stop?.afterMs !== undefined && !isSent && failures.every(({ permanent }) => !permanent))
      throw new Overloaded(stop.code, stop.message, stop.afterMs);
    return failures.toSorted((one, other) => one.seq - other.seq);
  }

  async function write(block: Block, { signal, only }: WriteContext): Promise<readonly RowFailure[]> {
    if (closing.signal.aborted) throw new Retryable('closed', `${name} is closed.`);
    const rows = readStoredRows(block.chunks, block.firstSeq, types).filter(({ seq }) => only?.has(seq) !== false);
    if (rows.length === 0) return [];
    const work = writeRows(block, rows, AbortSignal.any([signal, closing.signal]));
    writes.add(work);
    try {
      return await work;
    } finally {
      writes.delete(work);
    }
  }

  return {
    name,
    eventTypes: types,
    // Nothing to do: asking a service whether it is there would be an event that nobody sent.
    async connect() {},
    write,
    async close() {
      closing.abort(new Error(`${name} is closed`));
      await Promise.allSettled(writes);
    },
    health: service.health,
  };
}

function refusal({ seq }: StoredRow, code: string, message: string): RowFailure {
  return { seq, code, message, permanent: true };
}

function expired(row: StoredRow, message: string): RowFailure {
  return { ...refusal(row, 'expired', message), isExpired: true };
}

function retryLater({ seq }: StoredRow, { code, message }: Pick<Failed, 'code' | 'message'>): RowFailure {
  return { seq, code, message, permanent: false };
}

/** What must go one after the other, in order of the first row. */
function chainsOf(rows: readonly StoredRow[], order: Downstream['order']): readonly (readonly StoredRow[])[] {
  if (order === 'none') return rows.map((row) => [row]);
  return [...Map.groupBy(rows, ({ sessionId }) => sessionId).values()];
}
