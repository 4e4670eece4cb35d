/** The data folder's random secret, with which ids are hashed: nobody outside can make two ids collide. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Disk } from './disk.ts';
import { JournalRefusal } from './errors.ts';
import { temporaryName } from './names.ts';

const SECRET_BYTES = 32;

/** Reads `<dataFolder>/secret`, or makes it where no journal exists yet. */
export function loadSecret(disk: Disk, dataFolder: string, journalsExist: boolean): Uint8Array {
  const path = `${dataFolder}/secret`;
  if (disk.exists(path)) return readSecret(disk, path);
  if (journalsExist) throw refusal(path, 'is missing, but there are journals that were written with it');
  const secret = randomBytes(SECRET_BYTES);
  const part = temporaryName(`${path}-${randomUUID()}`);
  const fd = disk.open(part, 'create');
  disk.write(fd, secret, 0);
  disk.sync(fd);
  disk.close(fd);
  // Workers that start for the first time do so at once: a link never replaces the one that another of them has made.
  const isOurs = disk.link(part, path);
  disk.remove(part);
  disk.syncFolder(dataFolder);
  return isOurs ? secret : readSecret(disk, path);
}

function readSecret(disk: Disk, path: string): Uint8Array {
  const secret = new Uint8Array(SECRET_BYTES);
  const fd = disk.open(path, 'read');
  const count = disk.read(fd, secret, 0, SECRET_BYTES, 0);
  disk.close(fd);
  if (count !== SECRET_BYTES) throw refusal(path, `is ${count} bytes long instead of ${SECRET_BYTES}`);
  return secret;
}

function refusal(path: string, what: string): JournalRefusal {
  return new JournalRefusal(
    'secret_missing',
    path,
    undefined,
    `${path} ${what}: put the file back from a backup, or start with an empty data folder.`,
  );
}
