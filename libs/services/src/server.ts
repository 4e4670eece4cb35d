/** What Redis and Kafka have in common: a folder, a process in it, and the ways to make it fail. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from './scratch.ts';
import { type ServerProcess, startProcess } from './server-process.ts';
import { until } from './until.ts';

const OUTPUT_BYTES = 4_000;
/** Somebody else may take a port between the moment it was found free and the moment the server asks for it. */
const STARTS_MAX = 5;

/** Ports and data stay the same over every stop, kill and restart. */
export interface Server extends AsyncDisposable {
  /** Of the process that runs now; undefined while there is none. */
  pid(): number | undefined;
  /** Ends it in order (SIGTERM); the data stay. */
  stop(): Promise<void>;
  /** SIGKILL; the data that it had written stay. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open, new ones are taken by the kernel, and nobody answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Starts it with the data that it had, after an orderly end if it still runs; resolves once it answers. */
  restart(): Promise<void>;
  /** SIGKILL if it still runs, and a start without any data. */
  restartEmpty(): Promise<void>;
  /** The end of what it printed, over all starts. */
  output(): string;
  /** Ends it for good and removes its folder, unless the folder was given. */
  close(): Promise<void>;
}

export interface ServerPlan {
  readonly name: string;
  /** Where configuration and data go; default: a new folder under the system's temporary one. */
  readonly folder: string | undefined;
  /** Asked before the first start, and again if a port turned out to be taken. */
  choosePorts(): Promise<void>;
  /** Prepares the data folder (it may be there already) and answers with the command. */
  prepare(folder: string, dataFolder: string): Promise<readonly string[]>;
  isReady(pid: number): Promise<boolean>;
  readonly readyTimeoutMs: number;
}

export async function startServer(plan: ServerPlan): Promise<Server> {
  const folder = plan.folder ?? scratchFolder();
  const dataFolder = join(folder, 'data');
  const outputFile = join(folder, 'output.txt');
  mkdirSync(folder, { recursive: true });
  let running: ServerProcess | undefined;

  function output(): string {
    return existsSync(outputFile) ? readFileSync(outputFile, 'utf8').slice(-OUTPUT_BYTES) : '';
  }

  async function start(): Promise<void> {
    const child = startProcess(await plan.prepare(folder, dataFolder), { cwd: folder, outputFile });
    running = child;
    const isSettled = async () => !child.isRunning() || (await plan.isReady(child.pid));
    const inTime = await until(isSettled, plan.readyTimeoutMs);
    if (inTime && child.isRunning()) return;
    await child.kill();
    running = undefined;
    throw new Error(
      `${plan.name} ${inTime ? 'ended' : `did not answer within ${plan.readyTimeoutMs} ms`}:\n${output()}`,
    );
  }

  async function firstStart(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await plan.choosePorts();
      try {
        return await start();
      } catch (error) {
        if (attempt === STARTS_MAX || !/address already in use/i.test(output())) throw error;
        rmSync(dataFolder, { recursive: true, force: true });
        rmSync(outputFile, { force: true });
      }
    }
  }

  /** The process, or a sentence: freezing what does not run is a mistake of the test. */
  function current(): ServerProcess {
    if (running === undefined) throw new Error(`${plan.name} does not run`);
    return running;
  }

  async function stop(): Promise<void> {
    await running?.end();
    running = undefined;
  }

  async function kill(): Promise<void> {
    await running?.kill();
    running = undefined;
  }

  async function close(): Promise<void> {
    await kill();
    if (plan.folder === undefined) rmSync(folder, { recursive: true, force: true });
  }

  try {
    await firstStart();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    pid: () => (running?.isRunning() === true ? running.pid : undefined),
    stop,
    kill,
    freeze: () => current().freeze(),
    thaw: () => current().thaw(),
    async restart() {
      await stop();
      await start();
    },
    async restartEmpty() {
      await kill();
      rmSync(dataFolder, { recursive: true, force: true });
      await start();
    },
    output,
    close,
    [Symbol.asyncDispose]: close,
  };
}
