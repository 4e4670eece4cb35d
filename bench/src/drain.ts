/** Whether deliver keeps up: batches at a fixed rate, and how much waits to be stored meanwhile and afterwards. */
import type { Options } from './config.ts';
import type { LoadResult } from './job.ts';
import { BATCH_EVENTS } from './loads.ts';
import type { Part } from './part.ts';
import { drainText } from './report.ts';
import { type DrainResult, jobOf, waitUntilStored } from './rounds.ts';
import type { RunGenerator } from './run-generator.ts';
import type { ServerUnderTest } from './server-under-test.ts';
import { errorsOf } from './summary.ts';
import { startWeir } from './weir.ts';

export interface DrainRun extends DrainResult {
  readonly eventsPerSecond: number;
  readonly result: LoadResult;
  /** What was pending at times, every half second of the load. */
  readonly pending: readonly { readonly seconds: number; readonly events: number }[];
}

const CONNECTIONS = 4;
const POLL_MS = 500;

export const drainPart: Part<DrainRun> = {
  name: 'drain',
  what: 'whether deliver keeps up with batches at a fixed rate',
  set: 'core',
  seconds: ({ drainSeconds }) => drainSeconds + 10,
  async measure({ options, children, pinning, runGenerator }) {
    const weir = await startWeir({ parentFolder: options.folder, children, pinning });
    try {
      const data = await measureDrain(options, weir, runGenerator);
      const problems = Object.entries(errorsOf([data])).map(([name, times]) => `${times} × ${name}`);
      if (data.secondsUntilStored === undefined) problems.push('Not everything was stored in time.');
      return { data, problems };
    } finally {
      await weir.stop();
    }
  },
  text: drainText,
};

async function measureDrain(options: Options, server: ServerUnderTest, run: RunGenerator): Promise<DrainRun> {
  const load = {
    name: 'drain',
    what: 'batches at a fixed rate',
    kind: 'batch',
    connections: CONNECTIONS,
    eventsPerRequest: BATCH_EVENTS,
    pace: { requestsPerSecond: options.drainRate / BATCH_EVENTS },
  } as const;
  const pending: { seconds: number; events: number }[] = [];
  const startMs = performance.now();
  const job = { ...jobOf(load, server, options, 0), seconds: options.drainSeconds };
  let isOver = false;
  const [result] = await Promise.all([
    run(job).finally(() => {
      isOver = true;
    }),
    (async () => {
      while (!isOver) {
        pending.push({ seconds: (performance.now() - startMs) / 1000, events: await server.pendingEvents() });
        await Bun.sleep(POLL_MS);
      }
    })(),
  ]);
  return { eventsPerSecond: options.drainRate, result, pending, ...(await waitUntilStored(server)) };
}
