/** What the soak's clients send: new events, copies of ones that were acknowledged, and ones that must be rejected. */
import { createEvents } from './events.ts';
import { createRandom } from './random.ts';

export type Verdict = 'accepted' | 'duplicate' | 'rejected';

export interface SoakEvent {
  readonly text: string;
  readonly expected: Verdict;
}

export interface SoakEvents {
  next(): SoakEvent;
  /** This new event was acknowledged: from now on, and for a while, it may be sent again. */
  acknowledged(event: SoakEvent): void;
}

const DUPLICATE_PERCENT = 10;
const INVALID_PERCENT = 1;
/** Of so many acknowledged last, one is sent again: at any rate of the soak they are seconds old. */
const REMEMBERED = 2_000;

export function createSoakEvents(seed: number): SoakEvents {
  const random = createRandom(seed);
  const remembered: string[] = [];
  const fresh = createEvents({ random, titles: 'mixed' });
  let next = 0;

  return {
    next() {
      const drawn = random.below(100);
      if (drawn < INVALID_PERCENT)
        return { text: fresh().replace('"eventType":"', '"eventType":"no_such_'), expected: 'rejected' };
      const copy = remembered[random.below(REMEMBERED)];
      if (drawn < INVALID_PERCENT + DUPLICATE_PERCENT && copy !== undefined)
        return { text: copy, expected: 'duplicate' };
      return { text: fresh(), expected: 'accepted' };
    },
    acknowledged({ text }) {
      remembered[next] = text;
      next = (next + 1) % REMEMBERED;
    },
  };
}
