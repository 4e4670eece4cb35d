/** Limits of the machine that a busy service meets. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { formatBytes, formatCount } from '../terminal.ts';
import type { Finding, FindingState } from './finding.ts';

/** One descriptor a connection, and a few hundred for files. */
const DESCRIPTORS_LOW = 4_096;
const MEMORY_LOW_BYTES = 1024 ** 3;

export interface LimitSources {
  /** The text of a file under /proc, or undefined where there is none. */
  readonly read: (path: string) => Promise<string | undefined>;
  readonly bunVersion: string;
  /** The version this checkout is tested with; undefined when it cannot be told. */
  readonly bunPinned: string | undefined;
}

export async function checkLimits(sources: LimitSources): Promise<readonly Finding[]> {
  const findings = [checkBun(sources), await checkDescriptors(sources.read)];
  findings.push(
    await checkKernel(sources.read, 'vm.max_map_count', { least: 65_530, why: 'The engine maps many files' }),
  );
  findings.push(await checkKernel(sources.read, 'net.core.somaxconn', { least: 1_024, why: 'A burst of connections' }));
  findings.push(await checkOvercommit(sources.read));
  const memory = totalmem();
  const machine = `${availableParallelism()} cores, ${formatBytes(memory)} of memory`;
  findings.push(finding('machine', memory < MEMORY_LOW_BYTES ? 'warning' : 'info', machine));
  return findings.filter((one) => one !== undefined);
}

/** The files under /proc of this machine. */
export async function readProcFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // No /proc (macOS), or a setting this kernel does not have: the check is left out.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

function checkBun({ bunVersion, bunPinned }: LimitSources): Finding {
  if (bunPinned === undefined || bunPinned === bunVersion) return finding('Bun', 'ok', bunVersion);
  const remedy = `Start it by npm start or npm run weir, which use ${bunPinned}.`;
  return finding('Bun', 'warning', `${bunVersion}, but tested with ${bunPinned}`, remedy);
}

async function checkDescriptors(read: LimitSources['read']): Promise<Finding | undefined> {
  const limits = await read('/proc/self/limits');
  const match = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits ?? '');
  if (match === null) return undefined;
  const [, soft = '', hard = ''] = match;
  const amount = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  const message = `${soft} open files per process (at most ${hard})`;
  if (amount >= DESCRIPTORS_LOW) return finding('descriptors', 'ok', message);
  return finding('descriptors', 'warning', message, `Raise it: ulimit -n ${hard}, or LimitNOFILE= in a systemd unit.`);
}

async function checkKernel(
  read: LimitSources['read'],
  name: string,
  { least, why }: { readonly least: number; readonly why: string },
): Promise<Finding | undefined> {
  const text = await read(`/proc/sys/${name.replaceAll('.', '/')}`);
  if (text === undefined) return undefined;
  const value = Number(text);
  const message = `${name} = ${formatCount(value)}`;
  if (value >= least) return finding(name, 'ok', message);
  return finding(name, 'warning', message, `${why}: sysctl -w ${name}=${least}`);
}

async function checkOvercommit(read: LimitSources['read']): Promise<Finding | undefined> {
  const text = await read('/proc/sys/vm/overcommit_memory');
  if (text === undefined) return undefined;
  const name = 'vm.overcommit_memory';
  if (text.trim() !== '2') return finding(name, 'ok', `${name} = ${text.trim()}`);
  const remedy =
    'With 2 the kernel counts address space as memory, and engines reserve much: sysctl -w vm.overcommit_memory=0';
  return finding(name, 'warning', `${name} = 2`, remedy);
}

function finding(name: string, state: FindingState, message: string, remedy?: string): Finding {
  return { area: 'limits', name, state, message, ...(remedy === undefined ? {} : { remedy }) };
}
