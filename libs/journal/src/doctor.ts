/** What can be said about a journal that refuses to open, and the ways out of it. Used while nothing else runs. */
import type { Disk } from './disk.ts';
import { type FrameHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';
import { readColumn } from './id-column.ts';
import { columnOf, type JournalFolder, retiredFolderName, segmentName, segmentOf } from './names.ts';
import { createFrameReader, findFramesBehind, readSegmentHeader, scanSegment } from './segment-scan.ts';

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
  readonly damage: readonly Damage[];
}

/** Reads every byte of a journal and changes nothing. */
export function inspectJournal(disk: Disk, { journal, folder, worker }: JournalFolder): JournalReport {
  const names = disk.list(folder);
  const damage: Damage[] = [];
  let frames = 0;
  let events = 0;
  let firstSeq = 0;
  let lastSeq = 0;
  let expected: { frame: number; seq: number } | undefined;
  const numbers = numbersOf(names, segmentOf);
  for (const number of numbers) {
    const file = `${folder}/${segmentName(number)}`;
    const segment = readSegment(disk, file);
    if (segment.header === undefined) {
      damage.push({ file, offset: 0, what: segment.what, framesBehind: 0, eventsBehind: 0 });
      expected = undefined;
      continue;
    }
    if (expected !== undefined && expected.frame !== segment.header.firstFrame && damage.length === 0)
      damage.push({
        file,
        offset: 0,
        what: `frame ${expected.frame} is missing before it`,
        framesBehind: 0,
        eventsBehind: 0,
      });
    // What stands before the first damage counts, in its segment too.
    const isBeforeDamage = damage.length === 0;
    if (segment.behind.length > 0)
      damage.push({
        file,
        offset: segment.endOffset,
        what: `frame ${segment.nextFrame} cannot be read`,
        framesBehind: segment.behind.length,
        eventsBehind: sum(segment.behind),
      });
    if (firstSeq === 0) firstSeq = segment.header.firstSeq;
    if (isBeforeDamage) {
      frames += segment.frames.length;
      events += sum(segment.frames);
      lastSeq = segment.header.firstSeq + sum(segment.frames) - 1;
    }
    expected = { frame: segment.nextFrame, seq: segment.header.firstSeq + sum(segment.frames) };
  }
  const columns = names.filter((name) => columnOf(name) !== undefined);
  for (const name of columns)
    if (readColumn(disk, `${folder}/${name}`) === undefined)
      damage.push({
        file: `${folder}/${name}`,
        offset: 0,
        what: 'the id column cannot be read',
        framesBehind: 0,
        eventsBehind: 0,
      });
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

/** The rows (JSONEachRow text) of every intact frame that stands behind the first damage, segment by segment. */
export function* rowsBehindDamage(disk: Disk, report: JournalReport): Generator<Uint8Array> {
  const first = report.damage.find((one) => one.file.endsWith('.segment'));
  if (first === undefined) return;
  for (const number of numbersOf(disk.list(report.folder), segmentOf)) {
    const file = `${report.folder}/${segmentName(number)}`;
    if (file < first.file) continue;
    const { header, frames, behind } = readSegment(disk, file);
    if (header === undefined) continue;
    const fd = disk.open(file, 'read');
    const frameAt = createFrameReader(disk, fd, disk.size(file), header.salt);
    const wanted = file === first.file ? behind : [...frames, ...behind];
    for (const { offset } of wanted) {
      const frame = frameAt(offset);
      if (frame !== undefined) yield frame.payload.slice();
    }
    disk.close(fd);
  }
}

/**
 * Cuts the journal at its first damage and retires it: what stands before the damage is kept and delivered, the files
 * from the damage on are moved to `setAside`, and the next start begins a new journal with a new id. Call it only
 * after the rows behind the damage were saved elsewhere.
 */
export function cutJournal(disk: Disk, report: JournalReport, root: string, setAside: string): void {
  disk.makeFolder(setAside);
  const first = report.damage[0];
  const names = disk.list(report.folder);
  for (const number of numbersOf(names, segmentOf)) {
    const file = `${report.folder}/${segmentName(number)}`;
    if (first === undefined || file < first.file) continue;
    if (file === first.file && first.offset > SEGMENT_HEADER_BYTES)
      copyThenCut(disk, file, `${setAside}/${segmentName(number)}`, first.offset);
    else disk.rename(file, `${setAside}/${segmentName(number)}`);
  }
  for (const { file } of report.damage.filter((one) => one.file.endsWith('.ids')))
    disk.rename(file, `${setAside}/${file.slice(file.lastIndexOf('/') + 1)}`);
  disk.syncFolder(setAside);
  disk.syncFolder(report.folder);
  retireJournal(disk, report, root);
}

/** The next start begins a new journal with a new id, as it must after a restore from a backup; this one is delivered to its end. */
export function retireJournal(disk: Disk, report: Pick<JournalReport, 'journal' | 'folder'>, root: string): void {
  disk.rename(report.folder, `${root}/${retiredFolderName(report.journal)}`);
  disk.syncFolder(root);
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

interface FramePlace {
  readonly offset: number;
  readonly count: number;
}

interface SegmentReport {
  readonly header: SegmentHeader | undefined;
  readonly what: string;
  readonly frames: readonly FramePlace[];
  readonly behind: readonly FramePlace[];
  readonly endOffset: number;
  readonly nextFrame: number;
}

function readSegment(disk: Disk, file: string): SegmentReport {
  const fd = disk.open(file, 'read');
  try {
    const header = readSegmentHeader(disk, fd);
    if (typeof header === 'string')
      return {
        header: undefined,
        what: `the header of the segment is ${header}`,
        frames: [],
        behind: [],
        endOffset: 0,
        nextFrame: 0,
      };
    const size = disk.size(file);
    const scan = scanSegment(disk, fd, size, header);
    const place = (offset: number, frame: FrameHeader): FramePlace => ({ offset, count: frame.count });
    const frames: FramePlace[] = [];
    for (let frame = scan.next(); frame !== undefined; frame = scan.next())
      frames.push(place(frame.offset, frame.header));
    const frameAt = createFrameReader(disk, fd, size, header.salt);
    const behind: FramePlace[] = [];
    for (const offset of findFramesBehind(disk, fd, size, header, scan.offset())) {
      const frame = frameAt(offset);
      if (frame !== undefined) behind.push(place(offset, frame.header));
    }
    return { header, what: '', frames, behind, endOffset: scan.offset(), nextFrame: header.firstFrame + frames.length };
  } finally {
    disk.close(fd);
  }
}

function numbersOf(names: readonly string[], numberOf: (name: string) => number | undefined): number[] {
  return names
    .map(numberOf)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);
}

function sum(frames: readonly FramePlace[]): number {
  return frames.reduce((total, frame) => total + frame.count, 0);
}
