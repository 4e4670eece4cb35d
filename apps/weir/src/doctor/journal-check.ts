/** What the journals of a data folder look like, and what can be done about a damaged one. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createDisk, inspectJournal, type JournalFolder, type JournalReport, listJournals } from '@libs/journal';
import { acquireLock, type Lock, LockedError, Refusal } from '@libs/runtime';
import { reasonOf } from '../exit-code.ts';
import { formatCount } from '../terminal.ts';
import type { Finding } from './finding.ts';

/** Reads every byte of every journal that nobody writes to; changes nothing. */
export async function checkJournals(dataDir: string): Promise<readonly Finding[]> {
  const disk = createDisk();
  try {
    const journals = listJournals(disk, dataDir);
    if (journals.length === 0) return [finding('journals', 'info', 'none yet')];
    const findings: Finding[] = [];
    for (const journal of journals) {
      const held = await holdJournal(dataDir, journal);
      if (held instanceof LockedError) {
        findings.push(finding(journal.journal, 'info', 'in use by the running service, so it is not inspected'));
        continue;
      }
      try {
        findings.push(...describeReport(inspectJournal(disk, journal)));
      } finally {
        held.release();
      }
    }
    return findings;
  } catch (error) {
    // What the file system says has a code; anything else is a bug of ours.
    if (!(error instanceof Refusal) && !(error instanceof Error && 'code' in error)) throw error;
    return [finding('journals', 'failure', `cannot be read: ${reasonOf(error)}`)];
  }
}

/**
 * Keeps the service from starting on this journal, or says that somebody has it. A retired journal is looked after by
 * the first worker. Throws `Refusal` when the folder cannot be locked at all.
 */
export async function holdJournal(dataDir: string, { worker }: JournalFolder): Promise<Lock | LockedError> {
  const files = [join(dataDir, 'journals', `w${worker ?? 0}.lock`), join(dataDir, 'deliver', 'lock')];
  const locks: Lock[] = [];
  const release = () => {
    for (const lock of locks) lock.release();
  };
  try {
    for (const file of files.filter((path) => existsSync(dirname(path)))) {
      locks.push(await acquireLock(file, { waitMs: 0, label: 'The journal' }));
    }
    return { release };
  } catch (error) {
    release();
    if (error instanceof LockedError) return error;
    throw error;
  }
}

function describeReport(report: JournalReport): Finding[] {
  const { journal, events, firstSeq, lastSeq, segments, idColumns, retired, damage } = report;
  const span = events > 0 ? ` (${firstSeq} to ${lastSeq})` : '';
  const parts = [
    `${formatCount(events)} events${span}`,
    `${segments} segments`,
    `${idColumns} id columns`,
    ...(retired ? ['retired: only delivered'] : []),
  ];
  if (damage.length === 0) return [finding(journal, 'ok', parts.join(', '))];
  return [
    finding(journal, 'info', `${parts.join(', ')}, before the damage`),
    ...damage.map(({ file, offset, what, framesBehind, eventsBehind }): Finding => {
      const behind = `${formatCount(eventsBehind)} events in ${formatCount(framesBehind)} intact frames behind it`;
      return finding(journal, 'failure', `${file}, byte ${offset}: ${what}; ${behind}`);
    }),
    { ...finding(journal, 'failure', 'it is damaged, and the service will not start on it'), remedy: choices(journal) },
  ];
}

function choices(journal: string): string {
  return [
    'Restore the data folder from a backup; or keep what can be read:',
    `weir doctor --cut ${journal} --save events.ndjson`,
    'saves the readable events behind the damage, sets the damaged files aside, and lets the service deliver what stands',
    'before it; then start the service and run: weir import events.ndjson',
  ].join(' ');
}

function finding(name: string, state: Finding['state'], message: string): Finding {
  return { area: 'journal', name, state, message };
}
