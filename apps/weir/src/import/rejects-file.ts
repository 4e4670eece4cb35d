/** Rejected rows with their reasons, one JSON object a line. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { CommandError, EXIT_CODE, reasonOf } from '../exit-code.ts';
import type { RejectedRow } from './sender.ts';

export interface RejectsFile {
  write(rows: readonly RejectedRow[]): void;
  close(): void;
}

/** Each line: `number` (line or element), `code`, `field`, `message`, `row` (as it was read). */
export function openRejectsFile(path: string): RejectsFile {
  const attempt = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      const message = `The rejected rows cannot be written to ${path}: ${reasonOf(error)}.`;
      throw new CommandError(EXIT_CODE.failed, 'unwritable_rejects', message);
    }
  };
  const file = attempt(() => openSync(path, 'w'));
  return {
    write(rows) {
      const lines = rows.map(({ number, raw, rejection }) => JSON.stringify({ number, ...rejection, row: raw }));
      attempt(() => writeAll(file, Buffer.from(`${lines.join('\n')}\n`)));
    },
    close: () => closeSync(file),
  };
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
