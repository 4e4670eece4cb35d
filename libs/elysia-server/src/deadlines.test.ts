import { describe, expect, test } from 'bun:test';
import { createDeadlines, type Deadline } from './deadlines.ts';

function recorder(name: string, into: string[]): Deadline {
  return {
    ticksLeft: 0,
    sweeps: 0,
    slot: -1,
    expired: () => into.push(`${name} expired`),
    slow: () => into.push(`${name} slow`),
  };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await Bun.sleep(1);
}

describe('deadlines', () => {
  test('a wait is slow first, then expired, each once, and then gone', async () => {
    const events: string[] = [];
    const deadlines = createDeadlines(5);
    deadlines.add(recorder('a', events), 30);
    await until(() => deadlines.size === 0);
    expect(events).toEqual(['a slow', 'a expired']);
  });

  test('what is removed never expires, and says how much was left', async () => {
    const events: string[] = [];
    const deadlines = createDeadlines(5);
    const kept = recorder('kept', events);
    const removed = recorder('removed', events);
    deadlines.add(kept, 20);
    deadlines.add(removed, 20);
    expect(deadlines.remove(removed)).toBe(20);
    expect(deadlines.size).toBe(1);
    expect(deadlines.remove(removed)).toBe(20);
    await until(() => deadlines.size === 0);
    expect(events).toEqual(['kept slow', 'kept expired']);
  });

  test('waits of different lengths end in their order, whatever is removed in between and from within', async () => {
    const events: string[] = [];
    const deadlines = createDeadlines(2);
    const late = recorder('late', events);
    const early = recorder('early', events);
    early.expired = () => {
      events.push('early expired');
      deadlines.remove(late);
      deadlines.add(recorder('next', events), 2);
    };
    const gone = recorder('gone', events);
    deadlines.add(gone, 4);
    deadlines.add(late, 200);
    deadlines.add(early, 8);
    deadlines.remove(gone);
    await until(() => events.includes('next expired'));
    expect(events.filter((event) => event.endsWith('expired'))).toEqual(['early expired', 'next expired']);
    expect(deadlines.size).toBe(0);
  });

  test('the sweep starts again after it had nothing to do', async () => {
    const events: string[] = [];
    const deadlines = createDeadlines(2);
    for (const name of ['a', 'b']) {
      deadlines.add(recorder(name, events), 2);
      await until(() => events.includes(`${name} expired`));
      await Bun.sleep(6);
    }
    expect(events).toEqual(['a expired', 'b expired']);
  });

  test('thousands added and removed at random leave exactly the rest', () => {
    const deadlines = createDeadlines(1000);
    const listed = new Set<Deadline>();
    let state = 7;
    for (let step = 0; step < 20_000; step += 1) {
      state = (state * 1103515245 + 12345) % 2147483648;
      if (state % 3 > 0 || listed.size === 0) {
        const deadline = recorder(String(step), []);
        deadlines.add(deadline, 60_000);
        listed.add(deadline);
      } else {
        const deadline = [...listed.values().take((state % 7) + 1)].at(-1) as Deadline;
        deadlines.remove(deadline);
        listed.delete(deadline);
      }
    }
    expect(deadlines.size).toBe(listed.size);
    for (const deadline of listed) deadlines.remove(deadline);
    expect(deadlines.size).toBe(0);
  });
});
