import { describe, expect, test } from 'bun:test';
import type { Outcome } from '@libs/pipeline';
import { createCounters, ratesOf } from './counters.ts';

const ACCEPTED: Outcome = { kind: 'accepted', level: 'journal', journal: 'j', seq: 1 };
const DUPLICATE: Outcome = { kind: 'duplicate', level: 'journal' };
const REJECTED: Outcome = { kind: 'rejected', code: 'too_long', field: 'eventId', message: 'too long' };
const RETRY: Outcome = { kind: 'retry', code: 'journal_full', message: 'full', afterMs: 1000 };

function clockedCounters() {
  const clock = { ms: 5000 };
  const counters = createCounters(() => clock.ms);
  return { clock, counters, rates: () => ratesOf([counters.recent()]) };
}

describe('createCounters', () => {
  test('counts every outcome, and failures by code', () => {
    const { counters } = clockedCounters();
    counters.count([ACCEPTED, ACCEPTED, DUPLICATE, REJECTED, RETRY], 5000);
    counters.count([REJECTED], 5000);
    expect(counters.events).toMatchObject({
      received: 6,
      accepted: 2,
      duplicates: 1,
      rejected: 2,
      retries: 1,
      calls: 2,
    });
    expect([...counters.failuresByCode]).toEqual([
      ['too_long', 2],
      ['journal_full', 1],
    ]);
  });

  test('says nothing has happened before anything has', () => {
    const { rates } = clockedCounters();
    expect(rates()).toEqual({ eventsPerSecond: 0, errorRate: 0, averageProcessingTime: 0 });
  });

  test('the rate is the mean of the last ten seconds, or of the time since the start', () => {
    const { clock, counters, rates } = clockedCounters();
    counters.count(Array(40).fill(ACCEPTED), clock.ms);
    expect(rates().eventsPerSecond).toBe(40);
    clock.ms = 9000;
    expect(rates().eventsPerSecond).toBe(10);
    clock.ms = 14_500;
    expect(rates().eventsPerSecond).toBeCloseTo(4.211, 3);
    clock.ms = 15_000;
    expect(rates().eventsPerSecond).toBe(0);
  });

  test('errors and time are of the last minute', () => {
    const { clock, counters, rates } = clockedCounters();
    clock.ms = 5004;
    counters.count([ACCEPTED, ACCEPTED, ACCEPTED, REJECTED], 5000);
    clock.ms = 5012;
    counters.count([ACCEPTED, RETRY, DUPLICATE, ACCEPTED], 5010);
    expect(rates()).toMatchObject({ errorRate: 0.25, averageProcessingTime: 3 });
    clock.ms = 66_000;
    expect(rates()).toMatchObject({ errorRate: 0, averageProcessingTime: 0 });
    counters.count([REJECTED], 66_000);
    expect(rates().errorRate).toBe(1);
  });

  test('the rates of several processes are those of all their events', () => {
    const [busy, idle] = [clockedCounters(), clockedCounters()];
    busy.counters.count(Array(30).fill(ACCEPTED), 4990);
    busy.counters.count([REJECTED], 4998);
    idle.counters.count([REJECTED], 4997);
    const both = ratesOf([busy.counters.recent(), idle.counters.recent()]);
    expect(both).toEqual({ eventsPerSecond: 32, errorRate: 0.063, averageProcessingTime: 5 });
  });

  test('the map of codes is bounded', () => {
    const { counters } = clockedCounters();
    for (let i = 0; i < 1000; i += 1) counters.count([{ ...REJECTED, code: `code_${i}` }], 5000);
    expect(counters.failuresByCode.size).toBe(101);
    expect(counters.failuresByCode.get('other')).toBe(900);
  });
});
