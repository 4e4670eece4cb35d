/** The loads, by the part that they belong to. */
import type { Options } from './config.ts';
import type { LoadJob } from './job.ts';
import { type Encoding, type Mix, PLAIN_MIX } from './mix.ts';

export interface Load {
  readonly name: string;
  /** What is sent, in words. */
  readonly what: string;
  readonly kind: LoadJob['kind'];
  /** Of WebSocket frames; default: one for each event. */
  readonly acks?: LoadJob['acks'];
  readonly connections: number;
  readonly eventsPerRequest: number;
  readonly pace: LoadJob['pace'];
  /** Default: plain events. */
  readonly mix?: Mix;
}

export const BATCH_EVENTS = 1_000;
const BATCH_CONNECTIONS = 4;
/** Enough that several accept processes get some of them: the kernel hands connections out at random. */
const SHARED_BATCH_CONNECTIONS = 16;
const LINES = 5_000;
/** Events in one WebSocket frame, where it holds more than one. */
export const ARRAY_EVENTS = 100;
const ARRAY_CONNECTIONS = 4;
const LARGE_BATCH_EVENTS = 100;

const ONE_IN_FLIGHT = 'one request in flight on each';

export function singleLoads(options: Options): Load[] {
  return [single(options), openLoad(options, options.rate), openLoad(options, 2 * options.rate)];
}

function single({ connections }: Options): Load {
  return {
    name: 'single',
    what: `POST /events, ${connections} connections, ${ONE_IN_FLIGHT}`,
    kind: 'single',
    connections,
    eventsPerRequest: 1,
    pace: { inFlight: 1 },
  };
}

function openLoad(options: Options, rate: number): Load {
  return {
    ...single(options),
    name: rate === options.rate ? 'open' : 'open-fast',
    what: `POST /events, open loop, ${rate.toLocaleString('en-US')} events/s over ${options.connections} connections`,
    pace: { requestsPerSecond: rate },
  };
}

const BATCH: Load = {
  name: 'batch',
  what: `POST /events/batch, ${BATCH_EVENTS} events each, ${BATCH_CONNECTIONS} connections, ${ONE_IN_FLIGHT}`,
  kind: 'batch',
  connections: BATCH_CONNECTIONS,
  eventsPerRequest: BATCH_EVENTS,
  pace: { inFlight: 1 },
};

export function batchLoads(_options: Options): Load[] {
  return [BATCH];
}

function batchOf(name: string, what: string, mix: Partial<Mix>, events = BATCH_EVENTS): Load {
  return { ...BATCH, name, what, eventsPerRequest: events, mix: { ...PLAIN_MIX, ...mix } };
}

export function ndjsonLoads(_options: Options): Load[] {
  return [
    {
      ...BATCH,
      name: 'ndjson',
      what: `POST /events/batch, application/x-ndjson, ${LINES} lines streamed in chunks, ${BATCH_CONNECTIONS} connections, ${ONE_IN_FLIGHT}`,
      kind: 'ndjson',
      eventsPerRequest: LINES,
    },
  ];
}

export function wsLoads({ connections, wsInFlight }: Options): Load[] {
  const frames = { kind: 'ws', connections, eventsPerRequest: 1 } as const;
  return [
    {
      ...frames,
      name: 'ws',
      what: `WebSocket, one event per frame, ${connections} connections, one frame in flight on each`,
      pace: { inFlight: 1 },
    },
    {
      ...frames,
      name: 'ws-stream',
      what: `the same with ${wsInFlight} frames in flight on each`,
      pace: { inFlight: wsInFlight },
    },
    {
      ...frames,
      name: 'ws-cumulative',
      what: `as ws-stream, with cumulative acks: a commit's answer stands for all frames up to a number (the bare server gives each frame its own)`,
      acks: 'cumulative',
      pace: { inFlight: wsInFlight },
    },
    {
      ...frames,
      name: 'ws-array',
      what: `WebSocket, arrays of ${ARRAY_EVENTS} events per frame, ${ARRAY_CONNECTIONS} connections, two frames in flight on each; an ack per event`,
      connections: ARRAY_CONNECTIONS,
      eventsPerRequest: ARRAY_EVENTS,
      pace: { inFlight: 2 },
    },
  ];
}

export function duplicateLoads(_options: Options): Load[] {
  return [0, 0.5, 1].map((duplicates) =>
    batchOf(
      `duplicates-${100 * duplicates}`,
      `batches in which ${100 * duplicates} % of the events were acknowledged before (always the same ones)`,
      { duplicates },
    ),
  );
}

export function invalidLoads(_options: Options): Load[] {
  const what = 'batches in which 10 % of the events have to be rejected, for five reasons';
  return [batchOf('invalid-10', what, { invalid: 0.1 })];
}

export function compressedLoads(_options: Options): Load[] {
  const encodings: Encoding[] = ['identity', 'gzip', 'zstd'];
  return encodings.map((encoding) =>
    batchOf(`batch-${encoding}`, `batches with Content-Encoding: ${encoding} (the generator compresses at level 1)`, {
      encoding,
    }),
  );
}

export function sizeLoads(_options: Options): Load[] {
  return [
    batchOf('size-0.3', 'events of 0.3 KB in batches of 1,000', {}),
    batchOf('size-2', 'events of 2 KB in batches of 1,000', { eventBytes: 2_000 }),
    batchOf('size-20', 'events of 20 KB in batches of 100', { eventBytes: 20_000 }, LARGE_BATCH_EVENTS),
  ];
}

/** For several accept processes, and with servers. */
export function sharedLoads(options: Options): Load[] {
  const what = `POST /events/batch, ${BATCH_EVENTS} events each, ${SHARED_BATCH_CONNECTIONS} connections, ${ONE_IN_FLIGHT}`;
  return [single(options), { ...BATCH, what, connections: SHARED_BATCH_CONNECTIONS }];
}

/** The two that say most, where each takes its time. */
export function usualLoads(options: Options): Load[] {
  return [BATCH, single(options)];
}
