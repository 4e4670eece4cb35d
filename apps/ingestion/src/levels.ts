/** From what each sink is done with to the level that a journal's events have reached. */
import { STORE_SINK } from '@libs/delivery';
import type { DeliveredLevel } from '@libs/pipeline';

export interface Levels {
  /** The sink is done with everything up to and including `seq`. True when a level has grown by it. */
  advance(sink: string, seq: number): boolean;
  /** Everything up to and including this number has reached the level; 0: nothing, or not known. */
  seq(level: DeliveredLevel): number;
}

export const DELIVERED_LEVELS: readonly DeliveredLevel[] = ['stored', 'routed'];

/** `otherSinks`: all that are configured beside the store. What others say is passed over: a sink that was removed holds up nobody. */
export function createLevels(otherSinks: readonly string[]): Levels {
  const passed = new Map([STORE_SINK, ...otherSinks].map((sink) => [sink, 0]));
  let reached: Readonly<Record<DeliveredLevel, number>> = { stored: 0, routed: 0 };

  function advance(sink: string, seq: number): boolean {
    if ((passed.get(sink) ?? Number.POSITIVE_INFINITY) >= seq) return false;
    passed.set(sink, seq);
    const before = reached;
    reached = { stored: passed.get(STORE_SINK) ?? 0, routed: Math.min(...passed.values()) };
    return reached.stored > before.stored || reached.routed > before.routed;
  }

  return { advance, seq: (level) => reached[level] };
}
