/** Starts the service as a user would, on a free port and in a folder of its own, and ends both. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Child, Children } from './children.ts';
import type { Pinning } from './pinning.ts';
import type { NamedProcess } from './processes.ts';
import { HOST, type ServerUnderTest } from './server-under-test.ts';

const ENTRY = join(import.meta.dir, '../../apps/ingestion/src/main.ts');
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 40_000;
const POLL_MS = 50;
const REQUEST_TIMEOUT_MS = 10_000;

/** What is read of `GET /health`. */
interface Health {
  readonly services?: {
    readonly journal?: { readonly pendingEvents?: number };
    readonly clickhouse?: { readonly state?: string };
  };
}

export interface WeirOptions {
  /** Folder in which the data folder is made. */
  readonly parentFolder: string | undefined;
  /** Bun's own arguments: the supervisor hands them on to accept and deliver. */
  readonly bunArguments?: readonly string[];
  readonly children: Children;
  readonly pinning: Pinning;
}

export interface Weir extends ServerUnderTest {
  readonly dataFolder: string;
}

export async function startWeir({ parentFolder, bunArguments = [], children, pinning }: WeirOptions): Promise<Weir> {
  const dataFolder = children.makeFolder(parentFolder, 'weir-bench-');
  const port = freePort();
  const url = `http://${HOST}:${port}`;
  const child = children.spawn({
    argv: [process.execPath, ...bunArguments, ENTRY],
    env: { HOST, PORT: String(port), WEIR_DATA_DIR: dataFolder, LOG_LEVEL: 'warn' },
  });
  const processes = (): NamedProcess[] => [...recordedProcesses(dataFolder), { name: 'supervisor', pid: child.pid }];

  async function stop(): Promise<void> {
    const known = processes();
    await child.stop(STOP_TIMEOUT_MS);
    for (const { name, pid } of known) if (name !== 'supervisor') killLeftOver(pid, dataFolder);
    children.removeFolder(dataFolder);
  }

  try {
    await ready(url, child);
  } catch (error) {
    await stop();
    throw error;
  }
  for (const { name, pid } of processes()) pinning.place(name, pid);
  return {
    name: 'weir',
    host: HOST,
    port,
    dataFolder,
    processes,
    pendingEvents: async () => (await health(url))?.services?.journal?.pendingEvents ?? Number.NaN,
    stop,
  };
}

/** Accept takes events and the store is connected. */
async function ready(url: string, child: Child): Promise<void> {
  let exitCode: number | undefined;
  void child.exited.then((code) => {
    exitCode = code;
  });
  const endMs = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < endMs) {
    if (exitCode !== undefined)
      throw new Error(`Weir ended with code ${exitCode} instead of starting:\n${child.lastWords()}`);
    if ((await health(url))?.services?.clickhouse?.state === 'healthy') return;
    await Bun.sleep(POLL_MS);
  }
  throw new Error(`Weir was not ready within ${START_TIMEOUT_MS} ms:\n${child.lastWords()}`);
}

/** Undefined while nobody answers. */
async function health(url: string): Promise<Health | undefined> {
  let response: Response;
  try {
    response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  } catch {
    return undefined;
  }
  return (await response.json()) as Health;
}

function recordedProcesses(dataFolder: string): NamedProcess[] {
  let text: string;
  try {
    text = readFileSync(join(dataFolder, 'run', 'processes.json'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return (JSON.parse(text) as { readonly processes: NamedProcess[] }).processes;
}

/** The supervisor was killed because it did not end: so is what it left, unless the pid is somebody else's by now. */
function killLeftOver(pid: number, dataFolder: string): void {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
    if (environment.includes(dataFolder)) process.kill(pid, 'SIGKILL');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
  }
}

function freePort(): number {
  const probe = Bun.listen({ hostname: HOST, port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}
