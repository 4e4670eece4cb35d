/** What can be said about a journal that refuses to open, and the ways out of it. Used while nothing else runs. */
import { basename } from 'node:path';
import type { Disk } from './disk.ts';
import { newerFormat } from './errors.ts';
import { SEGMENT_HEADER_BYTES } from './format.ts';
import { readColumn } from './id-column.ts';
import { columnName, columnOf, type JournalFolder, retiredFolderName, segmentName, segmentOf } from './names.ts';
import { type InspectedSegment, inspectSegment, readFrames, sumOfEvents } from './segment-inspect.ts';

export interface Damage {
  readonly file: string;
  /** The first byte that cannot be read as what should stand there. */
  readonly offset: number;
  readonly what: string;
  /** Intact frames behind it in the same segment, and the events in them. */
  readonly framesBehind: number;
  readonly eventsBehind: number;
}

export interface JournalReport {
  readonly journal: string;
  readonly folder: string;
  readonly retired: boolean;
  readonly segments: number;
  readonly frames: number;
  /** Events in intact frames before the first damage, and the sequence numbers they span. */
  readonly events: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly idColumns: number;
  /** Segments first, in their order; then id columns. */
  readonly damage: readonly Damage[];
}

/** Reads every byte of a journal and changes nothing. Throws `JournalRefusal` (`newer_format`). */
export function inspectJournal(disk: Disk, { journal, folder, worker }: JournalFolder): JournalReport {
  const names = disk.list(folder);
  const numbers = numbersOf(names, segmentOf);
  const columns = numbersOf(names, columnOf);
  const damage: Damage[] = [];
  let frames = 0;
  let events = 0;
  let firstSeq = 0;
  let lastSeq = 0;
  let oldestOpen: InspectedSegment | undefined;
  for (let at = 0; at < numbers.length; at++) {
    const segment = inspectSegment(disk, folder, numbers[at] as number, journal);
    if (segment.problem === 'newer') throw newerFormat(segment.file);
    const isBeforeDamage = damage.length === 0;
    const found = damageIn(segment, numbers[at + 1], disk, folder, journal);
    if (found !== undefined) damage.push(found);
    if (segment.header === undefined) continue;
    if (!columns.includes(segment.header.segment)) oldestOpen ??= segment;
    if (firstSeq === 0) firstSeq = segment.header.firstSeq;
    if (!isBeforeDamage) continue;
    frames += segment.frames.length;
    events += sumOfEvents(segment.frames);
    lastSeq = segment.header.firstSeq + sumOfEvents(segment.frames) - 1;
  }
  damage.push(...damageInColumns(disk, folder, columns, oldestOpen?.header?.firstSeq, journal));
  return {
    journal,
    folder,
    retired: worker === undefined,
    segments: numbers.length,
    frames,
    events,
    firstSeq,
    lastSeq,
    idColumns: columns.length,
    damage,
  };
}

function damageIn(
  segment: InspectedSegment,
  following: number | undefined,
  disk: Disk,
  folder: string,
  journal: string,
): Damage | undefined {
  const { file, header, problem, frames, behind, endOffset } = segment;
  const after = { framesBehind: behind.length, eventsBehind: sumOfEvents(behind) };
  if (header === undefined) return { file, offset: 0, what: problem, ...after };
  const nextFrame = header.firstFrame + frames.length;
  if (behind.length > 0) return { file, offset: endOffset, what: `frame ${nextFrame} cannot be read`, ...after };
  if (following === undefined) return undefined;
  const next = inspectSegment(disk, folder, following, journal, 'header').header;
  if (next === undefined || next.firstFrame === nextFrame) return undefined;
  const what = `frame ${nextFrame} cannot be read, but segment ${following} begins with frame ${next.firstFrame}`;
  return { file, offset: endOffset, what, ...after };
}

/** Columns stand in front of the first segment that has none, without a gap (recovery.ts says when one is allowed). */
function damageInColumns(
  disk: Disk,
  folder: string,
  numbers: readonly number[],
  endSeq: number | undefined,
  journal: string,
): Damage[] {
  const found: Damage[] = [];
  let next: { readonly segment: number; readonly firstSeq: number } | undefined;
  for (const number of numbers.toReversed()) {
    const file = `${folder}/${columnName(number)}`;
    const report = (what: string): void =>
      void found.unshift({ file, offset: 0, what, framesBehind: 0, eventsBehind: 0 });
    const column = readColumn(disk, file);
    if (column === undefined || column.journal !== journal || column.segment !== number) {
      report('the id column cannot be read');
      return found;
    }
    const lastSeq = column.firstSeq + column.ids.byteLength / 16 - 1;
    const end = next?.firstSeq ?? endSeq;
    if (end !== undefined && lastSeq + 1 !== end) {
      if (next === undefined || number !== next.segment - 1)
        report(`the ids ${lastSeq + 1} to ${end - 1} behind it are missing`);
      return found;
    }
    next = column;
  }
  return found;
}

