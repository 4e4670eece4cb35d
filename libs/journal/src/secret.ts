/** The data folder's random secret, with which ids are hashed: nobody outside can make two ids collide. */
import { randomBytes } from 'node:crypto';
import type { Disk } from './disk.ts';
import { JournalRefusal } from './errors.ts';
import { temporaryName } from './names.ts';

const SECRET_BYTES = 32;

/** Reads `<dataFolder>/secret`, or makes it where no journal exists yet. */
export function loadSecret(disk: Disk, dataFolder: string, journalsExist: boolean): Uint8Array {
  const path = `${dataFolder}/secret`;
  if (disk.list(dataFolder).includes('secret')) {
    const secret = new Uint8Array(SECRET_BYTES);
    const fd = disk.open(path, 'read');
    const count = disk.read(fd, secret, 0, SECRET_BYTES, 0);
    disk.close(fd);
    if (count !== SECRET_BYTES) throw refusal(path, `is ${count} bytes long instead of ${SECRET_BYTES}`);
    return secret;
  }
  if (journalsExist) throw refusal(path, 'is missing, but there are journals that were written with it');
  const secret = randomBytes(SECRET_BYTES);
  const part = temporaryName(path);
  if (disk.list(dataFolder).includes('secret.part')) disk.remove(part);
  const fd = disk.open(part, 'create');
  disk.write(fd, secret, 0);
  disk.sync(fd);
  disk.close(fd);
  disk.rename(part, path);
  disk.syncFolder(dataFolder);
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
