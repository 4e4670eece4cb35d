/** How fast the generator can be at all, measured against a server that does next to nothing. */
import type { Children } from './children.ts';
import type { Options } from './config.ts';
import type { Load } from './loads.ts';
import type { Pinning } from './pinning.ts';
import { jobOf } from './rounds.ts';
import type { RunGenerator } from './run-generator.ts';
import { startSmallServer } from './server-under-test.ts';
import { errorsOf } from './summary.ts';

export interface Ceiling {
  readonly load: string;
  readonly eventsPerSecond: number;
  /** Processors' worth of CPU time that the generator took. */
  readonly generatorCores: number;
  /** Empty where every request was answered. */
  readonly errors: Readonly<Record<string, number>>;
}

export async function measureCeilings(
  options: Options,
  loads: readonly Load[],
  children: Children,
  pinning: Pinning,
  run: RunGenerator,
): Promise<Ceiling[]> {
  const fixed = await startSmallServer('fixed', children, pinning);
  const ceilings: Ceiling[] = [];
  try {
    for (const load of loads) {
      if (!('inFlight' in load.pace)) continue;
      const result = await run(jobOf(load, fixed, options, 0));
      const { eventsPerSecond, cpu } = result;
      ceilings.push({
        load: load.name,
        eventsPerSecond,
        generatorCores: (cpu.cpuSeconds['generator'] ?? Number.NaN) / cpu.seconds,
        errors: errorsOf([{ result }]),
      });
    }
  } finally {
    await fixed.stop();
  }
  return ceilings;
}
