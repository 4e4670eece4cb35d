/** Names of folders and files. A data folder holds `journals/`, and in it one folder per journal. */
import { join } from 'node:path';

/** `w<worker>-<uuid>`: the journal that accept process number `worker` appends to. `retired-<uuid>`: read only. */
const JOURNAL = /^(?:w(\d+)|retired)-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;
const SEGMENT = /^(\d{12})\.segment$/;
const COLUMN = /^(\d{12})\.ids$/;
const SPARE = /^spare-(\d{12})$/;

export interface JournalFolder {
  readonly journal: string;
  readonly folder: string;
  /** The accept process that owns it; undefined for a retired journal, which nobody appends to any more. */
  readonly worker: number | undefined;
}

const padded = (number: number): string => String(number).padStart(12, '0');

export const segmentName = (segment: number): string => `${padded(segment)}.segment`;
export const columnName = (segment: number): string => `${padded(segment)}.ids`;
export const spareName = (number: number): string => `spare-${padded(number)}`;
/** A file under construction: removed at the next start. */
export const temporaryName = (name: string): string => `${name}.part`;
export const isTemporary = (name: string): boolean => name.endsWith('.part');

const numberBy =
  (pattern: RegExp) =>
  (name: string): number | undefined => {
    const found = pattern.exec(name)?.[1];
    return found === undefined ? undefined : Number(found);
  };
export const segmentOf = numberBy(SEGMENT);
export const columnOf = numberBy(COLUMN);
export const spareOf = numberBy(SPARE);

export const journalsFolder = (dataFolder: string): string => join(dataFolder, 'journals');
export const activeFolderName = (worker: number, journal: string): string => `w${worker}-${journal}`;
export const retiredFolderName = (journal: string): string => `retired-${journal}`;
/** A journal that is being removed: no longer one, so that a crash in the middle leaves none that looks damaged. */
export const removedFolderName = (journal: string): string => temporaryName(`removed-${journal}`);

/** The journals among the names in a `journals/` folder, in a stable order. */
export function journalFolders(root: string, names: readonly string[]): JournalFolder[] {
  const found: JournalFolder[] = [];
  for (const name of names.toSorted()) {
    const match = JOURNAL.exec(name);
    if (match?.[2] === undefined) continue;
    const worker = match[1] === undefined ? undefined : Number(match[1]);
    found.push({ journal: match[2], folder: join(root, name), worker });
  }
  return found;
}
