/** What is read of a service every few seconds of the soak. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { descriptors, memoryByProcess } from './processes.ts';
import type { Weir } from './weir.ts';

export interface SoakProcess {
  readonly pid: number;
  readonly rssBytes: number;
  readonly pssBytes: number;
  readonly descriptors: number;
}

export interface SoakSample {
  /** Since the clients started. */
  readonly seconds: number;
  readonly processes: Readonly<Record<string, SoakProcess>>;
  /** Of accept's JavaScript heap, as it is used. */
  readonly heapBytes: number | null;
  /** Segments, spares and id columns. */
  readonly journalBytes: number;
  /** Everything in the data folder. */
  readonly dataBytes: number;
  readonly pendingEvents: number | null;
  readonly dedupeIds: number | null;
}

const HEAP = /^nodejs_heap_size_used_bytes(?:\{[^}]*\})? (\S+)$/m;
const TIMEOUT_MS = 10_000;

export async function sampleOf(service: Weir, seconds: number): Promise<SoakSample> {
  const known = service.processes();
  const memory = memoryByProcess(known);
  const processes = known.flatMap(({ name, pid }) => {
    const [read, open] = [memory[name], descriptors(pid)];
    return read === undefined || open === undefined ? [] : [[name, { pid, ...read, descriptors: open }] as const];
  });
  const health = await service.health();
  return {
    seconds,
    processes: Object.fromEntries(processes),
    heapBytes: await heapBytes(service),
    journalBytes: folderBytes(join(service.dataFolder, 'journals')),
    dataBytes: folderBytes(service.dataFolder),
    pendingEvents: health?.services?.journal?.pendingEvents ?? null,
    dedupeIds: health?.dedupe?.ids ?? null,
  };
}

/** Null when it is not told in time: one reading less is no reason to end a soak. */
async function heapBytes({ url }: Weir): Promise<number | null> {
  let text: string;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' }, signal });
    text = await response.text();
  } catch {
    return null;
  }
  const value = HEAP.exec(text)?.[1];
  return value === undefined ? null : Number(value);
}

/** As the file system counts a folder's files; some are renamed or removed while this looks. */
export function folderBytes(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}
