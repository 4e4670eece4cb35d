/** What becomes of speed, memory and start-up when a service has grown: ids in the dedupe window, undelivered events. */
import type { Options } from './config.ts';
import { type BacklogGrowth, measureBacklog } from './growth-backlog.ts';
import {
  type GrowthContext,
  type GrowthRatio,
  type GrowthStart,
  growthLoads,
  type Spread,
  spreadOf,
} from './growth-pairs.ts';
import { measureWindow, type WindowGrowth } from './growth-window.ts';
import type { Measured, Part, PartContext } from './part.ts';
import type { MemoryByProcess } from './processes.ts';
import { table } from './report.ts';
import type { Weir } from './weir.ts';

const FILLED_PER_SECOND = 60_000;
const DRAINED_PER_SECOND = 80_000;
const RUN_EXTRA_SECONDS = 8;
const STARTS_SECONDS = 40;

function roundsSeconds(options: Options): number {
  const runs = 2 * options.rounds * growthLoads(options).length;
  return runs * (options.warmupSeconds + options.seconds + RUN_EXTRA_SECONDS);
}

export const windowPart: Part<WindowGrowth> = {
  name: 'window',
  what: 'millions of ids in the dedupe window (see --ids) against next to none',
  set: 'full',
  seconds: (options) => STARTS_SECONDS + options.ids / FILLED_PER_SECOND + roundsSeconds(options),
  measure: (context) =>
    measureGrowth(context, async (growth, own) => {
      const data = await measureWindow(growth, own);
      if (data.firstEventAgain === 200) return { data, problems: [] };
      return { data, problems: [`An id of the window was answered ${data.firstEventAgain} after the start, not 200.`] };
    }),
  text: windowText,
};

export const backlogPart: Part<BacklogGrowth> = {
  name: 'backlog',
  what: 'millions of undelivered events (see --backlog) against none',
  set: 'full',
  seconds: (options) =>
    STARTS_SECONDS + options.backlog * (1 / FILLED_PER_SECOND + 1 / DRAINED_PER_SECOND) + roundsSeconds(options),
  measure: (context) =>
    measureGrowth(context, async (growth, own, sent) => {
      const data = await measureBacklog(growth, own, sent);
      const { acknowledged, stored, storedDifferent } = data;
      if (stored === acknowledged && storedDifferent === stored) return { data, problems: [] };
      const rows = `${stored} rows are stored, ${storedDifferent} of them different`;
      return { data, problems: [`${acknowledged} events were acknowledged, ${rows}.`] };
    }),
  text: backlogText,
};

type Own = (service: Weir) => Weir;

/** Counts what is sent and answered, and ends every service that `measure` starts. */
async function measureGrowth<Data>(
  context: PartContext,
  measure: (growth: GrowthContext, own: Own, sent: (service: Weir) => number) => Promise<Measured<Data>>,
): Promise<Measured<Data>> {
  const wrong: string[] = [];
  const sent = new Map<Weir, number>();
  const services: Weir[] = [];
  const growth: GrowthContext = {
    ...context,
    count(service, { eventsSent, unanswered, problems }) {
      sent.set(service, (sent.get(service) ?? 0) + eventsSent);
      for (const [name, times] of Object.entries(problems)) wrong.push(`${times} × ${name}`);
      if (unanswered > 0) wrong.push(`${unanswered} requests were not answered`);
    },
  };
  const own = (service: Weir) => {
    services.push(service);
    return service;
  };
  try {
    const { data, problems } = await measure(growth, own, (service) => sent.get(service) ?? 0);
    return { data, problems: [...wrong, ...problems] };
  } finally {
    // The last first: it may stand in the folder of an earlier one.
    for (const service of services.toReversed()) await service.stop();
  }
}

const MB = 1e6;
const megabytes = (bytes: number) => (bytes / MB).toFixed(0);
const count = (value: number) => Math.round(value).toLocaleString('en-US');
const spread = ({ median, min, max }: Spread) => `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
const seconds = (ms: number) => (ms / 1000).toFixed(1);

function ratiosTable(ratios: readonly GrowthRatio[]): string {
  const rows = ratios.map(({ load, rate, acceptCpu }) => [load, spread(rate), spread(acceptCpu)]);
  return table(['load', 'rate', 'CPU per event in accept'], rows);
}

function memoryLines(grown: MemoryByProcess, plain: MemoryByProcess): string[] {
  return Object.entries(grown).map(([name, { rssBytes, pssBytes }]) => {
    const other = plain[name];
    const more = megabytes(rssBytes - (other?.rssBytes ?? Number.NaN));
    const morePss = megabytes(pssBytes - (other?.pssBytes ?? Number.NaN));
    return `  ${name.padEnd(12)}RSS ${megabytes(rssBytes)} MB, ${more} more; PSS ${megabytes(pssBytes)} MB, ${morePss} more`;
  });
}

function startText(starts: readonly GrowthStart[]): string {
  const over = (read: (start: GrowthStart) => number) => spreadOf(starts.map(read)).median;
  return `takes events after ${seconds(over((one) => one.acceptingMs))} s, stores after ${seconds(over((one) => one.storingMs))} s; accept: ${over((one) => one.cpuSeconds).toFixed(1)} s of CPU, RSS ${megabytes(over((one) => one.rssBytes))} MB, at most ${megabytes(over((one) => one.peakRssBytes))} MB`;
}

function windowText(window: WindowGrowth): string {
  return [
    `${count(window.ids.grown)} ids (filled at ${count(window.fill.eventsPerSecond)} events/s) against at most 100,000. Ratios: medians (least–most)`,
    ratiosTable(window.ratios),
    'Memory after the loads, against the other',
    ...memoryLines(window.memory.grown, window.memory.plain),
    `Start with ${count(window.idsAfterStart)} ids: ${startText(window.starts.grown)}`,
    `Start of the other: ${startText(window.starts.plain)}`,
  ].join('\n');
}

function backlogText(backlog: BacklogGrowth): string {
  const perSecond = backlog.acknowledged / backlog.secondsUntilStored;
  return [
    `${count(backlog.pendingEvents.grown)} undelivered events (${megabytes(backlog.journalBytes)} MB of journal) against none; deliver frozen in both. Ratios: medians (least–most)`,
    ratiosTable(backlog.ratios),
    'Memory after the loads, against the other',
    ...memoryLines(backlog.memory.grown, backlog.memory.plain),
    `Start after SIGKILL with ${count(backlog.acknowledged)} undelivered: ${startText([backlog.start])}`,
    `All stored ${backlog.secondsUntilStored.toFixed(1)} s after that start (${count(perSecond)} events/s): ${count(backlog.acknowledged)} acknowledged, ${count(backlog.stored)} stored, ${count(backlog.storedDifferent)} of them different`,
  ].join('\n');
}
