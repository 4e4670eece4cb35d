/** What a part with loads found, for the terminal and for the docs. */
import type { LoadsData } from './loads-part.ts';
import type { Plot, Section } from './part.ts';
import { count, fixed, image, markdownTable, memoryText, percent, table } from './report.ts';
import { CLICKHOUSE_NOTE } from './servers-stack.ts';
import type { LoadSummary, Ratio, Spread } from './summary.ts';
import { type Bar, barChart } from './svg.ts';

/** From here on the generator, not the server, may be what limits a rate. */
const GENERATOR_BUSY_CORES = 0.9;
const ENGINE_NOTE =
  "engine: the embedded engine's part of deliver, which is deliver's CPU time less that of its main thread and of the runtime's threads that collect garbage and compile (/proc/<pid>/task).";
const OTHERS_NOTE = 'others: processors that everything else on this machine took meanwhile (the kernel, neighbours).';

export function loadsText(data: LoadsData): string {
  return [
    loadList(data, (name, what) => `  ${name.padEnd(14)} ${what}`),
    `The generator's own ceiling, against a server that answers fixed bytes\n${table(CEILING_HEAD, ceilingRows(data))}`,
    `Medians of the rounds\n${table(SUMMARY_HEAD, summaryRows(data.summary), 2)}`,
    `CPU µs per event until everything was stored\n${table(storedHead(data), storedRows(data), 2)}`,
    `Divided by the bare server: medians of the rounds' ratios, and their range\n${table(RATIO_HEAD, ratioRows(data.ratios), 2)}`,
    notesOf(data).join('\n'),
    ...Object.entries(data.memory).map(([name, memory]) => memoryText(`Memory of ${name} after these loads`, memory)),
  ].join('\n\n');
}

export function loadsSection(part: string, data: LoadsData): Section {
  const plots = plotsOf(part, data);
  const markdown = [
    loadList(data, (name, what) => `- \`${name}\`: ${what}`),
    ...plots.map(image),
    markdownTable(SUMMARY_HEAD, summaryRows(data.summary), 2),
    'CPU µs per event until everything was stored:',
    markdownTable(storedHead(data), storedRows(data), 2),
    "Divided by the bare server (medians of the rounds' ratios, and their range):",
    markdownTable(RATIO_HEAD, ratioRows(data.ratios), 2),
    "The generator's own ceiling, against a server that answers fixed bytes:",
    markdownTable(CEILING_HEAD, ceilingRows(data)),
    notesOf(data)
      .map((note) => `- ${note}`)
      .join('\n'),
  ];
  return { markdown: markdown.join('\n\n'), plots, ratios: data.ratios };
}

function loadList({ loads, summary }: LoadsData, item: (name: string, what: string) => string): string {
  const bytes = (load: string) => summary.find((one) => one.load === load)?.eventBytes;
  return loads
    .map(({ name, what }) => item(name, `${what}; events of ${count(bytes(name))} bytes on average`))
    .join('\n');
}

const CEILING_HEAD = ['load', 'events/s', 'generator cores'];
const SUMMARY_HEAD = ['load', 'server', 'events/s', 'min–max', 'CPU µs', 'min–max', 'p50 ms', 'p99', 'p99.9'].concat([
  'lag p99',
  'generator cores',
  'others',
  'steal',
  'errors',
]);
export const RATIO_HEAD = ['load', 'server', 'rate', 'CPU of accept', 'CPU of all', 'without the engine'];

function ceilingRows({ ceilings }: LoadsData): string[][] {
  return ceilings.map((one) => [one.load, count(one.eventsPerSecond), fixed(one.generatorCores, 2)]);
}

function summaryRows(summaries: readonly LoadSummary[]): string[][] {
  return summaries.map((one) => {
    const errors = Object.values(one.errors).reduce((sum, value) => sum + value, 0);
    return [
      one.load,
      one.server,
      count(one.eventsPerSecond.median),
      `${count(one.eventsPerSecond.min)}–${count(one.eventsPerSecond.max)}`,
      fixed(one.frontMicros.median, 2),
      range(one.frontMicros, 2),
      fixed(one.p50Ms, 2),
      fixed(one.p99Ms, 2),
      fixed(one.p999Ms, 2),
      fixed(one.sendLagP99Ms, 2),
      `${fixed(one.generatorCores, 2)}${one.generatorCores >= GENERATOR_BUSY_CORES ? ' *' : ''}`,
      fixed(one.otherCores, 2),
      percent(one.stealFraction),
      errors === 0 ? '0' : `${count(errors)} !`,
    ];
  });
}

