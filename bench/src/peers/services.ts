/** The services that are compared, all on the same Redis, Kafka and ClickHouse. */
import type { PartContext } from '../part.ts';
import type { Stack } from '../servers-stack.ts';
import { startWeir } from '../weir.ts';
import { FASTIFY_RUNTIME, startFastify } from './fastify.ts';
import { hasFlume, startFlume } from './flume.ts';
import type { Peer, PeerPlan } from './peer.ts';
import { PEER_TABLE, PLACES, type PlacesUrls } from './places.ts';

export const PEER_TOPICS = {
  fastify: 'peer-fastify',
  fastifyKafka: 'peer-fastify-kafka',
  flume: 'peer-flume',
} as const;

export interface Service {
  readonly peer: Peer;
  /** Where its rows are. */
  readonly table: string;
}

const WEIR_ACK =
  "the event is valid, no duplicate, and synced to Weir's disk; Kafka and ClickHouse follow, whatever breaks meanwhile";
const FASTIFY_ACK =
  'Kafka has the event on every replica (acks=all), unsynced; ClickHouse has it in memory, or, in a batch, as a part that is not synced. When a send fails, Redis has the id already: sent again, the event is a "duplicate", and lost';
const FASTIFY_KAFKA_ACK = 'Kafka has the event on every replica (acks=all), unsynced; nobody looks for duplicates';
const FLUME_ACK =
  "the event, whatever it is, is synced to Flume's disk (its file channel); Kafka follows; nobody looks for duplicates";

type Start = () => Promise<Service>;

/** In the order in which they are measured; Flume only where it is installed. */
export function serviceStarters(context: PartContext, stack: Stack, urls: PlacesUrls): Start[] {
  const { children, options } = context;
  const { brokers, redisUrl, clickhouseUrl } = urls;
  const companions = () => stack.processes();
  const plan = (name: string, ack: string, places: PeerPlan['places']) => ({ name, ack, places, companions, children });
  const ofPeer = async (peer: Promise<Peer>): Promise<Service> => ({ peer: await peer, table: PEER_TABLE });
  const clickhouse = { url: clickhouseUrl, table: PEER_TABLE };
  const flume = { brokers, topic: PEER_TOPICS.flume, parentFolder: options.folder };
  return [
    async () => {
      const weir = await startWeir(context, { settings: stack.settings, companions });
      return { peer: { ...weir, form: 'weir', ack: WEIR_ACK, places: PLACES }, table: 'weir.raw_events' };
    },
    () =>
      ofPeer(
        startFastify(
          { brokers, topic: PEER_TOPICS.fastify, redisUrl, clickhouse },
          plan('fastify', `${FASTIFY_ACK} (on ${FASTIFY_RUNTIME})`, PLACES),
        ),
      ),
    () =>
      ofPeer(
        startFastify(
          { brokers, topic: PEER_TOPICS.fastifyKafka },
          plan('fastify-kafka', `${FASTIFY_KAFKA_ACK} (on ${FASTIFY_RUNTIME})`, ['kafka']),
        ),
      ),
    ...(hasFlume() ? [() => ofPeer(startFlume(flume, plan('flume', FLUME_ACK, ['kafka'])))] : []),
  ];
}
