/** What becomes of speed, memory and start-up when a service has grown: ids in the dedupe window, undelivered events. */
import type { Options } from './config.ts';
import { type BacklogGrowth, measureBacklog } from './growth-backlog.ts';
import type { GrowthContext } from './growth-pairs.ts';
import { backlogSection, backlogText, windowSection, windowText } from './growth-report.ts';
import { measureWindow, type WindowGrowth } from './growth-window.ts';
import { usualLoads } from './loads.ts';
import type { Measured, Part, PartContext } from './part.ts';
import { secondsOfRun } from './rounds.ts';
import { named } from './summary.ts';
import type { Weir } from './weir.ts';

const FILLED_PER_SECOND = 60_000;
const DRAINED_PER_SECOND = 80_000;
const RUN_EXTRA_SECONDS = 8;
const STARTS_SECONDS = 40;

function roundsSeconds(options: Options): number {
  const runs = 2 * options.rounds * usualLoads(options).length;
  return runs * secondsOfRun(options, RUN_EXTRA_SECONDS);
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
  section: windowSection,
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
  section: backlogSection,
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
    count(service, { eventsSent, unanswered, problems, cpu }) {
      sent.set(service, (sent.get(service) ?? 0) + eventsSent);
      wrong.push(...named(problems));
      if (cpu.cpuSeconds['accept'] === undefined) wrong.push('accept was replaced while it was measured');
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
