/** Whether deliver keeps up: batches at a fixed rate, and how much waits to be stored meanwhile and afterwards. */
import type { Options } from './config.ts';
import type { LoadResult } from './job.ts';
import { BATCH_EVENTS } from './loads.ts';
import type { Part, Section } from './part.ts';
import { codeBlock, drainText, image } from './report.ts';
import { type DrainResult, jobOf, waitUntilStored } from './rounds.ts';
import type { RunGenerator } from './run-generator.ts';
import type { ServerUnderTest } from './server-under-test.ts';
import { errorsOf, named } from './summary.ts';
import { lineChart } from './svg.ts';
import { startWeir } from './weir.ts';

export interface DrainRun extends DrainResult {
  readonly eventsPerSecond: number;
  readonly result: LoadResult;
  /** When everything had been sent and answered. */
  readonly loadEndSeconds: number;
  /** What was pending at times, every half second, from before the load until all was stored. */
  readonly pending: readonly { readonly seconds: number; readonly events: number }[];
}

const CONNECTIONS = 4;
const POLL_MS = 500;

export const drainPart: Part<DrainRun> = {
  name: 'drain',
  what: 'whether deliver keeps up with batches at a fixed rate',
  set: 'core',
  seconds: ({ drainSeconds }) => drainSeconds + 10,
  async measure(context) {
    const weir = await startWeir(context);
    try {
      const data = await measureDrain(context.options, weir, context.runGenerator);
      const problems = named(errorsOf([data]));
      if (data.secondsUntilStored === undefined) problems.push('Not everything was stored in time.');
      return { data, problems };
    } finally {
      await weir.stop();
    }
  },
  text: drainText,
  section: drainSection,
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
  const sinceSeconds = () => (performance.now() - startMs) / 1000;
  let isOver = false;
  const [[result, loadEndSeconds, drained]] = await Promise.all([
    (async () => {
      const ran = await run(job);
      return [ran, sinceSeconds(), await waitUntilStored(server)] as const;
    })().finally(() => {
      isOver = true;
    }),
    (async () => {
      while (!isOver) {
        pending.push({ seconds: sinceSeconds(), events: await server.pendingEvents() });
        await Bun.sleep(POLL_MS);
      }
    })(),
  ]);
  return { eventsPerSecond: options.drainRate, result, loadEndSeconds, pending, ...drained };
}

export function drainSection(run: DrainRun): Section {
  const title = 'Events that are acknowledged and not stored yet';
  const svg = lineChart({
    title,
    xAxis: 'seconds',
    yAxis: 'events',
    lines: [{ name: 'not stored yet', points: run.pending.map(({ seconds, events }) => [seconds, events]) }],
    marks: [{ x: run.loadEndSeconds, label: 'the load ends' }],
  });
  const plot = { name: 'drain', title, svg };
  return { markdown: `${codeBlock(drainText(run))}\n\n${image(plot)}`, plots: [plot] };
}
