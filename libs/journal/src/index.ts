export type { Durable } from './commit.ts';
export type { IdHash } from './dedupe-index.ts';
export { createDisk, type Disk } from './disk.ts';
export {
  cutJournal,
  type Damage,
  inspectJournal,
  type JournalReport,
  retireJournal,
  rowsBehindDamage,
} from './doctor.ts';
export { JournalGapError, JournalRefusal } from './errors.ts';
export { ID_BYTES } from './format.ts';
export { type Journal, type JournalLimits, type JournalOptions, openJournal } from './journal.ts';
export type { JournalFolder } from './names.ts';
export { type FrameView, type JournalReader, listJournals, openJournalReader } from './reader.ts';
export type { JournalState } from './state.ts';
