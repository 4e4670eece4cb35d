import { afterEach, expect, test } from 'bun:test';
import { waitUntilStored } from './rounds.ts';
import { pendingEvents } from './weir.ts';

let server: ReturnType<typeof Bun.serve>;
afterEach(() => server.stop(true));

/** Answers every look at its health with the next of these, and at last with the last one. */
function answering(bodies: readonly object[]): string {
  let next = 0;
  const fetch = () => Response.json(bodies[Math.min(next++, bodies.length - 1)]);
  server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch });
  return `http://127.0.0.1:${server.port}`;
}

const health = (pending: number, ...agesMs: (number | undefined)[]) => ({
  services: { journal: { pendingEvents: pending } },
  ...(agesMs.length === 0 ? {} : { workers: agesMs.map((reportAgeMs) => ({ state: 'healthy', reportAgeMs })) }),
});

test('what accept processes said before a moment is not known of that moment', async () => {
  const url = answering([health(0, 0, 60_000)]);
  expect(await pendingEvents(url)).toBe(0);
  expect(await pendingEvents(url, performance.now())).toBeNaN();
  expect(await pendingEvents(url, performance.now() - 120_000)).toBe(0);
});

test('one that does not report is not taken for one that has nothing to do', async () => {
  const url = answering([health(0, 0, undefined)]);
  expect(await pendingEvents(url)).toBeNaN();
});

test('one accept process knows at once', async () => {
  const url = answering([health(7)]);
  expect(await pendingEvents(url, performance.now())).toBe(7);
});

test('nothing is called stored because of reports from before the load ended', async () => {
  const stale = health(0, 0, 60_000);
  const url = answering([stale, stale, health(0, 0, undefined), health(3, 0, 0), health(0, 0, 0)]);
  let looks = 0;
  const found = await waitUntilStored({
    name: 'weir',
    answers: 'exact',
    host: '127.0.0.1',
    port: 0,
    processes: () => [],
    companions: () => [],
    pendingEvents(sinceMs) {
      looks += 1;
      return pendingEvents(url, sinceMs);
    },
    stop: async () => {},
  });
  expect(looks).toBe(5);
  expect(found.pendingAtEnd).toBeNaN();
  expect(found.secondsUntilStored).toBeGreaterThan(0);
});
