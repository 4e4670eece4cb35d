/** A sink that takes rows one by one, at least once, and only of its own types: like Kafka, or a service over HTTP. */
import type { Block, RowFailure, Sink, WriteContext } from '@libs/pipeline';

export interface FakeRouter {
  readonly sink: Sink;
  /** How often each row arrived, by `journal:seq`. */
  readonly rows: Map<string, number>;
  /** Rows that are refused for good, and those that are refused so many times more. */
  readonly refused: Set<number>;
  readonly flaky: Map<number, number>;
  /** Rows that are given up for their age. */
  readonly expired: Set<number>;
  /** What the following writes do, in order: throw, never answer until they are aborted, or what they do without it. */
  readonly script: (Error | 'hang' | 'take')[];
  readonly writes: { readonly firstSeq: number; readonly lastSeq: number; readonly only?: readonly number[] }[];
}

export function createFakeRouter(name = 'kafka', eventTypes?: ReadonlySet<string>): FakeRouter {
  const rows = new Map<string, number>();
  const refused = new Set<number>();
  const flaky = new Map<number, number>();
  const expired = new Set<number>();
  const script: FakeRouter['script'] = [];
  const writes: FakeRouter['writes'] = [];

  async function write(block: Block, { only, signal }: WriteContext): Promise<readonly RowFailure[]> {
    const { firstSeq, lastSeq } = block;
    writes.push({ firstSeq, lastSeq, ...(only === undefined ? {} : { only: [...only] }) });
    const step = script.shift();
    if (step === 'hang')
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    if (step instanceof Error) throw step;
    const failures: RowFailure[] = [];
    const lines = Buffer.concat(block.chunks).toString('utf8').trimEnd().split('\n');
    for (const [index, line] of lines.entries()) {
      const seq = firstSeq + index;
      const row = JSON.parse(line) as { seq: number; eventType: string };
      if (row.seq !== seq) throw new Error(`row ${row.seq} stands where ${seq} should`);
      if (only?.has(seq) === false || eventTypes?.has(row.eventType) === false) continue;
      const left = flaky.get(seq) ?? 0;
      if (refused.has(seq)) failures.push({ seq, code: 'too_large', message: 'too large', permanent: true });
      else if (expired.has(seq))
        failures.push({ seq, code: 'expired', message: 'too old', permanent: true, isExpired: true });
      else if (left > 0) {
        flaky.set(seq, left - 1);
        failures.push({ seq, code: 'busy', message: 'later', permanent: false });
      } else rows.set(`${block.journal}:${seq}`, (rows.get(`${block.journal}:${seq}`) ?? 0) + 1);
    }
    return failures;
  }

  const sink: Sink = {
    name,
    ...(eventTypes === undefined ? {} : { eventTypes }),
    async connect() {
      await Promise.resolve();
    },
    write,
    async close() {
      await Promise.resolve();
    },
    health: () => ({ state: 'healthy' }),
  };
  return { sink, rows, refused, flaky, expired, script, writes };
}
