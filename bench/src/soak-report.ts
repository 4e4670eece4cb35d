/** What the soak showed, for the terminal and for the docs. */
import type { Section } from './part.ts';
import { codeBlock, count, fixed, image, table } from './report.ts';
import type { SoakData } from './soak.ts';
import { FLAT_BYTES_PER_MINUTE_MAX, type Slope } from './soak-slope.ts';
import { lineChart } from './svg.ts';

const kilobytes = (bytes: number) => fixed(bytes / 1e3, 0);
const megabytes = (bytes: number | undefined) => fixed(bytes === undefined ? undefined : bytes / 1e6, 0);

/** In kB a minute. */
export function slopeText({ perMinute, uncertainty, verdict }: Slope): string {
  // Too few readings have no slope: NaN, or null in a file, which must not become 0.
  if (!Number.isFinite(perMinute)) return verdict;
  return `${kilobytes(perMinute)} ± ${kilobytes(uncertainty)}`;
}

export function soakSection(data: SoakData): Section {
  const title = 'Memory of each process during the soak';
  const svg = lineChart({
    title,
    xAxis: 'minutes',
    yAxis: 'RSS in MB',
    lines: Object.keys(data.rss).map((name) => ({
      name,
      points: data.samples.map(({ seconds, processes }) => [
        seconds / 60,
        (processes[name]?.rssBytes ?? Number.NaN) / 1e6,
      ]),
    })),
  });
  const plot = { name: 'soak', title, svg };
  return { markdown: `${codeBlock(soakText(data))}\n\n${image(plot)}`, plots: [plot] };
}

export function soakText({ minutes, samples, rss, pss, heap, descriptors, clients, ...data }: SoakData): string {
  const first = samples[Math.floor(samples.length / 2)];
  const last = samples.at(-1);
  const rows = Object.entries(rss).map(([name, ofRss]) => [
    name,
    megabytes(first?.processes[name]?.rssBytes),
    megabytes(last?.processes[name]?.rssBytes),
    slopeText(ofRss),
    slopeText(pss[name] as Slope),
    ofRss.verdict,
    `${count(descriptors[name]?.before)} / ${count(descriptors[name]?.after)}`,
  ]);
  const { accepted, duplicate, rejected } = clients.answered;
  const idsMax = Math.max(...samples.map(({ dedupeIds }) => dedupeIds ?? 0));
  const journalMax = Math.max(...samples.map(({ journalBytes }) => journalBytes));
  const pendingMax = Math.max(...samples.map(({ pendingEvents }) => pendingEvents ?? 0));
  return [
    `${minutes} minutes, dedupe window of 30 s (at most ${count(idsMax)} ids), segments of 8 MiB; slopes over the second half, 95 % confidence; flat: surely less than ${kilobytes(FLAT_BYTES_PER_MINUTE_MAX)} kB a minute`,
    table(['process', 'RSS MB halfway', 'at the end', 'RSS kB/min', 'PSS kB/min', 'verdict', 'descriptors idle'], rows),
    `Heap of accept: ${slopeText(heap)} kB/min (${heap.verdict}). Journal folder at most ${megabytes(journalMax)} MB, at most ${count(pendingMax)} events pending`,
    `${count(accepted)} accepted, ${count(duplicate)} duplicates, ${count(rejected)} rejected; ${count(clients.webSockets)} WebSockets, ${count(clients.brokenRequests)} broken requests, ${count(clients.queries)} queries`,
    `${count(data.stored)} stored, ${count(data.storedDifferent)} of them different; reconciled: ${data.isBalanced ? 'even' : 'not even'}`,
  ].join('\n');
}
