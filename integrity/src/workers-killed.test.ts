/**
 * Several accept processes share a port and one is killed under load: the connections of the others do not notice, whoever
 * comes meanwhile is answered, and the one that comes back takes its share again.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { isRunning } from '@libs/runtime';
import { lacks } from '@libs/services';
import { cleanUpInstances, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import type { Service } from './service.ts';
import { until } from './until.ts';
import { openWorkerSockets } from './workers-sockets.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const SOCKETS = 300;
/** The kernel deals connections out by a hash: for one of three to get fewer than 60 of 300 is a matter of 1 in 10^6. */
const SHARE_MIN = 0.2;
/** Only a connection that waits where nobody takes it needs so long. */
const HANG_MS = 20_000;

afterEach(cleanUpInstances);

describe.skipIf(lacks({ start: ['redis'] }))('one of several accept processes is killed', () => {
  for (const [workers, victim] of [
    [2, 'accept'],
    [3, 'accept-2'],
  ] as const)
    test(
      `${victim} of ${workers}: the others' connections go on, new ones are taken, and it comes back`,
      async () => {
        const instances = await startInstances(createSeeded(SEED), {
          count: 1,
          workers,
          settings: { REDIS_TIMEOUT_MS: '10000' },
        });
        const [service] = instances.services as [Service];
        const clients = await openWorkerSockets(service.url, SOCKETS, instances.ledger, createSeeded(SEED + 1));
        const byProcess = clients.byProcess();
        const groups = [...byProcess.values()];
        expect(groups).toHaveLength(workers);
        for (const group of groups) expect(group.length).toBeGreaterThanOrEqual(SHARE_MIN * SOCKETS);
        await clients.progress(5);

        const visitors = startVisitors(service.url);
        await visitors.untilAnswered(1);
        const identity = await service.signal(victim, 'SIGKILL');
        await until(() => !isRunning(identity), `${victim} is gone`);
        // The first of these may have been on its way before.
        const [, next] = await visitors.untilAnswered(2);
        expect([...byProcess.keys()]).toContain(next as string);
        const cut = () => groups.findIndex((group) => group.every(({ cuts }) => cuts > 0));
        await until(() => cut() >= 0, 'the connections of one process are cut');
        const untouched = groups.toSpliced(cut(), 1).flat();
        await clients.progress(3, untouched);
        await visitors.untilSome((process) => !byProcess.has(process));
        await clients.progress(5);
        expect(untouched.filter(({ cuts }) => cuts > 0)).toEqual([]);
        expect(await visitors.stop()).toEqual({ hung: 0 });

        await clients.finish();
        const { broken, twice } = await instances.finish();
        expect({ seed: SEED, broken, twice }).toEqual({ seed: SEED, broken: [], twice: [] });
        expect(instances.ledger.counts().accepted).toBeGreaterThan(10 * SOCKETS);
        expect(instances.ledger.counts().local).toBe(0);
      },
      TIMEOUT_MS,
    );
});

/** Connects anew all the time, one connection after the other, and notes which process says hello. */
function startVisitors(url: string) {
  const answers: string[] = [];
  let stopping = false;
  let hung = 0;

  async function visit(): Promise<void> {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/events/stream`);
    const end = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      answers.push(JSON.parse(String(data)).connectionId.split('-')[0]);
      end.resolve();
    };
    // A connection that the kernel had given to the process that was killed is reset: the client knows at once.
    socket.onclose = () => end.resolve();
    const timer = setTimeout(() => {
      hung += 1;
      end.resolve();
    }, HANG_MS);
    await end.promise;
    clearTimeout(timer);
    socket.close();
  }

  async function run(): Promise<void> {
    while (!stopping) await visit();
  }

  const done = run();
  return {
    /** So many more, by process. */
    async untilAnswered(count: number): Promise<readonly string[]> {
      const from = answers.length;
      await until(() => answers.length >= from + count, `${count} new connections are answered`);
      return answers.slice(from, from + count);
    },
    async untilSome(isWanted: (process: string) => boolean) {
      await until(() => answers.some(isWanted), 'the process that came back takes a connection');
    },
    async stop() {
      stopping = true;
      await done;
      return { hung };
    },
  };
}