/** The rows (JSONEachRow text) of every intact frame that stands behind the first damage, segment by segment. */
export function* rowsBehindDamage(disk: Disk, report: JournalReport): Generator<Uint8Array> {
  const first = report.damage.find(isInSegment);
  if (first === undefined) return;
  for (const number of numbersOf(disk.list(report.folder), segmentOf)) {
    const segment = inspectSegment(disk, report.folder, number, report.journal);
    if (segment.file < first.file) continue;
    const wanted = segment.file === first.file ? segment.behind : [...segment.frames, ...segment.behind];
    yield* readFrames(disk, segment, wanted);
  }
}

/**
 * Cuts the journal at its first damage and retires it: what stands before the damage is kept and delivered, the files
 * from the damage on are moved to `setAside`, and the next start begins a new journal with a new id. Call it only
 * after the rows behind the damage were saved elsewhere. Interrupted, it may be called again with a new report.
 */
export function cutJournal(disk: Disk, report: JournalReport, root: string, setAside: string): void {
  disk.makeFolder(setAside);
  // First of all: sequence numbers that are cut off must never be given to other events.
  const folder = retireJournal(disk, report, root);
  const aside = (name: string): string => freePath(disk, `${setAside}/${name}`);
  const first = report.damage.find(isInSegment);
  const names = disk.list(folder);
  let kept = 0;
  for (const number of numbersOf(names, segmentOf)) {
    const name = segmentName(number);
    const firstName = first === undefined ? undefined : basename(first.file);
    if (first === undefined || firstName === undefined || name < firstName) kept += 1;
    else if (name === firstName && first.offset >= SEGMENT_HEADER_BYTES) {
      copyThenCut(disk, `${folder}/${name}`, aside(name), first.offset);
      kept += 1;
    } else disk.rename(`${folder}/${name}`, aside(name));
  }
  // Ids in front of a gap count for nothing; without a segment behind them nobody could tell where they end.
  const lastBad = Math.max(0, ...report.damage.map(({ file }) => columnOf(basename(file)) ?? 0));
  for (const number of numbersOf(names, columnOf))
    if (kept === 0 || number <= lastBad) disk.rename(`${folder}/${columnName(number)}`, aside(columnName(number)));
  disk.syncFolder(setAside);
  disk.syncFolder(folder);
}

/**
 * The next start begins a new journal with a new id, as it must after a restore from a backup; this one is delivered to
 * its end. Returns its folder from now on.
 */
export function retireJournal(disk: Disk, report: Pick<JournalReport, 'journal' | 'folder'>, root: string): string {
  const folder = `${root}/${retiredFolderName(report.journal)}`;
  if (folder !== report.folder) disk.rename(report.folder, folder);
  disk.syncFolder(root);
  return folder;
}

/** Keeps a copy of the whole segment, then makes it end before the damage. */
function copyThenCut(disk: Disk, file: string, copy: string, offset: number): void {
  const size = disk.size(file);
  const from = disk.open(file, 'write');
  const to = disk.open(copy, 'create');
  const bytes = new Uint8Array(1 << 20);
  for (let at = 0; at < size; at += bytes.byteLength) {
    const count = disk.read(from, bytes, 0, Math.min(bytes.byteLength, size - at), at);
    disk.write(to, bytes.subarray(0, count), at);
  }
  disk.sync(to);
  disk.close(to);
  bytes.fill(0);
  for (let at = offset; at < size; at += bytes.byteLength)
    disk.write(from, bytes.subarray(0, Math.min(bytes.byteLength, size - at)), at);
  disk.sync(from);
  disk.close(from);
}

/** What an earlier attempt set aside stays. */
function freePath(disk: Disk, path: string): string {
  for (let more = 2, free = path; ; more++, free = `${path}.${more}`) if (!disk.exists(free)) return free;
}

const isInSegment = ({ file }: Damage): boolean => segmentOf(basename(file)) !== undefined;

function numbersOf(names: readonly string[], numberOf: (name: string) => number | undefined): number[] {
  return names
    .map(numberOf)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);
}
