/** What Linux says of processes and of the machine, read from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

export interface NamedProcess {
  readonly name: string;
  readonly pid: number;
}

/** Ticks of /proc a second: fixed by the kernel's interface to programs, whatever its own timer does. */
const TICKS_PER_SECOND = 100;

/** User and system time of all threads, in seconds (steps of 10 ms); undefined when there is no such process. */
export function cpuSeconds(pid: number): number | undefined {
  return readStat(`/proc/${pid}/stat`)?.seconds;
}

export interface Thread {
  readonly id: number;
  /** At most 15 characters. */
  readonly name: string;
  readonly seconds: number;
}

/** CPU time of each thread that the process has now; the main thread's id is the process's. */
export function threadSeconds(pid: number): Thread[] | undefined {
  let ids: string[];
  try {
    ids = readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  return ids.flatMap((id) => {
    const stat = readStat(`/proc/${pid}/task/${id}/stat`);
    return stat === undefined ? [] : [{ id: Number(id), ...stat }];
  });
}

function readStat(path: string): { readonly name: string; readonly seconds: number } | undefined {
  const stat = readProc(path);
  if (stat === undefined) return undefined;
  // The second field is the program's name in brackets, and may hold blanks and brackets itself.
  const nameEnd = stat.lastIndexOf(')');
  const fields = stat.slice(nameEnd + 2).split(' ');
  const seconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  return { name: stat.slice(stat.indexOf('(') + 1, nameEnd), seconds };
}

export interface Memory {
  readonly rssBytes: number;
  /** Like RSS, but a page shared by n processes counts 1/n: the sum over processes is what they really take. */
  readonly pssBytes: number;
}

function memoryOf(pid: number): Memory | undefined {
  const text = readProc(`/proc/${pid}/smaps_rollup`);
  if (text === undefined) return undefined;
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) * 1024;
  return { rssBytes: bytes('Rss'), pssBytes: bytes('Pss') };
}

/** The most that it ever had. */
export function peakRssBytes(pid: number): number | undefined {
  const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(readProc(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** Open files, sockets and the like; undefined when there is no such process. */
export function descriptors(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

export type MemoryByProcess = Readonly<Record<string, Memory>>;

/** A process that is gone is missing. */
export function memoryByProcess(processes: readonly NamedProcess[]): MemoryByProcess {
  return Object.fromEntries(
    processes.flatMap(({ name, pid }) => {
      const memory = memoryOf(pid);
      return memory === undefined ? [] : [[name, memory] as const];
    }),
  );
}

/** Seconds that all processors together have spent since boot. */
export interface MachineTimes {
  readonly busy: number;
  readonly idle: number;
  /** Time in which this machine wanted to run and the host ran somebody else. */
  readonly steal: number;
}

function machineTimes(): MachineTimes {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] as string;
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  return { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal };
}

/** A moment: CPU seconds of some processes and of the machine. */
export interface CpuReading {
  readonly atMs: number;
  readonly cpuSeconds: Readonly<Record<string, number | undefined>>;
  readonly machine: MachineTimes;
}

export function readCpu(processes: readonly NamedProcess[]): CpuReading {
  const read = processes.map(({ name, pid }) => [name, cpuSeconds(pid)] as const);
  return { atMs: performance.now(), cpuSeconds: Object.fromEntries(read), machine: machineTimes() };
}

export interface CpuUse {
  readonly seconds: number;
  /** CPU seconds by process. A process that was not there at both ends is missing. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Fractions of what all processors could have done. */
  readonly stealFraction: number;
  readonly busyFraction: number;
  /** Processors' worth of time that everybody but the watched processes took: the kernel's own work and neighbours. */
  readonly otherCores: number;
}

export function cpuBetween(before: CpuReading, after: CpuReading): CpuUse {
  const used: Record<string, number> = {};
  for (const [name, end] of Object.entries(after.cpuSeconds)) {
    const start = before.cpuSeconds[name];
    if (start !== undefined && end !== undefined) used[name] = end - start;
  }
  const busy = after.machine.busy - before.machine.busy;
  const steal = after.machine.steal - before.machine.steal;
  const all = busy + steal + after.machine.idle - before.machine.idle;
  const seconds = (after.atMs - before.atMs) / 1000;
  const watched = Object.values(used).reduce((sum, one) => sum + one, 0);
  return {
    seconds,
    cpuSeconds: used,
    stealFraction: all > 0 ? steal / all : 0,
    busyFraction: all > 0 ? busy / all : 0,
    otherCores: Math.max(0, busy - watched) / seconds,
  };
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** A process may end between any two looks at it. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ESRCH';
}
