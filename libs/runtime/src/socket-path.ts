/** Where the Unix sockets of a data folder are. */
import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Refusal } from './refusal.ts';

/** `sun_path` holds 108 bytes on Linux and 104 on macOS and the BSDs, and ends with a NUL. */
const SOCKET_PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;

/**
 * The path for a socket of this folder: inside it, or, when that is too long for the kernel, in a private folder below the
 * system's temporary one that is named by the folder's real path. The same folder gives the same answer in every process.
 * Throws `Refusal` when that private folder is not ours alone.
 */
export function socketPath(folder: string, name: string): string {
  const inside = join(folder, name);
  if (fits(inside)) return inside;
  const uid = process.getuid?.() ?? 0;
  const hash = new Bun.CryptoHasher('sha256').update(realpathSync(folder)).digest('hex').slice(0, 16);
  const privateFolder = join(tmpdir(), `weir-${uid}-${hash}`);
  const elsewhere = join(privateFolder, name);
  if (!fits(elsewhere)) {
    throw new Refusal(
      `The paths ${inside} and ${elsewhere} are both too long for a socket: use a shorter data folder.`,
    );
  }
  mkdirSync(privateFolder, { recursive: true, mode: 0o700 });
  // Anybody may create names in a temporary folder: what stands there must be a real folder of our own, closed to others.
  const found = lstatSync(privateFolder);
  if (!found.isDirectory() || (found.mode & 0o077) !== 0 || (process.getuid !== undefined && found.uid !== uid)) {
    throw new Refusal(
      `${privateFolder} is not a private folder of this user: remove it, or use a shorter data folder.`,
    );
  }
  return elsewhere;
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX;
}