export const range = ({ min, max }: Spread, digits: number): string => `${fixed(min, digits)}–${fixed(max, digits)}`;

function storedHead({ stack }: LoadsData): string[] {
  return ['load', 'server', 'accept', 'deliver', 'engine', 'supervisor', 'all', 'without the engine', ...stack];
}

function storedRows({ summary, stack }: LoadsData): string[][] {
  return summary.flatMap((one) => {
    if (one.storedMicros === undefined) return [];
    const stored = one.storedMicros;
    const accepts = Object.entries(stored).filter(([name]) => name.startsWith('accept'));
    const accept = accepts.reduce((sum, [, micros]) => sum + micros, 0);
    const figures = [accept, stored['deliver'], one.engineMicrosPerEvent, stored['supervisor']];
    const sums = [one.allMicros?.median, one.ownMicros?.median];
    const servers = stack.map((name) => stored[name]);
    return [[one.load, one.server, ...[...figures, ...sums, ...servers].map((micros) => fixed(micros, 2))]];
  });
}

export function ratioRows(ratios: readonly Ratio[]): string[][] {
  const text = (spread: Spread) =>
    fixed(spread.median, 2) === '–' ? '–' : `${fixed(spread.median, 2)} (${range(spread, 2)})`;
  return ratios.map(({ load, server, rate, acceptCpu, allCpu, ownCpu }) => [
    load,
    server,
    ...[rate, acceptCpu, allCpu, ownCpu].map(text),
  ]);
}

function notesOf({ summary, stack }: LoadsData): string[] {
  const isBusy = summary.some(({ generatorCores }) => generatorCores >= GENERATOR_BUSY_CORES);
  const engine = summary.flatMap(({ engineMicrosPerEvent }) => engineMicrosPerEvent ?? []);
  const isEmbedded = !stack.includes('clickhouse');
  return [
    'CPU µs: of what answers (accept, or the whole bare server), per event, while it was measured.',
    ...(isBusy
      ? [
          '"*" beside the generator: it used most of a processor, and the server might have been faster with another one.',
        ]
      : []),
    ...(isEmbedded
      ? [ENGINE_NOTE]
      : [
          `${ENGINE_NOTE} Here deliver has no embedded engine, and the same subtraction finds ${fixed(Math.max(...engine), 2)} µs at most: what it mistakes for the engine.`,
          CLICKHOUSE_NOTE,
        ]),
    ...(stack.length > 0 ? ['Redis, Kafka and the stand-in are processes of their own, and in no sum.'] : []),
    OTHERS_NOTE,
    ...summary.flatMap(({ load, server, errors }) =>
      Object.entries(errors).map(([name, times]) => `! ${load}, ${server}: ${count(times)} × ${name}`),
    ),
    ...summary.flatMap(({ load, server, drainedPerSecond }) =>
      drainedPerSecond === undefined
        ? []
        : [`After ${load}, deliver of ${server} stored ${count(drainedPerSecond)} events/s.`],
    ),
  ];
}

function plotsOf(part: string, { loads, summary }: LoadsData): Plot[] {
  const servers = [...new Set(summary.map(({ server }) => server))];
  const groups = (bar: (one: LoadSummary) => Bar) =>
    loads.map(({ name }) => ({
      label: name,
      bars: servers.map((server) => {
        const found = summary.find((one) => one.load === name && one.server === server);
        return found === undefined ? undefined : bar(found);
      }),
    }));
  const plot = (kind: string, title: string, axis: string, bar: (one: LoadSummary) => Bar): Plot => ({
    name: `${part}-${kind}`,
    title,
    svg: barChart({ title, axis, series: servers, groups: groups(bar) }),
  });
  const spread = ({ median, min, max }: Spread): Bar => ({ value: median, min, max });
  return [
    plot('cpu', `${part}: CPU of what answers`, 'µs of CPU time per event (median, range of the rounds)', (one) =>
      spread(one.frontMicros),
    ),
    plot(
      'latency',
      `${part}: 99th percentile of the time to the acknowledgement`,
      'milliseconds (median of the rounds)',
      (one) => ({
        value: one.p99Ms,
      }),
    ),
  ];
}
