/** A service that takes the same events as Weir, and what it has done with an event when it says that it has it. */
import { freePort } from '@libs/services';
import type { Children } from '../children.ts';
import type { LoadJob } from '../job.ts';
import { HOST, type ServerUnderTest } from '../server-under-test.ts';
import type { Place } from './places.ts';

export interface Peer extends ServerUnderTest {
  readonly form: NonNullable<LoadJob['form']>;
  /** What an acknowledgement means. */
  readonly ack: string;
  /** Where every acknowledged event has to be in the end, once. */
  readonly places: readonly Place[];
}

export interface PeerPlan extends Pick<Peer, 'name' | 'ack' | 'places' | 'companions'> {
  readonly answers: Peer['answers'];
  readonly form?: Peer['form'];
  readonly argv: (port: number) => readonly string[];
  readonly children: Children;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_MS = 50;

/** Starts the process and waits until it answers HTTP, whatever it answers. */
export async function startPeerProcess(plan: PeerPlan, cleanUp: () => Promise<void>): Promise<Peer> {
  const { name, ack, places, companions, answers, form = 'weir', children } = plan;
  const port = await freePort();
  // With the end of the bench, however it ends, the kernel ends the service too (PR_SET_PDEATHSIG).
  const child = children.spawn({ argv: ['setpriv', '--pdeathsig', 'KILL', '--', ...plan.argv(port)], env: PRODUCTION });
  let exitCode: number | undefined;
  void child.exited.then((code) => {
    exitCode = code;
  });
  const stop = async () => {
    await child.stop(STOP_TIMEOUT_MS);
    await cleanUp();
  };
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!(await answersHttp(port))) {
    if (exitCode === undefined && performance.now() < deadlineMs) {
      await Bun.sleep(POLL_MS);
      continue;
    }
    await stop();
    const what =
      exitCode === undefined ? `did not answer within ${START_TIMEOUT_MS} ms` : `ended with code ${exitCode}`;
    throw new Error(`${name} ${what}:\n${child.lastWords()}`);
  }
  return {
    ...{ name, ack, places, companions, answers, form, stop },
    host: HOST,
    port,
    processes: () => [{ name, pid: child.pid }],
    pendingEvents: async () => 0,
  };
}

const PRODUCTION = { NODE_ENV: 'production' };

async function answersHttp(port: number): Promise<boolean> {
  try {
    await (await fetch(`http://${HOST}:${port}/`)).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
