/** The accept processes of one service: each says how it is once a second, deliver passes it on, and any of them answers for all. */
import type { WindowHealth } from '@libs/database/redis';
import type { ToAccept as DeliveryToAccept, ToDeliver as DeliveryToDeliver } from '@libs/delivery';
import type { JournalState } from '@libs/journal';
import type { Ingestion } from './ingestion.ts';
import { acceptName } from './paths.ts';
import type { Counters, EventTotals, Recent, WebSocketTotals } from './routes/counters.ts';

/** Counters are those of the process that runs now. */
export interface WorkerReport {
  /** As in logs: `accept`, `accept-1` and so on. */
  readonly name: string;
  readonly journal: JournalState;
  readonly window?: WindowHealth;
  readonly events: Readonly<EventTotals>;
  readonly websocket: Readonly<WebSocketTotals>;
  readonly failuresByCode: Readonly<Record<string, number>>;
  readonly recent: Recent;
  readonly rssBytes: number;
  /** User and system time. */
  readonly cpuSeconds: number;
}

export interface KnownWorker {
  readonly report: WorkerReport;
  /** Milliseconds since it was made. */
  readonly ageMs: number;
}

/** A report that is older says nothing of a process any more. */
export const REPORT_AGE_MAX_MS = 5_000;

/** What the link carries: delivery's own messages, and these. Lost ones are followed by others within a second. */
export type ToDeliver = DeliveryToDeliver | { readonly t: 'worker'; readonly report: WorkerReport };
export type ToAccept = DeliveryToAccept | { readonly t: 'workers'; readonly workers: readonly KnownWorker[] };

export interface Workers {
  /** Of all that are configured. */
  readonly names: readonly string[];
  /** Ours as it is now, the others as they were when they last said so. */
  now(): readonly KnownWorker[];
  /**
   * As they were when deliver last passed their reports on: the same for every worker that is asked, so that no counter falls
   * from one scrape to the next. Ours alone, as we last told it, while deliver is away; as it is now where there is no other one.
   */
  told(): readonly KnownWorker[];
}

export interface WorkersOptions {
  /** Counts from 0. */
  readonly own: number;
  readonly count: number;
  readonly report: () => WorkerReport;
  /** What deliver passed on. */
  readonly heard: () => readonly KnownWorker[];
  /** What we told it last; undefined: nothing yet. */
  readonly said: () => KnownWorker | undefined;
}

export function createWorkers({ own, count, report, heard, said }: WorkersOptions): Workers {
  const names = Array.from({ length: count }, (_, worker) => acceptName(worker));
  const ownName = acceptName(own);
  const inOrder = (known: readonly KnownWorker[]) => names.flatMap((name) => known.find(isOf(name)) ?? []);
  const ours = (): KnownWorker => ({ report: report(), ageMs: 0 });
  const recent = () => (count === 1 ? [] : heard().filter(({ ageMs }) => ageMs <= REPORT_AGE_MAX_MS));

  return {
    names,
    now: () => inOrder([ours(), ...recent()]),
    told() {
      const known = recent();
      return inOrder(known.some(isOf(ownName)) ? known : [...known, said() ?? ours()]);
    },
  };
}

const isOf =
  (name: string) =>
  ({ report }: KnownWorker): boolean =>
    report.name === name;

/** Reads what is counted anyway: nothing is added to the path of an event. */
export function reportOf(worker: number, ingestion: Ingestion, counters: Counters): WorkerReport {
  const { user, system } = process.cpuUsage();
  return {
    name: acceptName(worker),
    journal: ingestion.journalState(),
    ...(ingestion.sharedWindow === undefined ? {} : { window: ingestion.sharedWindow() }),
    events: { ...counters.events },
    websocket: { ...counters.websocket },
    failuresByCode: Object.fromEntries(counters.failuresByCode),
    recent: counters.recent(),
    rssBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
  };
}
