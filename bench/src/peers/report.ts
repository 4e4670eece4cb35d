/** The peers' figures as text and pictures. */
import type { Plot, Section } from '../part.ts';
import { codeBlock, count, fixed, image, table } from '../report.ts';
import { CLICKHOUSE_NOTE } from '../servers-stack.ts';
import { type BarChart, barChart } from '../svg.ts';
import type { PeersData } from './part.ts';
import type { Aim, PeerRatio, PeerSummary } from './summary.ts';

export function peersText({ loads, services, missing, summary, ratios, aims }: PeersData): string {
  const width = Math.max(...services.map(({ name }) => name.length));
  return [
    `Loads\n${loads.map(({ name, what }) => `  ${name.padEnd(8)}${what}`).join('\n')}`,
    `What an acknowledgement means\n${services.map(({ name, ack }) => `  ${name.padEnd(width)}  ${ack}`).join('\n')}`,
    `Medians of the rounds. CPU: microseconds per event, from before the load until every event had arrived\n${summaryTable(summary)}`,
    `Weir compared (medians of the rounds' ratios; above 1: Weir is ahead)\n${ratioTable(ratios)}`,
    `Aims\n${aims.map(aimText).join('\n')}`,
    [...missing, CLICKHOUSE_NOTE].join('\n'),
  ].join('\n\n');
}

export function peersSection(data: PeersData): Section {
  const plots = data.loads.flatMap(({ name }) =>
    plotsOf(
      name,
      data.summary.filter(({ load }) => load === name),
    ),
  );
  return { markdown: [codeBlock(peersText(data)), ...plots.map(image)].join('\n\n'), plots };
}

function plotsOf(load: string, summary: readonly PeerSummary[]): Plot[] {
  const companions = [...new Set(summary.flatMap((one) => Object.keys(one.companionMicrosPerEvent)))];
  const plot = (name: string, title: string, chart: Omit<BarChart, 'title'>): Plot => ({
    name: `peers-${load}-${name}`,
    title,
    svg: barChart({ ...chart, title }),
  });
  return [
    plot('cpu', `${load}: CPU time until every event had arrived`, {
      axis: 'µs of CPU time per event (median)',
      series: ['own', ...companions],
      groups: summary.map(({ server, ownMicrosPerEvent, companionMicrosPerEvent }) => ({
        label: server,
        bars: [ownMicrosPerEvent, ...companions.map((name) => companionMicrosPerEvent[name])].map((value) =>
          value === undefined ? undefined : { value },
        ),
      })),
    }),
    plot('rate', `${load}: events acknowledged`, {
      axis: 'events per second (median, range of the rounds)',
      series: ['acknowledged'],
      groups: summary.map(({ server, eventsPerSecond: { median, min, max } }) => ({
        label: server,
        bars: [{ value: median, min, max }],
      })),
    }),
  ];
}

function aimText({ what, found, min }: Aim): string {
  return `  ${found >= min ? 'met   ' : 'missed'}  ${what}: ${fixed(found, 2)} (at least ${min})`;
}

function summaryTable(summary: readonly PeerSummary[]): string {
  const companions = [...new Set(summary.flatMap((one) => Object.keys(one.companionMicrosPerEvent)))];
  const head = ['load', 'service', 'events/s', 'min–max', 'CPU µs: own', ...companions, 'p50 ms', 'p99', 'others'];
  const rows = summary.map((one) => [
    one.load,
    one.server,
    count(one.eventsPerSecond.median),
    `${count(one.eventsPerSecond.min)}–${count(one.eventsPerSecond.max)}`,
    fixed(one.ownMicrosPerEvent, 1),
    ...companions.map((name) => fixed(one.companionMicrosPerEvent[name], 1)),
    fixed(one.p50Ms, 2),
    fixed(one.p99Ms, 2),
    fixed(one.otherCores, 2),
  ]);
  return table(head, rows, 2);
}

function ratioTable(ratios: readonly PeerRatio[]): string {
  const head = ['load', 'service', 'events per CPU second', 'with the servers that are used', 'acknowledged/s'];
  const rows = ratios.map((one) => [
    one.load,
    one.peer,
    fixed(one.eventsPerCpuSecond, 2),
    fixed(one.eventsPerCpuSecondOfAll, 2),
    fixed(one.rate, 2),
  ]);
  return table(head, rows, 2);
}
