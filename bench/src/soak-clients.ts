/**
 * The soak's clients, a process of its own: singles, batches and WebSockets that come and go, requests that break off, and
 * queries, each at its rate. SIGTERM ends them: what is under way gets its answer, then the parent gets the counts.
 */
import { createSoakCalls, type SoakCall, type SoakCounts } from './soak-calls.ts';

export interface SoakJob {
  readonly host: string;
  readonly port: number;
  readonly seed: number;
}

export interface SoakResult extends SoakCounts {
  /** Calls that were left out because too many were under way. */
  readonly skipped: number;
}

/** Calls a second: 2,000 events with batches of 100. */
const RATES: Readonly<Record<SoakCall, number>> = {
  single: 300,
  batch: 14,
  frame: 300,
  reconnect: 4,
  broken: 2,
  query: 0.2,
};
const SOCKETS = 20;
const TICK_MS = 20;
const CALLS_MAX = 200;
const STOP_TIMEOUT_MS = 30_000;

async function runClients({ host, port, seed }: SoakJob, stopped: Promise<void>): Promise<SoakResult> {
  const calls = createSoakCalls(host, port, seed);
  const done = new Map<SoakCall, number>();
  let underWay = 0;
  let skipped = 0;

  function call(kind: SoakCall): void {
    if (underWay >= CALLS_MAX) {
      skipped += 1;
      return;
    }
    underWay += 1;
    calls[kind]()
      .catch((error: Error) => calls.problem(`${kind}: ${error.message}`))
      .finally(() => {
        underWay -= 1;
      });
  }

  await calls.open(SOCKETS);
  const startMs = performance.now();
  const ticker = setInterval(() => {
    const seconds = (performance.now() - startMs) / 1000;
    for (const [kind, rate] of Object.entries(RATES) as [SoakCall, number][]) {
      const due = Math.floor(seconds * rate);
      for (let count = done.get(kind) ?? 0; count < due; count++) call(kind);
      done.set(kind, due);
    }
  }, TICK_MS);
  await stopped;
  clearInterval(ticker);
  const endMs = performance.now() + STOP_TIMEOUT_MS;
  while (underWay > 0 && performance.now() < endMs) await Bun.sleep(TICK_MS);
  await calls.close();
  return { ...calls.counts(), skipped };
}

const stopped = Promise.withResolvers<void>();
process.once('SIGTERM', () => stopped.resolve());
process.on('disconnect', () => process.exit(1));
process.send?.(await runClients(JSON.parse(process.argv[2] ?? '{}') as SoakJob, stopped.promise));
