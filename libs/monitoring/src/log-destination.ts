/** Where log lines go. */
import { writeSync } from 'node:fs';

export interface LogDestination {
  /** Takes one line with its line break. Never throws: a log that cannot be written must not stop what it reports on. */
  write(line: string): void;
}

/** User and password of a URL, as in `redis://user:pass@host`. */
const URL_CREDENTIALS = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"'\\]+@/gi;

/** stderr, synchronously. Lines that could not be written (a closed or full pipe) are counted, and the next one that can says so. */
export function stderrDestination(): LogDestination {
  return fileDescriptorDestination(2);
}

/** As `stderrDestination`, on any descriptor that is open for writing. */
export function fileDescriptorDestination(fd: number): LogDestination {
  let lost = 0;
  return {
    write(line) {
      const report = lost === 0 ? '' : `${JSON.stringify({ level: 'warn', lost, msg: 'log lines were lost' })}\n`;
      if (writeWhole(fd, Buffer.from(report + scrubUrls(line)))) lost = 0;
      else lost += 1;
    },
  };
}

/** Removes the credentials from every URL in the text. */
export function scrubUrls(text: string): string {
  return text.includes('://') ? text.replace(URL_CREDENTIALS, '$1[redacted]@') : text;
}

function writeWhole(fd: number, bytes: Uint8Array): boolean {
  let offset = 0;
  try {
    while (offset < bytes.length) offset += writeSync(fd, bytes, offset);
    return true;
  } catch {
    return false; // counted by the caller: EPIPE, EAGAIN, EIO and ENOSPC have no other remedy here
  }
}
