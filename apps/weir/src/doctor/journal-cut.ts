/** Cuts a damaged journal at its first damage, after what can be read behind it was saved. */
import { closeSync, existsSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openState, type State } from '@libs/delivery';
import {
  createDisk,
  cutJournal,
  type Disk,
  inspectJournal,
  type JournalReport,
  listJournals,
  retireJournal,
  rowsBehindDamage,
} from '@libs/journal';
import { LockedError } from '@libs/runtime';
import { CommandError, EXIT_CODE, reasonOf } from '../exit-code.ts';
import { holdJournal } from './journal-check.ts';

export interface CutResult {
  readonly journal: string;
  /** Events that were not delivered yet, written to the file as NDJSON that `weir import` takes. */
  readonly savedEvents: number;
  /** Where the damaged files are now. */
  readonly setAside: string;
}

/**
 * `savePath` must not exist yet. Throws `CommandError`: `no_such_journal`, `not_damaged`, `in_use`, `unwritable_save`;
 * nothing was cut then.
 */
export async function cutDamagedJournal(dataDir: string, journal: string, savePath: string): Promise<CutResult> {
  const disk = createDisk();
  const found = listJournals(disk, dataDir).find((one) => one.journal === journal);
  if (found === undefined) throw usage('no_such_journal', `There is no journal ${journal} in ${dataDir}.`);
  const held = await holdJournal(dataDir, found);
  if (held instanceof LockedError) throw new CommandError(EXIT_CODE.failed, 'in_use', 'Stop the service first.');
  try {
    const report = inspectJournal(disk, found);
    if (report.damage.length === 0) throw usage('not_damaged', `Journal ${journal} is not damaged: nothing was cut.`);
    const state = openDeliverState(dataDir);
    try {
      const savedEvents = saveRows(disk, report, deliveredSeq(state, journal), savePath);
      const setAside = join(dataDir, 'set-aside', journal);
      cutJournal(disk, report, join(dataDir, 'journals'), setAside);
      state?.endJournal(journal, Math.max(report.lastSeq, report.firstSeq - 1));
      return { journal, savedEvents, setAside };
    } finally {
      state?.close();
    }
  } finally {
    held.release();
  }
}

/**
 * After a restore: events that were accepted since the backup had positions which must not be given to others, so the
 * next start begins journals with new ids. Gives the ids of the retired ones. Throws `CommandError` `in_use`.
 */
export async function retireJournals(dataDir: string): Promise<readonly string[]> {
  const disk = createDisk();
  const retired: string[] = [];
  for (const found of listJournals(disk, dataDir)) {
    if (found.worker === undefined) continue;
    const held = await holdJournal(dataDir, found);
    if (held instanceof LockedError) throw new CommandError(EXIT_CODE.failed, 'in_use', 'Stop the service first.');
    retireJournal(disk, found, join(dataDir, 'journals'));
    held.release();
    retired.push(found.journal);
  }
  return retired;
}

/** Undefined where deliver has never run. */
function openDeliverState(dataDir: string): State | undefined {
  const file = join(dataDir, 'deliver', 'state.sqlite');
  return existsSync(file) ? openState(file) : undefined;
}

/** What every sink has of this journal: it need not be saved. */
function deliveredSeq(state: State | undefined, journal: string): number {
  const cursors = (state?.cursors() ?? []).filter((cursor) => cursor.journal === journal);
  return cursors.length === 0 ? 0 : Math.min(...cursors.map(({ seq }) => seq));
}

/** Writes the events behind the damage that were not delivered. */
function saveRows(disk: Disk, report: JournalReport, afterSeq: number, path: string): number {
  let events = 0;
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      for (const rows of rowsBehindDamage(disk, report)) {
        const lines = Buffer.from(rows)
          .toString('utf8')
          .split('\n')
          .filter((row) => row !== '' && seqOf(row) > afterSeq);
        const bytes = Buffer.from(lines.map((row) => `${eventOf(row)}\n`).join(''));
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
        events += lines.length;
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    throw new CommandError(
      EXIT_CODE.failed,
      'unwritable_save',
      `${path} cannot be written: ${reasonOf(error)}. Nothing was cut.`,
    );
  }
  return events;
}

function seqOf(row: string): number {
  return Number(/,"seq":(\d+)\}$/.exec(row)?.[1]);
}

// A row is the event and, behind it, what the server added; cutting text keeps every number as it was written.
const ADDED = /(?:,"sanitized":true)?,"receivedAt":"[^"]*","journal":"[^"]*","seq":\d+\}$/;

/** The event of a stored row, to be sent again. */
export function eventOf(row: string): string {
  return row.replace(ADDED, '}');
}

function usage(code: string, message: string): CommandError {
  return new CommandError(EXIT_CODE.usage, code, message);
}
