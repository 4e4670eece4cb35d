/** From runs to medians, and from those of one round to ratios. */
import { median } from '../samples.ts';
import type { PeerRun } from './measure.ts';

export interface PeerSummary {
  readonly load: string;
  readonly server: string;
  readonly eventsPerSecond: { readonly median: number; readonly min: number; readonly max: number };
  readonly ownMicrosPerEvent: number;
  readonly companionMicrosPerEvent: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly otherCores: number;
}

export interface PeerRatio {
  readonly load: string;
  readonly peer: string;
  /** Weir's events per second of its own CPU, divided by the peer's. */
  readonly eventsPerCpuSecond: number;
  /** The same, the CPU of Redis, Kafka and ClickHouse included. */
  readonly eventsPerCpuSecondOfAll: number;
  /** Weir's events acknowledged per second, divided by the peer's. */
  readonly rate: number;
}

export function summarisePeers(runs: readonly PeerRun[]): PeerSummary[] {
  const groups = Map.groupBy(counted(runs), ({ load, server }) => `${load} ${server}`);
  return Array.from(groups.values(), (group) => {
    const { load, server, companionMicrosPerEvent } = group[0] as PeerRun;
    const over = (read: (run: PeerRun) => number) => median(group.map(read));
    const rates = group.map(({ result }) => result.eventsPerSecond);
    return {
      load,
      server,
      eventsPerSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
      ownMicrosPerEvent: over((run) => run.ownMicrosPerEvent),
      companionMicrosPerEvent: Object.fromEntries(
        Object.keys(companionMicrosPerEvent).map((name) => [
          name,
          over((run) => run.companionMicrosPerEvent[name] ?? Number.NaN),
        ]),
      ),
      p50Ms: over(({ result }) => result.latency.p50Ms),
      p99Ms: over(({ result }) => result.latency.p99Ms),
      otherCores: over(({ result }) => result.cpu.otherCores),
    };
  });
}

/** Medians over the rounds of what was measured side by side. */
export function peerRatios(runs: readonly PeerRun[]): PeerRatio[] {
  const groups = Map.groupBy(counted(runs), ({ load, server }) => `${load} ${server}`);
  return [...groups.values()].flatMap((ofPeer) => {
    const { load, server } = ofPeer[0] as PeerRun;
    if (server === 'weir') return [];
    const pairs = ofPeer.flatMap((peer) => {
      const weir = runs.find((run) => run.server === 'weir' && run.load === load && run.round === peer.round);
      return weir === undefined ? [] : [{ weir, peer }];
    });
    const over = (read: (run: PeerRun) => number) => median(pairs.map(({ weir, peer }) => read(peer) / read(weir)));
    return [
      {
        load,
        peer: server,
        eventsPerCpuSecond: over((run) => run.ownMicrosPerEvent),
        eventsPerCpuSecondOfAll: over(microsOfAll),
        rate: 1 / over(({ result }) => result.eventsPerSecond),
      },
    ];
  });
}

function microsOfAll({ ownMicrosPerEvent, companionMicrosPerEvent }: PeerRun): number {
  return Object.values(companionMicrosPerEvent).reduce((sum, one) => sum + one, ownMicrosPerEvent);
}

const counted = (runs: readonly PeerRun[]) => runs.filter(({ round }) => round > 0);

export interface Aim {
  readonly what: string;
  readonly found: number;
  readonly min: number;
}

/** What Weir promises beside them. */
export function aimsOf(ratios: readonly PeerRatio[]): Aim[] {
  const of = (load: string, peer: string, read: (ratio: PeerRatio) => number) => {
    const found = ratios.find((one) => one.load === load && one.peer === peer);
    return found === undefined ? Number.NaN : read(found);
  };
  return [
    {
      what: 'single events per CPU second, Weir : fastify',
      found: of('single', 'fastify', (one) => one.eventsPerCpuSecond),
      min: 6,
    },
    {
      what: "batches: fastify-kafka's own CPU, for Kafka alone : Weir's own, for Redis, Kafka and ClickHouse",
      found: of('batch', 'fastify-kafka', (one) => one.eventsPerCpuSecond),
      min: 1,
    },
    ...['fastify', 'fastify-kafka'].map((peer) => ({
      what: `batches acknowledged a second, Weir : ${peer}`,
      found: of('batch', peer, (one) => one.rate),
      min: 8,
    })),
  ];
}
