/** What the service takes while nothing happens, and what an idle WebSocket adds. */
import { join } from 'node:path';
import type { Children } from './children.ts';
import type { Options } from './config.ts';
import type { IdleJob, IdleMessage } from './idle-clients.ts';
import type { Part } from './part.ts';
import { type MemoryByProcess, memoryByProcess } from './processes.ts';
import { idleText, socketsText } from './report.ts';
import { type ServerUnderTest, startSmallServer } from './server-under-test.ts';
import { settledRss } from './settled-rss.ts';
import { startWeir } from './weir.ts';

export interface IdleRun {
  readonly afterStart: MemoryByProcess;
  readonly afterTenSeconds: MemoryByProcess;
}

export interface SocketsRun {
  readonly server: string;
  readonly sockets: number;
  /** RSS of the process that holds the sockets, before and with them. */
  readonly rssBytesBefore: number;
  readonly rssBytesWith: number;
  readonly bytesPerSocket: number;
  /** Sockets that were closed while it was measured. */
  readonly lost: number;
}

const IDLE_MS = 10_000;
/** Opened before the first reading, so that code and buffers of the first sockets are not charged to the others. */
const WARMUP_SOCKETS = 1_000;
const OPEN_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 5_000;

export interface IdleData {
  readonly idle: IdleRun;
  readonly sockets: readonly SocketsRun[];
}

export const idlePart: Part<IdleData> = {
  name: 'idle',
  what: 'memory while nothing happens, and of idle WebSockets',
  set: 'core',
  seconds: () => 75,
  async measure(context) {
    const { options, children, pinning, progress } = context;
    const sockets: SocketsRun[] = [];
    // A fresh service, so that nothing that was done before counts as idle.
    const weir = await startWeir(context);
    let idle: IdleRun;
    try {
      progress('idle memory');
      idle = await measureIdle(weir);
      progress(`${options.sockets} idle WebSockets: weir`);
      sockets.push(await measureSockets(options, weir, children));
    } finally {
      await weir.stop();
    }
    const bare = await startSmallServer('bare', children, pinning);
    try {
      progress(`${options.sockets} idle WebSockets: bare`);
      sockets.push(await measureSockets(options, bare, children));
    } finally {
      await bare.stop();
    }
    const problems = sockets.flatMap(({ server, lost }) =>
      lost > 0 ? [`${server} lost ${lost} idle WebSockets.`] : [],
    );
    return { data: { idle, sockets }, problems };
  },
  text: ({ idle, sockets }) => `${idleText(idle)}\n\n${socketsText(sockets)}`,
};

async function measureIdle(server: ServerUnderTest): Promise<IdleRun> {
  const afterStart = memoryByProcess(server.processes());
  await Bun.sleep(IDLE_MS);
  return { afterStart, afterTenSeconds: memoryByProcess(server.processes()) };
}

async function measureSockets(options: Options, server: ServerUnderTest, children: Children): Promise<SocketsRun> {
  const name = server.name === 'weir' ? 'accept' : server.name;
  const holder = () => server.processes().filter((one) => one.name === name);
  const warm = await openSockets(server, WARMUP_SOCKETS, children);
  const rssBytesBefore = await settledRss(holder);
  const idle = await openSockets(server, options.sockets, children);
  const rssBytesWith = await settledRss(holder);
  const lost = warm.lost() + idle.lost();
  await idle.stop();
  await warm.stop();
  const bytesPerSocket = (rssBytesWith - rssBytesBefore) / options.sockets;
  return { server: server.name, sockets: options.sockets, rssBytesBefore, rssBytesWith, bytesPerSocket, lost };
}

async function openSockets(server: ServerUnderTest, sockets: number, children: Children) {
  const job: IdleJob = { host: server.host, port: server.port, sockets };
  const opened = Promise.withResolvers<void>();
  let lost = 0;
  const child = children.spawn({
    argv: [process.execPath, join(import.meta.dir, 'idle-clients.ts'), JSON.stringify(job)],
    onMessage(message) {
      const read = message as IdleMessage;
      if (read.type === 'opened') opened.resolve();
      else if (read.type === 'lost') lost += read.sockets;
      else opened.reject(new Error(`${sockets} WebSockets could not be opened: ${read.message}`));
    },
  });
  void child.exited.then(() => opened.reject(new Error(`the idle clients ended: ${child.lastWords()}`)));
  const timer = setTimeout(() => opened.reject(new Error('the idle clients took too long')), OPEN_TIMEOUT_MS);
  await opened.promise.finally(() => clearTimeout(timer));
  return { lost: () => lost, stop: () => child.stop(STOP_TIMEOUT_MS) };
}
