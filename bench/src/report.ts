/** Results as text for people. */
import type { PartResult } from './bench.ts';
import type { Conditions } from './conditions.ts';
import type { DrainRun } from './drain.ts';
import type { IdleRun, SocketsRun } from './idle.ts';
import type { Plot } from './part.ts';
import type { MemoryByProcess } from './processes.ts';
import type { Profile } from './profile.ts';

const MIB = 1024 * 1024;

/** Aligned columns: the first `names` of them to the left, the figures to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], names = 1): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => (column < names ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [lines[0], '-'.repeat(lines[0]?.length ?? 0), ...lines.slice(1)].join('\n');
}

/** A dash for what is not known: NaN, which is null once it has been through JSON. */
const known = (value: number | undefined) => typeof value === 'number' && Number.isFinite(value);
export const count = (value: number | undefined) =>
  known(value) ? Math.round(value as number).toLocaleString('en-US') : '–';
export const fixed = (value: number | undefined, digits: number) =>
  known(value) ? (value as number).toFixed(digits) : '–';
export const percent = (fraction: number) => (known(fraction) ? `${fixed(100 * fraction, 1)}%` : '–');
const mib = (bytes: number) => fixed(bytes / MIB, 0);

export function conditionsText(conditions: Conditions): string {
  const { processor, cores, memoryBytes, kernel, bun, load1, disk, pinned } = conditions;
  return [
    `Machine     ${processor}, ${cores} cores, ${fixed(memoryBytes / 1024 / MIB, 0)} GiB, Linux ${kernel}, Bun ${bun}`,
    `Disk        ${disk.fileSystem}; 4 KiB + fdatasync: p50 ${fixed(disk.fdatasyncP50Ms, 2)} ms, p99 ${fixed(disk.fdatasyncP99Ms, 2)} ms`,
    `Before      load average ${fixed(load1, 2)}`,
    pinned
      ? 'Processors  accept and the bare server on the first, generator and deliver on the last'
      : `Processors  generator, accept and deliver share all ${cores}: deliver competes with both while a load runs`,
  ].join('\n');
}

/** A table as GitHub shows it: the first `names` columns to the left, the figures to the right. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[], names = 1): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map((_, column) => (column < names ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

/** What stands in the docs as it stands in a terminal. */
export const codeBlock = (text: string): string => `\`\`\`\n${text}\n\`\`\``;

export const image = ({ name, title }: Pick<Plot, 'name' | 'title'>): string => `![${title}](benchmarks/${name}.svg)`;

/** How much else went on while a part was measured. */
export function disturbanceText({ seconds, busyFraction, stealFraction }: PartResult): string {
  return `${fixed(seconds, 0)} s; processors ${percent(busyFraction)} busy, ${percent(stealFraction)} stolen`;
}

export function drainText({ eventsPerSecond, result, pending, ...drain }: DrainRun): string {
  const cores = (name: string) => fixed((result.cpu.cpuSeconds[name] ?? Number.NaN) / result.cpu.seconds, 2);
  const all = [...pending.map(({ events }) => events), drain.pendingAtEnd];
  // A look at a busy service may be in vain.
  const most = Math.max(...all.filter(Number.isFinite));
  const errors = Object.entries(result.problems).map(([name, times]) => `! ${count(times)} × ${name}`);
  if (result.unanswered > 0) errors.push(`! ${count(result.unanswered)} requests were not answered`);
  return [
    `Drain: batches at ${count(eventsPerSecond)} events/s for ${fixed(result.cpu.seconds, 1)} s`,
    `  acknowledged      ${count(result.eventsPerSecond)} events/s; batch p50 ${fixed(result.latency.p50Ms, 1)} ms, p99 ${fixed(result.latency.p99Ms, 1)} ms from when it was due`,
    `  not stored yet    at most ${count(most)} events, ${count(drain.pendingAtEnd)} at the end of the load`,
    `  all stored        ${drain.secondsUntilStored === undefined ? 'not within the time that was waited' : `${fixed(drain.secondsUntilStored, 2)} s after the load`}`,
    `  cores used        accept ${cores('accept')}, deliver ${cores('deliver')}, generator ${cores('generator')}; steal ${percent(result.cpu.stealFraction)}`,
    ...errors.map((line) => `  ${line}`),
  ].join('\n');
}

export function memoryText(title: string, byProcess: MemoryByProcess): string {
  const all = Object.values(byProcess);
  const rows = Object.entries(byProcess).map(([name, { rssBytes, pssBytes }]) => [name, mib(rssBytes), mib(pssBytes)]);
  const sum = (read: (one: (typeof all)[number]) => number) => mib(all.reduce((total, one) => total + read(one), 0));
  rows.push(['all', sum(({ rssBytes }) => rssBytes), sum(({ pssBytes }) => pssBytes)]);
  return `${title}\n${table(['process', 'RSS MiB', 'PSS MiB'], rows)}`;
}

export function idleText({ afterStart, afterTenSeconds }: IdleRun): string {
  return [
    memoryText('Idle memory, right after the start', afterStart),
    memoryText('Idle memory, 10 s later', afterTenSeconds),
  ].join('\n\n');
}

export function socketsText(runs: readonly SocketsRun[]): string {
  const rows = runs.map((one) => [
    one.server,
    count(one.sockets),
    mib(one.rssBytesBefore),
    mib(one.rssBytesWith),
    count(one.bytesPerSocket),
    count(one.lost),
  ]);
  return `Idle WebSockets\n${table(['server', 'sockets', 'RSS MiB before', 'with', 'bytes each', 'lost'], rows)}`;
}

export function profilesText(profiles: readonly Profile[]): string {
  return profiles
    .map(({ load, samples, eventsPerSecond, top }) => {
      const rows = top.map(({ name, selfFraction }) => [name, percent(selfFraction)]);
      const title = `Accept under ${load} (${count(eventsPerSecond)} events/s while profiled, ${count(samples)} samples)`;
      return `${title}\n${table(['function', 'self'], rows)}`;
    })
    .join('\n\n');
}
