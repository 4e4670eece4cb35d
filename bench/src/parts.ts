/** Every part, in the order in which they are measured and shown. */
import { drainPart } from './drain.ts';
import { backlogPart, windowPart } from './growth.ts';
import { guardPart } from './guard.ts';
import { idlePart } from './idle.ts';
import {
  batchLoads,
  compressedLoads,
  duplicateLoads,
  invalidLoads,
  ndjsonLoads,
  sharedLoads,
  singleLoads,
  sizeLoads,
  usualLoads,
  wsLoads,
} from './loads.ts';
import { loadsPart } from './loads-part.ts';
import { manyPart } from './many-part.ts';
import { outagePart } from './outage.ts';
import type { Part } from './part.ts';
import { peersPart } from './peers/part.ts';
import { soakPart } from './soak.ts';
import { stepsPart } from './steps.ts';

export const PARTS: readonly Part[] = [
  loadsPart({ name: 'single', what: 'single events over HTTP', set: 'core', loads: singleLoads }),
  loadsPart({ name: 'batch', what: 'batches over HTTP', set: 'core', loads: batchLoads }),
  loadsPart({ name: 'ndjson', what: 'lines streamed over HTTP', set: 'full', loads: ndjsonLoads }),
  loadsPart({ name: 'ws', what: 'WebSocket frames', set: 'core', loads: wsLoads }),
  loadsPart({ name: 'duplicates', what: '0, 50 and 100 % duplicates', set: 'full', loads: duplicateLoads }),
  loadsPart({ name: 'invalid', what: '10 % invalid events', set: 'full', loads: invalidLoads }),
  loadsPart({ name: 'compressed', what: 'compressed batches', set: 'full', loads: compressedLoads }),
  loadsPart({ name: 'sizes', what: 'larger events', set: 'full', loads: sizeLoads }),
  loadsPart({
    name: 'workers',
    what: 'one and two accept processes, with Redis',
    set: 'full',
    loads: sharedLoads,
    stack: ['redis'],
    settings: [
      { name: 'weir-1', workers: 1 },
      { name: 'weir-2', workers: 2 },
    ],
  }),
  loadsPart({
    name: 'servers',
    what: 'with Redis, Kafka and ClickHouse',
    set: 'core',
    loads: usualLoads,
    stack: ['redis', 'kafka', 'clickhouse'],
    settings: [{ name: 'weir-servers', workers: 1 }],
  }),
  stepsPart,
  drainPart,
  outagePart,
  peersPart,
  idlePart,
  manyPart,
  windowPart,
  backlogPart,
  guardPart,
  soakPart,
];
