/** The part `peers`: Weir beside what people would otherwise run, in the same run. */
import { available } from '@libs/services';
import type { Options } from '../config.ts';
import { BATCH_EVENTS, type Load } from '../loads.ts';
import type { Part, PartContext } from '../part.ts';
import { secondsOfRun } from '../rounds.ts';
import { startStack } from '../servers-stack.ts';
import { errorsOf, named } from '../summary.ts';
import { FLUME_INSTALL, hasFlume } from './flume.ts';
import { measurePeerRounds, type PeerRun } from './measure.ts';
import type { Peer } from './peer.ts';
import { openPlaces, PLACES, type Places, placesUrls } from './places.ts';
import { peersSection, peersText } from './report.ts';
import { PEER_TOPICS, type Service, serviceStarters } from './services.ts';
import { type Aim, aimsOf, type PeerRatio, type PeerSummary, peerRatios, summarisePeers } from './summary.ts';

export interface PeersData {
  readonly loads: readonly Load[];
  readonly services: readonly Pick<Peer, 'name' | 'ack'>[];
  /** What is not on this machine, and the command that gets it. */
  readonly missing: readonly string[];
  readonly summary: readonly PeerSummary[];
  readonly ratios: readonly PeerRatio[];
  readonly aims: readonly Aim[];
  readonly runs: readonly PeerRun[];
}

const BATCH_CONNECTIONS = 4;
const SERVICES = 4;
const START_SECONDS = 30;
const RUN_EXTRA_SECONDS = 3;

export const peersPart: Part<PeersData> = {
  name: 'peers',
  what: 'Weir, a hand-written service and Apache Flume, on the same Redis, Kafka and ClickHouse',
  set: 'full',
  seconds(options) {
    const runs = peerLoads(options).length * SERVICES * (options.rounds + 1);
    return START_SECONDS + runs * secondsOfRun(options, RUN_EXTRA_SECONDS);
  },
  async measure(context) {
    const data = await measurePeers(context);
    return { data, problems: [...named(errorsOf(data.runs)), ...data.runs.flatMap(({ mismatches }) => mismatches)] };
  },
  text: peersText,
  section: peersSection,
};

function peerLoads({ connections }: Options): Load[] {
  const what = (events: string, lanes: number) =>
    `${events} a request, ${lanes} connections, one request in flight on each`;
  const closed = { pace: { inFlight: 1 } } as const;
  return [
    {
      ...closed,
      name: 'single',
      kind: 'single',
      what: what('one event', connections),
      connections,
      eventsPerRequest: 1,
    },
    {
      ...closed,
      name: 'batch',
      kind: 'batch',
      what: what(`${BATCH_EVENTS} events`, BATCH_CONNECTIONS),
      connections: BATCH_CONNECTIONS,
      eventsPerRequest: BATCH_EVENTS,
    },
  ];
}

async function measurePeers(context: PartContext): Promise<PeersData> {
  const { options, children } = context;
  const lacking = (['redis', 'kafka'] as const).flatMap((name) => {
    const found = available(name);
    return found.ok ? [] : [`${name} is not on this machine (${found.command})`];
  });
  if (lacking.length > 0) throw new Error(lacking.join('; '));
  const stack = await startStack(PLACES, children);
  const services: Service[] = [];
  let places: Places | undefined;
  try {
    const urls = placesUrls(stack.settings);
    places = await openPlaces(urls);
    await places.createTopics(Object.values(PEER_TOPICS));
    await places.createTable();
    for (const start of serviceStarters(context, stack, urls)) services.push(await start());
    const loads = peerLoads(options);
    const runs = await measurePeerRounds(context, loads, services, places);
    const ratios = peerRatios(runs);
    return {
      loads,
      services: services.map(({ peer: { name, ack } }) => ({ name, ack })),
      missing: hasFlume() ? [] : [`Apache Flume was not measured: it is not on this machine (${FLUME_INSTALL}).`],
      summary: summarisePeers(runs),
      ratios,
      aims: aimsOf(ratios),
      runs,
    };
  } finally {
    await Promise.all(services.map(({ peer }) => peer.stop()));
    await places?.close();
    await stack.close();
  }
}
