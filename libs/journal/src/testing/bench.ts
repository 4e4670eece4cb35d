/** A small journal on any disk, for tests that look at single bytes or stand between it and the disk. */
import type { IdHash } from '../dedupe-index.ts';
import type { Disk } from '../disk.ts';
import type { ClockSources } from '../frame-clock.ts';
import { type Journal, type JournalLimits, type JournalOptions, openJournal } from '../journal.ts';
import { listJournals, openJournalReader } from '../reader.ts';
import { createVolatileDisk, type VolatileDisk } from './volatile-disk.ts';

export const DATA_FOLDER = '/data';
export const SEGMENT_BYTES = 64 * 1024;

const LIMITS: JournalLimits = {
  segmentBytes: SEGMENT_BYTES,
  bytesMax: 16 * SEGMENT_BYTES,
  diskReserveBytes: 0,
  windowMs: 3_600_000,
  idsMax: 1_000_000,
};

export interface Opened {
  readonly journal: Journal;
  readonly logged: string[];
  readonly failures: Error[];
}

/** Opens the journal of worker 0; `more` overrides any option, and any single limit. */
export function openOn(
  disk: Disk,
  more: Partial<Omit<JournalOptions, 'limits'>> & { readonly limits?: Partial<JournalLimits> } = {},
): Opened {
  const logged: string[] = [];
  const failures: Error[] = [];
  const journal = openJournal({
    disk,
    dataFolder: DATA_FOLDER,
    worker: 0,
    workers: 1,
    log: (message) => logged.push(message),
    onDurable: () => undefined,
    onFailed: (error) => failures.push(error),
    ...more,
    limits: { ...LIMITS, ...more.limits },
  });
  return { journal, logged, failures };
}

/** Opens journals as `openOn` does and remembers them; `closeAll` belongs into `afterEach`. */
export function createOpener() {
  const opened: Opened[] = [];
  return {
    open(...args: Parameters<typeof openOn>): Opened {
      const one = openOn(...args);
      opened.push(one);
      return one;
    },
    /** Not awaited: on a disk that is gone, no end ever comes. */
    closeAll(): void {
      for (const { journal } of opened.splice(0)) void journal.close().catch(() => false);
    },
  };
}

/** A disk in memory with an empty data folder. */
export function newDisk(): VolatileDisk {
  const disk = createVolatileDisk();
  disk.makeFolder(DATA_FOLDER);
  return disk;
}

/** Appends one frame of rows with these keys; resolves to whether it became durable. */
export function appendKeys(journal: Journal, keys: readonly string[], filler = ''): Promise<boolean> {
  const id: IdHash = new Uint32Array(4);
  let text = '';
  for (const key of keys) {
    journal.hash(key, id);
    const seq = journal.claim(id);
    text += `{"storeId":"s","eventType":"t","eventId":${JSON.stringify(key)},"filler":"${filler}","seq":${seq}}\n`;
  }
  return journal.append(text, keys.length);
}

export function knows(journal: Journal, key: string): boolean {
  const id: IdHash = new Uint32Array(4);
  journal.hash(key, id);
  return journal.find(id) !== 0 || journal.wasSeen(id);
}

/** Every row that a reader gets, as the keys in order. `durableSeq` as a nudge from accept. */
export function readKeys(disk: Disk, durableSeq: number, afterSeq = 0): string[] {
  const [folder] = listJournals(disk, DATA_FOLDER);
  if (folder === undefined) return [];
  const reader = openJournalReader(disk, folder);
  reader.noteDurable(durableSeq);
  const keys: string[] = [];
  for (let cursor = afterSeq; ; ) {
    const frames = reader.read(cursor, { rowsMax: 1_000, bytesMax: 1 << 20 });
    const last = frames.at(-1);
    if (last === undefined) break;
    cursor = last.lastSeq;
    for (const frame of frames)
      for (const line of new TextDecoder().decode(frame.payload).split('\n').slice(0, -1))
        keys.push((JSON.parse(line) as { eventId: string }).eventId);
  }
  reader.close();
  return keys;
}

export function journalFolder(disk: Disk): string {
  return (listJournals(disk, DATA_FOLDER)[0] as { folder: string }).folder;
}

/** Path of the newest segment. */
export function lastSegment(disk: Disk): string {
  const folder = journalFolder(disk);
  return `${folder}/${disk
    .list(folder)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .at(-1)}`;
}

/** Every sync seems to take 50 ms, so that after the first one they go to the thread pool. */
export function slowClock(): ClockSources {
  let nowMs = 0;
  return { wallMs: Date.now, monotonicMs: () => (nowMs += 50) };
}
