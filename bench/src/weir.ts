/** Starts the service as a user would, on a free port and in a folder of its own, and ends both. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Child, Children } from './children.ts';
import type { Options } from './config.ts';
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
    readonly redis?: { readonly state?: string };
    readonly kafka?: { readonly state?: string };
  };
  /** With more than one accept process. */
  readonly workers?: readonly { readonly state?: string; readonly reportAgeMs?: number }[];
  readonly dedupe?: { readonly ids?: number };
}

/** What every part is given anyway. */
export interface WeirContext {
  /** `folder`: in which the data folder is made. */
  readonly options: Pick<Options, 'folder'>;
  readonly children: Children;
  readonly pinning: Pinning;
}

export interface WeirOptions {
  /** A data folder that an earlier service left, instead of a new one. */
  readonly dataFolder?: string | undefined;
  /** Default: a free one. */
  readonly port?: number;
  /** In results; `weir` unless several are compared. */
  readonly name?: string;
  readonly companions?: () => NamedProcess[];
  /** Environment variables of the service. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Bun's own arguments: the supervisor hands them on to accept and deliver. */
  readonly bunArguments?: readonly string[];
}

export interface Weir extends ServerUnderTest {
  readonly dataFolder: string;
  readonly url: string;
  /** From the start of the process: until it took events, and until the store was connected. */
  readonly startMs: { readonly accepting: number; readonly storing: number };
  health(): Promise<Health | undefined>;
  /** SIGKILL to every process; the folder stays. */
  crash(): Promise<void>;
  /** Ends it in order; its folder is removed unless it is to be kept. */
  stop(folder?: 'keep'): Promise<void>;
}

export async function startWeir(context: WeirContext, options: WeirOptions = {}): Promise<Weir> {
  const { children, pinning } = context;
  const { bunArguments = [], settings = {} } = options;
  const dataFolder = options.dataFolder ?? children.makeFolder(context.options.folder, 'weir-bench-');
  const port = options.port ?? freePort();
  const url = `http://${HOST}:${port}`;
  const child = children.spawn({
    argv: [process.execPath, ...bunArguments, ENTRY],
    env: { ...settings, HOST, PORT: String(port), WEIR_DATA_DIR: dataFolder, LOG_LEVEL: 'warn' },
  });
  const processes = (): NamedProcess[] => [...recordedProcesses(dataFolder), { name: 'supervisor', pid: child.pid }];

  async function stop(folder?: 'keep'): Promise<void> {
    const known = processes();
    await child.stop(STOP_TIMEOUT_MS);
    for (const { name, pid } of known) if (name !== 'supervisor') killLeftOver(pid, dataFolder);
    if (folder !== 'keep') children.removeFolder(dataFolder);
  }

  async function crash(): Promise<void> {
    const known = processes();
    child.kill();
    for (const { name, pid } of known) if (name !== 'supervisor') killLeftOver(pid, dataFolder);
    await child.exited;
  }

  let startMs: Weir['startMs'];
  try {
    startMs = await ready(url, child);
  } catch (error) {
    await stop();
    throw error;
  }
  for (const { name, pid } of processes()) pinning.place(name, pid);
  return {
    name: options.name ?? 'weir',
    answers: 'exact',
    host: HOST,
    port,
    dataFolder,
    url,
    startMs,
    processes,
    companions: options.companions ?? (() => []),
    health: () => health(url),
    pendingEvents: (sinceMs) => pendingEvents(url, sinceMs),
    crash,
    stop,
  };
}

/** Accept takes events and the store is connected. */
async function ready(url: string, child: Child): Promise<Weir['startMs']> {
  const beganMs = performance.now();
  let accepting = 0;
  let exitCode: number | undefined;
  void child.exited.then((code) => {
    exitCode = code;
  });
  while (performance.now() < beganMs + START_TIMEOUT_MS) {
    if (exitCode !== undefined)
      throw new Error(`Weir ended with code ${exitCode} instead of starting:\n${child.lastWords()}`);
    const found = await health(url);
    if (found?.services !== undefined && accepting === 0) accepting = performance.now() - beganMs;
    if (isConnected(found)) return { accepting, storing: performance.now() - beganMs };
    await Bun.sleep(POLL_MS);
  }
  throw new Error(`Weir was not ready within ${START_TIMEOUT_MS} ms:\n${child.lastWords()}`);
}

/** To everything that it uses, with every accept process that it should have. */
function isConnected({ services, workers = [] }: Health = {}): boolean {
  const used = [services?.clickhouse, services?.redis, services?.kafka].filter((one) => one !== undefined);
  return services?.clickhouse !== undefined && [...used, ...workers].every(({ state }) => state === 'healthy');
}

/** Several accept processes tell each other only from time to time; one that was not heard of for long is in no sum. */
export async function pendingEvents(url: string, sinceMs = Number.NEGATIVE_INFINITY): Promise<number> {
  const askedMs = performance.now();
  const found = await health(url);
  const agesMs = (found?.workers ?? []).map(({ reportAgeMs = Number.POSITIVE_INFINITY }) => reportAgeMs);
  const oldestMs = Math.max(0, ...agesMs);
  if (oldestMs === Number.POSITIVE_INFINITY || askedMs - oldestMs < sinceMs) return Number.NaN;
  return found?.services?.journal?.pendingEvents ?? Number.NaN;
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
