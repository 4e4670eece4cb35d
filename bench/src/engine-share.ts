/**
 * How much of a process is the embedded engine. The engine works on threads of its own (its pools, which it names, and which come
 * and go) and, for the query itself, on Bun's thread pool. Everything else is the runtime's: the main thread with our JavaScript,
 * and the threads that collect garbage and compile. So: the engine's share is the CPU time of the whole process less that of the
 * runtime's threads, both from /proc. In a deliver without an embedded engine the same subtraction must give next to nothing:
 * the part `servers` shows it.
 */
import { cpuSeconds, threadSeconds } from './processes.ts';

/** As Bun 1.4 names them (the kernel keeps 15 characters). Its pool ("Bun Pool 0") is not among them. */
const RUNTIME_THREADS = ['HeapHelper', 'JITWorker', 'JSCWarmUp', 'ollector Thread', 'mi-scavenger', 'HTTP Client'];

export interface ThreadReading {
  readonly allSeconds: number;
  /** By thread id. */
  readonly runtimeSeconds: ReadonlyMap<number, number>;
}

/** Undefined when there is no such process. */
export function readThreads(pid: number): ThreadReading | undefined {
  const allSeconds = cpuSeconds(pid);
  const threads = threadSeconds(pid);
  if (allSeconds === undefined || threads === undefined) return undefined;
  const runtime = threads.filter(({ id, name }) => id === pid || RUNTIME_THREADS.includes(name));
  return { allSeconds, runtimeSeconds: new Map(runtime.map(({ id, seconds }) => [id, seconds])) };
}

/** CPU seconds of the engine between two readings of one process. */
export function engineSeconds(before: ThreadReading, after: ThreadReading): number {
  // A thread that is gone had been idle for long: what it did between the readings is nothing.
  let runtime = 0;
  for (const [id, seconds] of after.runtimeSeconds) runtime += seconds - (before.runtimeSeconds.get(id) ?? 0);
  return Math.max(0, after.allSeconds - before.allSeconds - runtime);
}
