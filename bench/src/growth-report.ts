/** What growth showed, for the terminal and for the docs. */
import type { BacklogGrowth } from './growth-backlog.ts';
import type { GrowthRatio, GrowthStart } from './growth-pairs.ts';
import type { WindowGrowth } from './growth-window.ts';
import type { Section } from './part.ts';
import type { MemoryByProcess } from './processes.ts';
import { codeBlock, count, fixed, image, table } from './report.ts';
import { type Spread, spreadOf } from './summary.ts';
import { barChart } from './svg.ts';

const megabytes = (bytes: number) => fixed(bytes / 1e6, 0);
const spread = ({ median, min, max }: Spread) => `${fixed(median, 2)} (${fixed(min, 2)}–${fixed(max, 2)})`;
const seconds = (ms: number) => fixed(ms / 1000, 1);

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
  return `takes events after ${seconds(over((one) => one.acceptingMs))} s, stores after ${seconds(over((one) => one.storingMs))} s; accept: ${fixed(
    over((one) => one.cpuSeconds),
    1,
  )} s of CPU, RSS ${megabytes(over((one) => one.rssBytes))} MB, at most ${megabytes(over((one) => one.peakRssBytes))} MB`;
}

export function windowText(window: WindowGrowth): string {
  return [
    `${count(window.ids.grown)} ids (filled at ${count(window.fill.eventsPerSecond)} events/s) against at most 100,000. Ratios: medians (least–most)`,
    ratiosTable(window.ratios),
    'Memory after the loads, against the other',
    ...memoryLines(window.memory.grown, window.memory.plain),
    `Start with ${count(window.idsAfterStart)} ids: ${startText(window.starts.grown)}`,
    `Start of the other: ${startText(window.starts.plain)}`,
  ].join('\n');
}

export function backlogText(backlog: BacklogGrowth): string {
  const perSecond = backlog.acknowledged / backlog.secondsUntilStored;
  return [
    `${count(backlog.pendingEvents.grown)} undelivered events (${megabytes(backlog.journalBytes)} MB of journal) against none; deliver frozen in both. Ratios: medians (least–most)`,
    ratiosTable(backlog.ratios),
    'Memory after the loads, against the other',
    ...memoryLines(backlog.memory.grown, backlog.memory.plain),
    `Start after SIGKILL with ${count(backlog.acknowledged)} undelivered: ${startText([backlog.start])}`,
    `All stored ${fixed(backlog.secondsUntilStored, 1)} s after that start (${count(perSecond)} events/s): ${count(backlog.acknowledged)} acknowledged, ${count(backlog.stored)} stored, ${count(backlog.storedDifferent)} of them different`,
  ].join('\n');
}

export function windowSection(window: WindowGrowth): Section {
  return ratiosSection(
    'window',
    `${count(window.ids.grown)} ids in the window, beside next to none`,
    windowText(window),
    window,
  );
}

export function backlogSection(backlog: BacklogGrowth): Section {
  const title = `${count(backlog.pendingEvents.grown)} undelivered events, beside none`;
  return ratiosSection('backlog', title, backlogText(backlog), backlog);
}

function ratiosSection(
  name: string,
  title: string,
  text: string,
  { ratios }: { readonly ratios: readonly GrowthRatio[] },
): Section {
  const bar = ({ median, min, max }: Spread) => ({ value: median, min, max });
  const svg = barChart({
    title,
    axis: "times the empty one's (median, range of the rounds)",
    series: ['rate', 'CPU per event in accept'],
    groups: ratios.map(({ load, rate, acceptCpu }) => ({ label: load, bars: [bar(rate), bar(acceptCpu)] })),
  });
  const plot = { name, title, svg };
  return { markdown: `${codeBlock(text)}\n\n${image(plot)}`, plots: [plot] };
}
