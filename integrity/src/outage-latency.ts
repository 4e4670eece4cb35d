/** One client that posts single events one after the other, all the time: what it waits is what a user waits. */
import { createEventMaker } from './events.ts';
import { createHttpClient } from './http-client.ts';
import type { Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';

export interface LatencyProbe {
  /** What follows is measured under this name. */
  phase(name: string): void;
  /** One line: p50 and p99 by phase, in milliseconds, and how many events. */
  report(): string;
  /** Milliseconds; undefined while nothing was measured under this name. */
  percentile(name: string, share: number): number | undefined;
  /** Resolves once the last event has its answer. */
  finish(): Promise<void>;
}

const PAUSE_MS = 3;
const RETRY_PAUSE_MS = 50;
const FINISH_TIMEOUT_MS = 60_000;

export function startLatencyProbe(url: string, ledger: Ledger, random: Seeded, name: string): LatencyProbe {
  const client = createHttpClient(url, ledger);
  const maker = createEventMaker(random, name, name);
  const order = ledger.newOrder(name);
  const phases = new Map<string, number[]>();
  let current: number[] = [];
  let finishing = false;
  let deadline = Number.POSITIVE_INFINITY;

  async function run(): Promise<void> {
    for (let sent = 1; !finishing; sent++) {
      const event = maker.good();
      for (let isDone = false; !isDone; ) {
        const startMs = performance.now();
        const answer = await client.single(event);
        if (startMs > deadline) return ledger.broke(`${name}: no answer in ${FINISH_TIMEOUT_MS} ms`);
        isDone = answer !== undefined && answer.kind !== 'retry';
        if (!isDone) await Bun.sleep(RETRY_PAUSE_MS);
        else current.push(performance.now() - startMs);
        if (answer?.kind === 'accepted' && answer.position !== undefined) order.accepted(sent, answer.position);
      }
      await Bun.sleep(PAUSE_MS);
    }
  }

  function percentile(phase: string, share: number): number | undefined {
    const took = phases.get(phase)?.toSorted((a, b) => a - b) ?? [];
    return took[Math.floor(share * (took.length - 1))];
  }

  const done = run();
  return {
    phase(next) {
      current = phases.get(next) ?? [];
      phases.set(next, current);
    },
    percentile,
    report: () =>
      [...phases]
        .filter(([, took]) => took.length > 0)
        .map(([phase, took]) => {
          const [p50, p99] = [0.5, 0.99].map((share) => percentile(phase, share)?.toFixed(2));
          return `${phase}: p50 ${p50} ms, p99 ${p99} ms (${took.length})`;
        })
        .join('; '),
    finish() {
      finishing = true;
      deadline = performance.now() + FINISH_TIMEOUT_MS;
      return done;
    },
  };
}
