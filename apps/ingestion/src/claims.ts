/**
 * Asks the dedupe window that processes and instances share: one call for everything that gathered while the last one
 * was under way, and one question for each id however many copies of it wait for the answer.
 */
import type { ClaimVerdict, SharedWindow } from '@libs/database/redis';

export type AskedWindow = Pick<SharedWindow, 'claim' | 'confirm' | 'release'>;

export interface Claims extends Omit<AskedWindow, 'claim'> {
  /** Resolves in the order of the calls, so that events are appended in the order in which they came. */
  claim(keys: readonly string[]): Promise<readonly ClaimVerdict[]>;
}

export interface ClaimLimits {
  /** Ids in one call to the window, unless one batch alone has more. */
  readonly keysMax: number;
  /** Milliseconds after which a claim is no longer relied on: it is asked for again before anything is appended. */
  readonly staleMs: number;
}

interface Flight {
  readonly number: number;
  readonly keys: string[];
  verdicts: readonly ClaimVerdict[];
  readonly landed: PromiseWithResolvers<void>;
}

interface Slot {
  readonly flight: Flight;
  readonly index: number;
}

export function createClaims(window: AskedWindow, limits: ClaimLimits, monotonicMs: () => number): Claims {
  const asked = new Map<string, Slot>();
  const waiting: Flight[] = [];
  let flights = 0;
  let isFlying = false;

  function claim(keys: readonly string[]): Promise<readonly ClaimVerdict[]> {
    const flight = keys.some((key) => !asked.has(key)) ? openFlight(keys.length) : undefined;
    const slots = keys.map((key) => slotOf(key, flight));
    const last = slots.reduce((a, b) => (b.flight.number > a.flight.number ? b : a), slots[0] as Slot);
    return last.flight.landed.promise.then(() =>
      slots.map(({ flight, index }) => flight.verdicts[index] as ClaimVerdict),
    );
  }

  /** `flight`: the one for what nobody has asked for yet. */
  function slotOf(key: string, flight: Flight | undefined): Slot {
    const known = asked.get(key);
    if (known !== undefined) return known;
    if (flight === undefined) throw new Error('a new id has no flight');
    const slot = { flight, index: flight.keys.length };
    flight.keys.push(key);
    asked.set(key, slot);
    return slot;
  }

  /** A batch stays together, so that none which comes later can overtake a part of it. */
  function openFlight(keysCount: number): Flight {
    const last = waiting.at(-1);
    if (last !== undefined && last.keys.length + keysCount <= limits.keysMax) return last;
    flights += 1;
    const flight: Flight = { number: flights, keys: [], verdicts: [], landed: Promise.withResolvers<void>() };
    waiting.push(flight);
    // Everything that this turn of the event loop still brings goes along.
    if (!isFlying && waiting.length === 1) setImmediate(fly);
    return flight;
  }

  function fly(): void {
    const flight = isFlying ? undefined : waiting.shift();
    if (flight === undefined) return;
    isFlying = true;
    ask(flight.keys).then(
      (verdicts) => land(flight, verdicts),
      () =>
        land(
          flight,
          flight.keys.map(() => SKIPPED),
        ),
    );
  }

  /** A process that was frozen meanwhile may have lost its claims to somebody else. */
  async function ask(keys: readonly string[]): Promise<readonly ClaimVerdict[]> {
    for (;;) {
      const askedMs = monotonicMs();
      const verdicts = await window.claim(keys);
      if (monotonicMs() - askedMs < limits.staleMs) return verdicts;
    }
  }

  function land(flight: Flight, verdicts: readonly ClaimVerdict[]): void {
    isFlying = false;
    flight.verdicts = verdicts;
    for (const key of flight.keys) asked.delete(key);
    flight.landed.resolve();
    // Not at once: whoever shares one of these claims appends first, so that nobody gives back what another has appended.
    if (waiting.length > 0) setImmediate(fly);
  }

  return { claim, confirm: window.confirm, release: window.release };
}

const SKIPPED: ClaimVerdict = { kind: 'skipped' };
