/**
 * A table with ClickHouse's habits: an insert token that was seen is swallowed, and the token may be remembered though
 * the rows are not there. It outlives the "processes" of a test; `sink()` is one process's client of it.
 */
import { type Block, Permanent, type RowFailure, type Sink, type SinkHealth, type WriteContext } from '@libs/pipeline';

/** What one write does. Steps that never settle stand for a process that is killed meanwhile. */
export type WriteStep =
  | { readonly do: 'store' }
  /** Fails with this error; `stored` says what the table took before: all rows, some, none, or the token alone. */
  | { readonly do: 'throw'; readonly error: unknown; readonly stored: 'all' | 'half' | 'none' | 'token' }
  /** Everything else is stored. */
  | { readonly do: 'refuse'; readonly failures: readonly RowFailure[] }
  | { readonly do: 'hang'; readonly stored: 'all' | 'half' | 'none' | 'token' };

export interface SeenWrite {
  readonly token: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly ambiguous: boolean;
  readonly text: string;
  readonly only?: readonly number[];
}

export interface FakeStore {
  /** What the following writes do, in order; 'store' when none is left. */
  readonly script: WriteStep[];
  readonly writes: SeenWrite[];
  /** How often each row stands in the table, by `journal:seq`. */
  readonly rows: Map<string, number>;
  /** Sequence numbers that make the table refuse whatever they are part of, as the script's 'store'. */
  readonly poison: Set<number>;
  connects: number;
  /** Errors of the following connects, in order. */
  readonly connectErrors: unknown[];
  sink(name?: string): Sink;
}

export function createFakeStore(): FakeStore {
  const tokens = new Set<string>();
  const rows = new Map<string, number>();
  const writes: SeenWrite[] = [];
  const script: WriteStep[] = [];
  const connectErrors: unknown[] = [];
  const poison = new Set<number>();

  function insert(block: Block, seqs: readonly number[], token: string): void {
    if (tokens.has(token)) return;
    tokens.add(token);
    for (const seq of seqs) {
      const key = `${block.journal}:${seq}`;
      rows.set(key, (rows.get(key) ?? 0) + 1);
    }
  }

  /**
   * An unclear block: the table is asked first. If it holds nothing, the same bytes under the same token, so that a late
   * first attempt is swallowed; what is missing then goes under a fresh one.
   */
  function store(block: Block, ambiguous: boolean, wanted = seqsOf(block)): void {
    const isWhole = wanted.length === seqsOf(block).length;
    const isAbsent = (seq: number): boolean => !rows.has(`${block.journal}:${seq}`);
    if (isWhole && (!ambiguous || wanted.every(isAbsent))) insert(block, wanted, block.token);
    if (isWhole && !ambiguous) return;
    const missing = wanted.filter(isAbsent);
    if (missing.length > 0) insert(block, missing, `${block.token}:${crypto.randomUUID()}`);
  }

  function storePart(block: Block, part: 'all' | 'half' | 'none' | 'token', ambiguous: boolean): void {
    if (part === 'all') store(block, ambiguous);
    if (part === 'token') tokens.add(block.token);
    // Half a block without its token: parts of an insert may be committed one by one.
    if (part === 'half' && !tokens.has(block.token)) {
      const seqs = seqsOf(block).filter((seq) => seq % 2 === 0 && !rows.has(`${block.journal}:${seq}`));
      insert(block, seqs, `${block.token}:${crypto.randomUUID()}`);
      tokens.add(block.token);
    }
  }

  async function write(block: Block, { ambiguous, signal, only }: WriteContext): Promise<readonly RowFailure[]> {
    const text = Buffer.concat(block.chunks).toString('utf8');
    const { token, firstSeq, lastSeq } = block;
    writes.push({ token, firstSeq, lastSeq, ambiguous, text, ...(only === undefined ? {} : { only: [...only] }) });
    const step = script.shift() ?? { do: 'store' };
    // In doubt the table is asked first, and what it holds is not sent again.
    const isHeld = (seq: number): boolean => ambiguous && rows.has(`${block.journal}:${seq}`);
    const bad = seqsOf(block).find((seq) => poison.has(seq) && !isHeld(seq));
    if (bad !== undefined && step.do === 'store') {
      throw new Permanent('bad_row', `row ${bad} is refused`, { scope: 'rows' });
    }
    switch (step.do) {
      case 'store':
        store(block, ambiguous, only && [...only]);
        return [];
      case 'throw':
        storePart(block, step.stored, ambiguous);
        throw step.error;
      case 'refuse': {
        const refused = new Set(step.failures.map(({ seq }) => seq));
        store(
          block,
          ambiguous,
          seqsOf(block).filter((seq) => !refused.has(seq) && (only?.has(seq) ?? true)),
        );
        return step.failures;
      }
      case 'hang':
        storePart(block, step.stored, ambiguous);
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        });
    }
  }

  const fake: FakeStore = {
    script,
    writes,
    rows,
    poison,
    connects: 0,
    connectErrors,
    sink: (name = 'store') => ({
      name,
      async connect() {
        fake.connects++;
        const error = connectErrors.shift();
        if (error !== undefined) throw error;
      },
      write,
      async close() {
        await Promise.resolve();
      },
      health: (): SinkHealth => ({ state: 'healthy' }),
    }),
  };
  return fake;
}

function seqsOf(block: Block): number[] {
  return Array.from({ length: block.lastSeq - block.firstSeq + 1 }, (_, index) => block.firstSeq + index);
}
