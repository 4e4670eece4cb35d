/** Keeps processes on processors of their own, with util-linux's taskset. */
import { availableParallelism } from 'node:os';

export interface Pinning {
  /** What is put in front of a generator's command line. */
  readonly generatorPrefix: readonly string[];
  /** Moves a running process, all its threads, to where its kind belongs. */
  place(name: string, pid: number): void;
}

export const NO_PINNING: Pinning = { generatorPrefix: [], place() {} };

/** What takes requests has the first processor for itself; the rest shares the last. */
export function createPinning(): Pinning {
  const last = String(availableParallelism() - 1);
  return {
    generatorPrefix: ['taskset', '-c', last],
    place(name, pid) {
      const cpu = name === 'accept' || name === 'bare' || name === 'fixed' ? '0' : last;
      Bun.spawnSync(['taskset', '-a', '-c', '-p', cpu, String(pid)], { stdout: 'ignore', stderr: 'ignore' });
    },
  };
}
