/** docs/benchmarks.md and its pictures, made from results and from nothing else. */
import type { PartResult, Results } from './bench.ts';
import type { Conditions } from './conditions.ts';
import { RATIO_HEAD, ratioRows } from './loads-report.ts';
import type { Part, Section } from './part.ts';
import { codeBlock, disturbanceText, fixed, markdownTable } from './report.ts';
import type { Ratio, Spread } from './summary.ts';
import { barChart } from './svg.ts';

/** Paths are relative to docs/. */
export type DocFiles = ReadonlyMap<string, string>;

export const DOCS_FILE = 'benchmarks.md';
export const PLOTS_FOLDER = 'benchmarks';
/** What the document was made of, without single rounds. */
export const RESULTS_FILE = `${PLOTS_FOLDER}/results.json`;

const INTRODUCTION = `Made by \`npm run bench\` from its results (\`--docs\`, or \`--from\` saved ones); not written by hand. [bench/README.md](../bench/README.md) says what the loads are and how
to read the figures. Weir and a bare \`Bun.serve\`, which parses and replies and keeps nothing, with Bun's own memory settings, are measured in turn under the same load:
CPU time per event and ratios within one run are what to trust; absolute rates belong to this machine, on which generator, server and
everything behind share the processors.`;

/** By the name of a server in the tables. */
const ACKS: readonly (readonly [string, string])[] = [
  [
    'weir',
    'The event is validated, deduplicated, and on disk: fdatasync has returned. Rejections and duplicates are said one by one',
  ],
  [
    'weir-1, weir-2, weir-servers',
    'The same, and no other instance has the id: Redis was asked (with one process, or two, or with Kafka and ClickHouse behind)',
  ],
  ['bare', 'The JSON was parsed. Nothing is checked or kept'],
];

export function docFiles(measured: Results, parts: readonly Part[]): DocFiles {
  const json = JSON.stringify(measured, (key, value) => (key === 'runs' ? undefined : value), 2);
  const results = JSON.parse(json) as Results;
  const files = new Map<string, string>();
  const compared: Ratio[] = [];
  const sections = parts.flatMap((part) => {
    const result = results.parts[part.name];
    if (result === undefined) return [];
    const section = sectionOf(part, result);
    compared.push(...(section.ratios ?? []));
    for (const { name, svg } of section.plots) files.set(`${PLOTS_FOLDER}/${name}.svg`, svg);
    const title = `## ${part.name}: ${part.what}`;
    const problems = result.problems.map((problem) => `- **!** ${problem}`).join('\n');
    const when = `Measured ${result.startedAt.slice(0, 16).replace('T', ' ')} UTC, ${disturbanceText(result)}`;
    const measured = `${when}; run with \`${result.options}\`.`;
    return [[title, measured, problems, section.markdown].filter((text) => text !== '').join('\n\n')];
  });
  const markdown = [
    '# Benchmarks',
    INTRODUCTION,
    '## Conditions',
    conditionsTable(results.conditions),
    '## What an acknowledgement means',
    markdownTable(['server', 'when it acknowledges'], ACKS, 2),
    ...comparison(compared, files),
    ...sections,
  ];
  files.set(RESULTS_FILE, `${json}\n`);
  files.set(DOCS_FILE, `${markdown.join('\n\n')}\n`);
  return files;
}

/** Every load against the bare server, in one table and one picture. */
function comparison(ratios: readonly Ratio[], files: Map<string, string>): string[] {
  if (ratios.length === 0) return [];
  const title = 'CPU time per event, divided by what the bare server needs';
  const bars = (spread: Spread) => ({ value: spread.median, min: spread.min, max: spread.max });
  const svg = barChart({
    title,
    axis: 'times the bare server (median, range of the rounds)',
    series: ['accept', 'all processes until stored, without the engine'],
    groups: ratios.map(({ load, server, acceptCpu, ownCpu }) => ({
      label: server === 'weir' ? load : `${load} ${server}`,
      bars: [bars(acceptCpu), bars(ownCpu)],
    })),
  });
  files.set(`${PLOTS_FOLDER}/comparison.svg`, svg);
  return [
    '## Against the bare server',
    `![${title}](${PLOTS_FOLDER}/comparison.svg)`,
    markdownTable(RATIO_HEAD, ratioRows(ratios), 2),
  ];
}

function sectionOf(part: Part, { data }: PartResult): Section {
  if (data === undefined) return { markdown: '', plots: [] };
  return part.section?.(data) ?? { markdown: codeBlock(part.text(data)), plots: [] };
}

function conditionsTable({
  startedAt,
  processor,
  cores,
  memoryBytes,
  kernel,
  bun,
  load1,
  pinned,
  disk,
}: Conditions): string {
  return markdownTable(
    ['what', 'value'],
    [
      ['date', `${startedAt.slice(0, 16).replace('T', ' ')} UTC`],
      ['processor', `${processor}, ${cores} cores`],
      ['memory', `${fixed(memoryBytes / 1024 ** 3, 0)} GiB`],
      ['kernel', `Linux ${kernel}`],
      ['Bun', bun],
      [
        'disk',
        `${disk.fileSystem}; 4 KiB written and synced (fdatasync): p50 ${fixed(disk.fdatasyncP50Ms, 2)} ms, p99 ${fixed(disk.fdatasyncP99Ms, 2)} ms`,
      ],
      ['load average before', fixed(load1, 2)],
      [
        'processors',
        pinned
          ? 'accept and the bare server on the first, generator and deliver on the last'
          : 'shared by everything that runs',
      ],
    ],
    2,
  );
}

/** A later file's parts stand instead of an earlier one's. Throws when they are not of the same machine. */
export function mergeResults(all: readonly Results[]): Results {
  const [first, ...others] = all;
  if (first === undefined) throw new Error('--from: no results');
  for (const { conditions } of others) {
    for (const key of ['processor', 'cores', 'kernel', 'bun', 'pinned'] as const) {
      if (conditions[key] === first.conditions[key]) continue;
      throw new Error(
        `--from: results of ${key} ${first.conditions[key]} and ${conditions[key]} cannot stand in one document`,
      );
    }
  }
  return { ...first, parts: Object.assign({}, ...all.map(({ parts }) => parts)) };
}
