/** Weir and its peers in turn, under the same loads, on the same servers; what each acknowledged is counted where it ends. */
import type { LoadResult } from '../job.ts';
import type { Load } from '../loads.ts';
import type { PartContext } from '../part.ts';
import { cpuBetween, readCpu } from '../processes.ts';
import { jobOf } from '../rounds.ts';
import type { Peer } from './peer.ts';
import type { Counts, Place, Places } from './places.ts';
import type { Service } from './services.ts';

/** One load against one service, once. */
export interface PeerRun {
  readonly load: string;
  readonly server: string;
  readonly round: number;
  readonly result: LoadResult;
  /** CPU of the service's own processes, from before the load until everything had arrived, per event sent. */
  readonly ownMicrosPerEvent: number;
  /** The same of the servers that it uses, by name. */
  readonly companionMicrosPerEvent: Readonly<Record<string, number>>;
  /** What came to each place that the service keeps events in. */
  readonly arrived: Readonly<Partial<Record<Place, number>>>;
  /** Why that is not what was acknowledged; empty when it is. */
  readonly mismatches: readonly string[];
}

const ARRIVAL_TIMEOUT_MS = 120_000;
const POLL_MS = 100;
const WARM_EVENTS = 20_000;
const WARM_RUNS_MAX = 5;
/** Keys that Weir has beside those of the events: one for each journal. */
const OTHER_KEYS_MAX = 4;

export interface PeerRoundsContext extends Pick<PartContext, 'options' | 'runGenerator' | 'progress'> {
  /** How long what was acknowledged may take to arrive. Default: two minutes. */
  readonly arrivalTimeoutMs?: number;
}

export async function measurePeerRounds(
  context: PeerRoundsContext,
  loads: readonly Load[],
  services: readonly Service[],
  places: Places,
): Promise<PeerRun[]> {
  const { options, progress } = context;
  const runs: PeerRun[] = [];
  for (const load of loads) {
    for (let round = 0; round <= options.rounds; round++) {
      for (const service of services) {
        progress(`${load.name}, round ${round} of ${options.rounds}: ${service.peer.name}`);
        const measured = () => runOnce(context, load, service, places, round);
        if (round === 0) runs.push(...(await warmUp(measured)));
        else runs.push(await measured());
      }
    }
  }
  return runs;
}

/** Round 0, which is in no median: Node and Java compile only after a while what is used often. */
async function warmUp(measured: () => Promise<PeerRun>): Promise<PeerRun[]> {
  const runs: PeerRun[] = [];
  let events = 0;
  while (runs.length < WARM_RUNS_MAX && events < WARM_EVENTS) {
    const run = await measured();
    runs.push(run);
    if (run.mismatches.length > 0) break;
    events += run.result.eventsSent;
  }
  return runs;
}

async function runOnce(
  { options, runGenerator, arrivalTimeoutMs = ARRIVAL_TIMEOUT_MS }: PeerRoundsContext,
  load: Load,
  { peer, table }: Service,
  places: Places,
  round: number,
): Promise<PeerRun> {
  const companions = peer.companions();
  const own = peer.processes();
  const count = () => places.count(table);
  const countsBefore = await count();
  const before = readCpu([...own, ...companions]);
  const result = await runGenerator({ ...jobOf(load, peer, options, round), form: peer.form });
  const events = acknowledged(load, result);
  const arrived = await arrivals(peer, countsBefore, count, events, performance.now() + arrivalTimeoutMs);
  const { cpuSeconds } = cpuBetween(before, readCpu([...own, ...companions]));
  const micros = (name: string) => ((cpuSeconds[name] ?? Number.NaN) * 1e6) / result.eventsSent;
  return {
    load: load.name,
    server: peer.name,
    round,
    result,
    ownMicrosPerEvent: own.reduce((sum, { name }) => sum + micros(name), 0),
    companionMicrosPerEvent: Object.fromEntries(companions.map(({ name }) => [name, micros(name)])),
    arrived,
    mismatches: mismatchesOf(peer, arrived, events, result.eventsSent),
  };
}

/** Events whose request was answered as it should be. */
function acknowledged({ eventsPerRequest }: Load, { eventsSent, problems, unanswered }: LoadResult): number {
  const wrong = Object.values(problems).reduce((sum, times) => sum + times, 0);
  return Math.max(0, eventsSent - eventsPerRequest * (wrong + unanswered));
}

/** Waits until everything is where it should be, and the service has nothing left to do. */
async function arrivals(
  peer: Peer,
  before: Counts,
  count: () => Promise<Counts>,
  events: number,
  deadlineMs: number,
): Promise<Partial<Record<Place, number>>> {
  for (;;) {
    const now = await count();
    const arrived = Object.fromEntries(peer.places.map((place) => [place, now[place] - before[place]]));
    const isAll = peer.places.every((place) => (arrived[place] ?? 0) >= events);
    if ((isAll && (await peer.pendingEvents()) === 0) || performance.now() > deadlineMs) return arrived;
    await Bun.sleep(POLL_MS);
  }
}

/** An event whose request failed may have arrived all the same. */
function mismatchesOf(
  { name, places }: Pick<Peer, 'name' | 'places'>,
  arrived: Readonly<Partial<Record<Place, number>>>,
  events: number,
  eventsSent: number,
): string[] {
  return places.flatMap((place) => {
    const found = arrived[place] ?? 0;
    const most = eventsSent + (place === 'redis' ? OTHER_KEYS_MAX : 0);
    if (found >= events && found <= most) return [];
    return [`${name} acknowledged ${events} of ${eventsSent} events, and ${found} are in ${place}`];
  });
}
