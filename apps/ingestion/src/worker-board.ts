/** What each accept process last said of itself, for deliver to pass on. */
import { type KnownWorker, REPORT_AGE_MAX_MS, type WorkerReport } from './workers.ts';

export interface WorkerBoard {
  /** `connection`: over which it was said. */
  put(connection: number, report: WorkerReport): void;
  /** What was said over it holds no longer: its process has ended, or will say it again over another one. */
  remove(connection: number): void;
  all(): readonly KnownWorker[];
}

export function createWorkerBoard(monotonicMs: () => number): WorkerBoard {
  const byConnection = new Map<number, { readonly report: WorkerReport; readonly atMs: number }>();
  return {
    put: (connection, report) => void byConnection.set(connection, { report, atMs: monotonicMs() }),
    remove: (connection) => void byConnection.delete(connection),
    all() {
      const nowMs = monotonicMs();
      return [...byConnection.values()]
        .map(({ report, atMs }) => ({ report, ageMs: Math.round(nowMs - atMs) }))
        .filter(({ ageMs }) => ageMs <= REPORT_AGE_MAX_MS);
    },
  };
}
