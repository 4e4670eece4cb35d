/** A small journal on a disk in memory, for tests that look at single bytes. */
import {
  type IdHash,
  type Journal,
  type JournalOptions,
  listJournals,
  openJournal,
  openJournalReader,
} from '@libs/journal';
import type { VolatileDisk } from '@libs/journal/testing';

export const DATA_FOLDER = '/data';
export const SEGMENT_BYTES = 64 * 1024;

export interface Opened {
  readonly journal: Journal;
  readonly logged: string[];
  readonly failures: Error[];
}

/** Opens the journal of worker 0; `more` overrides any option. */
export function open(disk: VolatileDisk, more: Partial<JournalOptions> = {}): Opened {
  const logged: string[] = [];
  const failures: Error[] = [];
  const journal = openJournal({
    disk,
    dataFolder: DATA_FOLDER,
    worker: 0,
    workers: 1,
    limits: {
      segmentBytes: SEGMENT_BYTES,
      bytesMax: 16 * SEGMENT_BYTES,
      diskReserveBytes: 0,
      windowMs: 3_600_000,
      idsMax: 1_000_000,
    },
    log: (message) => logged.push(message),
    onDurable: () => undefined,
    onFailed: (error) => failures.push(error),
    ...more,
  });
  return { journal, logged, failures };
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
export function readKeys(disk: VolatileDisk, durableSeq: number, afterSeq = 0): string[] {
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

export function journalFolder(disk: VolatileDisk): string {
  return (listJournals(disk, DATA_FOLDER)[0] as { folder: string }).folder;
}

/** Path of the newest segment. */
export function lastSegment(disk: VolatileDisk): string {
  const folder = journalFolder(disk);
  return `${folder}/${disk
    .list(folder)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .at(-1)}`;
}
