/** Reads rows, maps them, and keeps a bounded number of batches in flight until every row has an answer. */
import { CommandError } from '../exit-code.ts';
import type { Mapper } from './mapper.ts';
import type { Row, Rows } from './row.ts';
import { type Outgoing, SendError, type Sender } from './sender.ts';
import type { Tally } from './tally.ts';

export interface ImportOptions {
  readonly rows: Rows;
  readonly mapper: Mapper;
  readonly sender: Sender;
  readonly tally: Tally;
  readonly batchRows: number;
  readonly batchesInFlight: number;
  /** Aborting ends the reading; batches in flight have `graceMs` for their answers. */
  readonly stop: AbortSignal;
  readonly graceMs: number;
}

export type ImportEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly error: SendError }
  /** The input could not be read to its end. */
  | { readonly kind: 'broken'; readonly error: Error };

/** Half of the service's own default, so that neither side is near its limit. */
const BATCH_BYTES_MAX = 4 * 1_048_576;

export async function runImport(options: ImportOptions): Promise<ImportEnd> {
  const { mapper, sender, tally, stop } = options;
  const halt = new AbortController();
  const inFlight = new Set<Promise<void>>();
  let failure: SendError | undefined;
  let crash: { readonly error: unknown } | undefined;

  async function dispatch(batch: readonly Outgoing[]): Promise<void> {
    if (batch.length === 0) return;
    const work: Promise<void> = sender
      .send(batch, halt.signal)
      .catch((error: unknown) => {
        if (error instanceof SendError) failure ??= error;
        else if (!halt.signal.aborted) crash ??= { error };
      })
      .finally(() => inFlight.delete(work));
    inFlight.add(work);
    if (inFlight.size >= options.batchesInFlight) await Promise.race(inFlight);
  }

  const ended = () => stop.aborted || failure !== undefined || crash !== undefined;
  const batches = createBatches(options.batchRows, dispatch);

  async function take(rows: readonly Row[]): Promise<void> {
    for (const row of rows) {
      if (ended()) return;
      tally.read(1);
      const mapped = mapper(row);
      if (mapped.ok) await batches.add({ number: row.number, raw: row.raw, json: mapped.json });
      else tally.rejected([{ number: row.number, raw: row.raw, rejection: mapped.rejection }]);
    }
  }

  const grace = createGrace(stop, options.graceMs, () => halt.abort(new Error('stopped')));
  const broken = await readAll(options.rows, stop, ended, take);
  if (!ended()) await batches.flush();
  if (failure !== undefined) halt.abort(failure);
  await Promise.all(inFlight);
  grace.end();
  if (crash !== undefined) throw crash.error;
  if (failure !== undefined) return { kind: 'failed', error: failure };
  if (stop.aborted) return { kind: 'stopped' };
  return broken === undefined ? { kind: 'done' } : { kind: 'broken', error: broken };
}

/** Reads until the end, until `ended`, or until `stop`, even while the input has nothing to say (a terminal, a pipe). */
async function readAll(
  rows: Rows,
  stop: AbortSignal,
  ended: () => boolean,
  take: (rows: readonly Row[]) => Promise<void>,
): Promise<Error | undefined> {
  const groups = rows[Symbol.asyncIterator]();
  // One promise a turn: racing against a single long-lived one would keep every group of rows until the end.
  let wake: (() => void) | undefined;
  const onStop = () => wake?.();
  stop.addEventListener('abort', onStop, { once: true });
  const nextOrStop = () =>
    new Promise<IteratorResult<readonly Row[]> | undefined>((resolve, reject) => {
      wake = () => resolve(undefined);
      groups.next().then(resolve, reject);
    });
  try {
    while (!ended()) {
      const next = await nextOrStop();
      if (next === undefined || next.done === true) return undefined;
      await take(next.value);
    }
    return undefined;
  } catch (error) {
    if (error instanceof CommandError) return error;
    // What the file system says has a code; anything else is a bug of ours.
    if (error instanceof Error && 'code' in error) return error;
    throw error;
  } finally {
    stop.removeEventListener('abort', onStop);
  }
}

function createBatches(rowsMax: number, dispatch: (batch: readonly Outgoing[]) => Promise<void>) {
  let batch: Outgoing[] = [];
  let bytes = 0;

  async function flush(): Promise<void> {
    const full = batch;
    batch = [];
    bytes = 0;
    await dispatch(full);
  }

  return {
    async add(row: Outgoing): Promise<void> {
      const size = Buffer.byteLength(row.json);
      if (bytes + size > BATCH_BYTES_MAX) await flush();
      batch.push(row);
      bytes += size;
      if (batch.length >= rowsMax) await flush();
    },
    flush,
  };
}

function createGrace(stop: AbortSignal, graceMs: number, halt: () => void): { end(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const begin = () => {
    timer = setTimeout(halt, graceMs);
  };
  if (stop.aborted) begin();
  else stop.addEventListener('abort', begin, { once: true });
  return {
    end() {
      clearTimeout(timer);
      stop.removeEventListener('abort', begin);
    },
  };
}
