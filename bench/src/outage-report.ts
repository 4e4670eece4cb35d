/** What the outage showed, for the terminal and for the docs. */
import type { LoadResult } from './job.ts';
import type { OutageData, OutagePhase } from './outage.ts';
import type { Section } from './part.ts';
import { count, fixed, image, markdownTable, percent, table } from './report.ts';
import { CLICKHOUSE_NOTE } from './servers-stack.ts';
import { lineChart } from './svg.ts';

const HEAD = ['phase', 'acknowledged/s', 'p50 ms', 'p99', 'p99.9', 'accept cores', 'deliver cores', 'steal'];

export function outageText(data: OutageData): string {
  return [...sentences(data), table(HEAD, rows(data))].join('\n');
}

export function outageSection(data: OutageData): Section {
  const title = 'Backlog and stored events while ClickHouse is away and after it came back';
  const svg = lineChart({
    title,
    xAxis: 'seconds',
    yAxis: 'events',
    lines: [
      { name: 'not stored yet', points: data.samples.map(({ seconds, pendingEvents }) => [seconds, pendingEvents]) },
      { name: 'stored', points: data.samples.map(({ seconds, storedEvents }) => [seconds, storedEvents]) },
    ],
    marks: [
      { x: data.killedAtSeconds, label: 'killed' },
      { x: data.restartedAtSeconds, label: 'back' },
    ],
  });
  const plot = { name: 'outage', title, svg };
  const markdown = [sentences(data).join('\n'), image(plot), markdownTable(HEAD, rows(data))];
  return { markdown: markdown.join('\n\n'), plots: [plot] };
}

function sentences({ eventsPerSecond, killedAtSeconds, restartedAtSeconds, samples, drain }: OutageData): string[] {
  // While nobody answers nothing is known.
  const most = Math.max(
    ...samples.flatMap(({ pendingEvents }) => (Number.isFinite(pendingEvents) ? pendingEvents : [])),
  );
  return [
    `Batches of 100 at ${count(eventsPerSecond)} events/s (open loop); ClickHouse was killed under load after ${fixed(killedAtSeconds, 1)} s and answered again after ${fixed(restartedAtSeconds, 1)} s.`,
    `At most ${count(most)} events waited.`,
    drain === undefined
      ? 'They were not stored within the time that was waited.'
      : `The first of them was stored ${fixed(drain.delaySeconds, 1)} s after the return; then ${count(drain.storedPerSecond)} events/s for ${fixed(drain.seconds, 1)} s, ${fixed(drain.storedPerSecond / eventsPerSecond, 1)} times the live load, which went on.`,
    'Latencies count from when a batch was due.',
    CLICKHOUSE_NOTE,
  ];
}

function rows({ results }: OutageData): string[][] {
  return (Object.entries(results) as [OutagePhase, LoadResult][]).map(([phase, result]) => {
    const cores = (name: string) => fixed((result.cpu.cpuSeconds[name] ?? Number.NaN) / result.cpu.seconds, 2);
    const { p50Ms, p99Ms, p999Ms } = result.latency;
    return [
      phase,
      count(result.eventsPerSecond),
      ...[p50Ms, p99Ms, p999Ms].map((ms) => fixed(ms, 2)),
      cores('accept'),
      cores('deliver'),
      percent(result.cpu.stealFraction),
    ];
  });
}
