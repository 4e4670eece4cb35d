/** Events of which another copy is sent now and then, to another instance where there is one: the pool of a run's writers. */
import type { SentEvent } from './events.ts';
import type { Seeded } from './seeded.ts';

export interface Copies {
  /** It was sent to instance `at`; it may still be on its way. */
  remember(event: SentEvent, at: number): void;
  /** One that was last sent elsewhere; with a single instance, there. */
  pick(at: number): SentEvent | undefined;
}

/** Recent ones, so that some copies meet their first one in flight. */
const KNOWN_MAX = 400;

export function createCopies(random: Seeded, instances: number): Copies {
  const known = Array.from({ length: instances }, (): SentEvent[] => []);
  return {
    remember(event, at) {
      const list = known[at] as SentEvent[];
      list[list.length < KNOWN_MAX ? list.length : random.integer(0, KNOWN_MAX - 1)] = event;
    },
    pick(at) {
      const list = known[instances === 1 ? at : (at + random.integer(1, instances - 1)) % instances] as SentEvent[];
      return list.length === 0 ? undefined : random.pick(list);
    },
  };
}
