/** Processes full of WebSockets (many-clients.ts), as one. */
import { join } from 'node:path';
import type { Children } from './children.ts';
import {
  type Attempts,
  type ManyJob,
  type ManyMessage,
  type ManyOrder,
  type ManyReport,
  type ManyState,
  NO_ATTEMPTS,
  type Pace,
  STATE_INTERVAL_MS,
} from './many-job.ts';

export interface Fleet {
  /** Resolves when so many are open; rejects when a process has ended, or after `timeoutMs`. */
  open(sockets: number, timeoutMs: number): Promise<void>;
  /** Those that are open now. */
  openSockets(): number;
  /** Resolves when every event has its answer, or after `timeoutMs`, with how many have none. */
  settled(timeoutMs: number): Promise<number>;
  pace(pace: Pace, everyMs: number): void;
  /** What was counted since the last one, all processes together. */
  report(): Promise<ManyReport>;
  stop(): Promise<void>;
}

/** Well under the descriptors that a process may have. */
const SOCKETS_PER_PROCESS = 12_500;
const POLL_MS = 20;
const REPORT_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;

interface Member {
  readonly job: ManyJob;
  send(order: ManyOrder): void;
  state: Pick<ManyState, 'open' | 'unanswered'>;
  report: PromiseWithResolvers<ManyReport> | undefined;
  stop(): Promise<void>;
}

export function startFleet(
  target: Pick<ManyJob, 'host' | 'port'>,
  sockets: number,
  seed: number,
  children: Children,
): Fleet {
  const count = Math.ceil(sockets / SOCKETS_PER_PROCESS);
  let ended: string | undefined;
  const members = Array.from({ length: count }, (_, at) => {
    const own = Math.floor(sockets / count) + (at < sockets % count ? 1 : 0);
    return startMember({ ...target, number: at, sockets: own, seed: seed + at });
  });

  function startMember(job: ManyJob): Member {
    const child = children.spawn({
      argv: [process.execPath, join(import.meta.dir, 'many-clients.ts'), JSON.stringify(job)],
      onMessage: (message) => hear(message as ManyMessage),
    });
    const member: Member = {
      job,
      send: child.send,
      state: { open: 0, unanswered: 0 },
      report: undefined,
      stop: () => child.stop(STOP_TIMEOUT_MS),
    };
    void child.exited.then(() => {
      ended = `A process of clients ended: ${child.lastWords()}`;
      member.report?.reject(new Error(ended));
    });
    function hear(message: ManyMessage): void {
      if (message.type === 'state') member.state = message;
      else member.report?.resolve(message.report);
    }
    return member;
  }

  const openSockets = (): number => members.reduce((sum, { state }) => sum + state.open, 0);

  async function open(wanted: number, timeoutMs: number): Promise<void> {
    for (const { job, send } of members) send({ type: 'open', sockets: Math.ceil((job.sockets * wanted) / sockets) });
    const endMs = performance.now() + timeoutMs;
    while (openSockets() < wanted) {
      if (ended !== undefined) throw new Error(ended);
      if (performance.now() > endMs)
        throw new Error(`Of ${wanted} WebSockets only ${openSockets()} were open after ${timeoutMs} ms.`);
      await Bun.sleep(POLL_MS);
    }
  }

  async function settled(timeoutMs: number): Promise<number> {
    const unanswered = () => members.reduce((sum, { state }) => sum + state.unanswered, 0);
    // What was sent last is told a moment later.
    await Bun.sleep(2 * STATE_INTERVAL_MS);
    const endMs = performance.now() + timeoutMs;
    while (performance.now() < endMs && unanswered() > 0) await Bun.sleep(POLL_MS);
    return unanswered();
  }

  async function reportOf(member: Member): Promise<ManyReport> {
    const report = Promise.withResolvers<ManyReport>();
    member.report = report;
    member.send({ type: 'report' });
    const timer = setTimeout(
      () => report.reject(new Error('A process of clients does not report.')),
      REPORT_TIMEOUT_MS,
    );
    return await report.promise.finally(() => clearTimeout(timer));
  }

  return {
    open,
    openSockets,
    settled,
    pace(pace, everyMs) {
      for (const { send } of members) send({ type: 'pace', pace, everyMs });
    },
    report: async () => together(await Promise.all(members.map(reportOf))),
    stop: async () => void (await Promise.all(members.map((member) => member.stop()))),
  };
}

function together(reports: readonly ManyReport[]): ManyReport {
  const refusals: Record<string, number> = {};
  const attempts: Attempts = { ...NO_ATTEMPTS };
  for (const report of reports) {
    for (const [code, times] of Object.entries(report.refusals)) refusals[code] = (refusals[code] ?? 0) + times;
    for (const [name, times] of Object.entries(report.attempts)) attempts[name as keyof Attempts] += times;
  }
  return {
    acks: reports.flatMap(({ acks }) => acks),
    latenciesMs: reports.flatMap(({ latenciesMs }) => latenciesMs),
    skipped: reports.reduce((sum, { skipped }) => sum + skipped, 0),
    refusals,
    attempts,
  };
}
