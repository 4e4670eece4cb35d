/** The data folder: whether it is there, can be written, has room, and lies where files survive. */
import { constants, type StatsFs } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { reasonOf } from '../exit-code.ts';
import { formatBytes } from '../terminal.ts';
import type { Finding, FindingState } from './finding.ts';

/** Magic numbers of statfs(2) on Linux. */
const FILE_SYSTEMS: Readonly<Record<number, readonly [name: string, state: FindingState, remedy?: string]>> = {
  61267: ['ext4', 'ok'],
  1481003842: ['XFS', 'ok'],
  2435016766: ['Btrfs', 'ok'],
  801189825: ['ZFS', 'ok'],
  16914836: ['tmpfs', 'failure', 'It lives in memory: everything is lost with a reboot. Choose a folder on a disk.'],
  2240043254: ['ramfs', 'failure', 'It lives in memory: everything is lost with a reboot. Choose a folder on a disk.'],
  2035054128: ['overlayfs', 'warning', 'A container layer is lost with its container: mount a volume at the folder.'],
  26985: ['NFS', 'warning', 'Syncs and locks depend on its server: a local disk is safer and faster.'],
  1702057286: ['FUSE', 'warning', 'Syncs and locks depend on what is behind it: a local disk is safer and faster.'],
  16914839: ['9P', 'warning', 'Syncs and locks depend on what is behind it: a local disk is safer and faster.'],
  4266872130: ['SMB', 'warning', 'Syncs and locks depend on its server: a local disk is safer and faster.'],
};

/** Below this much room the service is close to refusing events. */
const FREE_BYTES_LOW = 2 * 1024 ** 3;

export async function checkFolder(dataDir: string): Promise<readonly Finding[]> {
  const folder = resolve(dataDir);
  const info = await stat(folder).catch((error: NodeJS.ErrnoException) => error);
  if (info instanceof Error) {
    if (info.code !== 'ENOENT') return [failure('exists', `${folder}: ${info.message}`, 'Choose another folder.')];
    const parent = await nearestFolder(folder);
    return [finding('exists', 'info', `${folder} does not exist yet`), ...(await checkPlace(parent))];
  }
  if (!info.isDirectory()) return [failure('exists', `${folder} is no folder`, 'Set WEIR_DATA_DIR to a folder.')];
  return [finding('exists', 'ok', folder), ...(await checkPlace(folder))];
}

async function nearestFolder(folder: string): Promise<string> {
  const parent = dirname(folder);
  if (parent === folder) return folder;
  const exists = await stat(parent).then(
    () => true,
    () => false,
  );
  return exists ? parent : nearestFolder(parent);
}

async function checkPlace(folder: string): Promise<readonly Finding[]> {
  const findings = [await checkWritable(folder)];
  const space = await statfs(folder).catch((error: unknown) => reasonOf(error));
  if (typeof space === 'string') return [...findings, finding('space', 'warning', `cannot be read: ${space}`)];
  return [...findings, checkSpace(space), checkFileSystem(space, process.platform)];
}

async function checkWritable(folder: string): Promise<Finding> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return finding('writable', 'ok', `${folder} can be written`);
  } catch (error) {
    return failure('writable', reasonOf(error), `Give the user of the service the right to write in ${folder}.`);
  }
}

export function checkSpace({ bavail, bsize, blocks, ffree, files }: StatsFs): Finding {
  const freeBytes = bavail * bsize;
  const message = `${formatBytes(freeBytes)} of ${formatBytes(blocks * bsize)} free`;
  if (files > 0 && ffree < 1000) {
    return failure(
      'space',
      `${message}, but only ${ffree} files more can be made`,
      'Make room: the inodes are used up.',
    );
  }
  if (freeBytes >= FREE_BYTES_LOW) return finding('space', 'ok', message);
  return finding('space', 'warning', message, 'Make room: near its reserve the service refuses events with 503.');
}

export function checkFileSystem({ type }: Pick<StatsFs, 'type'>, platform: NodeJS.Platform): Finding {
  if (platform !== 'linux') return finding('file system', 'info', `type ${type}`);
  const [name, state, remedy] = FILE_SYSTEMS[type >>> 0] ?? [`type 0x${(type >>> 0).toString(16)}`, 'info' as const];
  return finding('file system', state, name, remedy);
}

function finding(name: string, state: FindingState, message: string, remedy?: string): Finding {
  return { area: 'folder', name, state, message, ...(remedy === undefined ? {} : { remedy }) };
}

function failure(name: string, message: string, remedy: string): Finding {
  return finding(name, 'failure', message, remedy);
}
