/**
 * Loaded before the service's own code: stands between accept and the disk's sync. The file named by
 * INTEGRITY_SYNC_FAULT says what happens to the next sync:
 *   (missing or empty)  nothing
 *   slow                it takes 15 ms longer, so that the journal moves its syncs to the thread pool
 *   hang                one in the pool does not return before the file says something else
 *   eio                 it fails with EIO, as a dying disk lets it
 * INTEGRITY_SYNC_WORKER: only in the accept process of this number; without it, in all of them.
 */
import fs from 'node:fs';

const SLOW_MS = 15;
const POLL_MS = 5;

const file = process.env['INTEGRITY_SYNC_FAULT'];
const worker = process.env['INTEGRITY_SYNC_WORKER'];
// `main.ts accept SETTINGS WORKER`
const [role, , number = '0'] = process.argv.slice(2);
if (file !== undefined && role === 'accept' && (worker === undefined || worker === number)) install(file);

function install(switchFile: string): void {
  const { fdatasyncSync, fdatasync } = fs;

  function mode(): string {
    return fs.existsSync(switchFile) ? fs.readFileSync(switchFile, 'utf8') : '';
  }

  fs.fdatasyncSync = (fd) => {
    const fault = mode();
    if (fault === 'slow') Bun.sleepSync(SLOW_MS);
    if (fault === 'eio') throw ioError();
    fdatasyncSync(fd);
  };

  const later = ((fd: number, done: (error: Error | null) => void): void => {
    const fault = mode();
    if (fault === 'eio') setTimeout(() => done(ioError()), SLOW_MS);
    else if (fault === 'slow') setTimeout(() => fdatasync(fd, done), SLOW_MS);
    else if (fault === 'hang') setTimeout(() => later(fd, done), POLL_MS);
    else fdatasync(fd, done);
  }) as typeof fs.fdatasync;
  fs.fdatasync = later;
}

function ioError(): Error {
  return Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO', syscall: 'fdatasync' });
}
