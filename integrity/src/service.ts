/** The whole service as a user starts it, in processes of its own, with a hand on each of them. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, type ProcessIdentity } from '@libs/runtime';
import { until } from './until.ts';

/** `accept-1` and so on: further accept processes of the same service. */
export type Role = 'accept' | `accept-${number}` | 'deliver';

export interface ServiceOptions {
  /** Environment variables of the service; what is not given stands below. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Modules of this folder that are loaded before the service's own code, in every process of it. */
  readonly preloads?: readonly string[];
  /** A folder to keep the data in, made and removed by the caller. Default: a new one, removed by `cleanUp`. */
  readonly dataFolder?: string;
}

export interface Service {
  readonly url: string;
  readonly port: number;
  readonly dataFolder: string;
  /** Starts the supervisor; resolves once everything is ready. Throws when it ends before. */
  start(): Promise<void>;
  /** Changes settings for the starts to come. */
  set(settings: Readonly<Record<string, string>>): void;
  /** Starts the supervisor without waiting for anything. */
  launch(): void;
  /** Resolves once everything is ready, after `launch`. */
  whenReady(): Promise<void>;
  /** The process that plays this role now, if there is one. */
  find(role: Role): ProcessIdentity | undefined;
  /** Waits until there is one. */
  pid(role: Role): Promise<number>;
  signal(role: Role, signal: NodeJS.Signals): Promise<ProcessIdentity>;
  /** The same without waiting: undefined when nobody plays it now. */
  signalIfRunning(role: Role, signal: NodeJS.Signals): ProcessIdentity | undefined;
  signalSupervisor(signal: NodeJS.Signals): void;
  /** SIGKILL to the supervisor alone; resolves once it is gone. */
  killSupervisor(): Promise<void>;
  /** SIGTERM to the supervisor; resolves to its exit code. */
  stop(): Promise<number>;
  /** Undefined while the supervisor runs; then its exit code, -1 after a signal. */
  exitCode(): number | undefined;
  /** The last `bytes` bytes that all processes wrote to stdout and stderr, over all starts. */
  output(bytes?: number): string;
}

/** A small, quick Weir: segments roll, condense and recycle within a second of load. */
const SETTINGS: Readonly<Record<string, string>> = {
  HOST: '127.0.0.1',
  LOG_LEVEL: 'info',
  JOURNAL_SEGMENT_BYTES: String(1 << 20),
  DISK_RESERVE_BYTES: '0',
  FLUSH_INTERVAL_MS: '5',
  STORE_INTERVAL_MS: '0',
  ACK_TIMEOUT_MS: '1000',
  BLOCK_ROWS_MAX: '500',
};

const READY_LINE = 'Weir is listening on ';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES = 6_000;
const ENTRY = join(import.meta.dir, '..', '..', 'apps', 'ingestion', 'src', 'main.ts');

const folders = new Set<string>();
const records = new Set<string>();
const supervisors = new Set<Bun.Subprocess>();
const children = new Map<string, ProcessIdentity>();

export function createService(options: ServiceOptions = {}): Service {
  const dataFolder = options.dataFolder ?? temporaryFolder();
  const outputFolder = options.dataFolder === undefined ? dataFolder : temporaryFolder();
  mkdirSync(outputFolder, { recursive: true });
  const outputFile = join(outputFolder, 'output.txt');
  const recordFile = join(dataFolder, 'run', 'processes.json');
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  let settings = options.settings;
  let supervisor: Bun.Subprocess | undefined;
  let outputFrom = 0;
  records.add(recordFile);

  function launch(): void {
    const fd = openSync(outputFile, 'a');
    outputFrom = output(Number.MAX_SAFE_INTEGER).length;
    const preloads = (options.preloads ?? []).flatMap((name) => ['--preload', join(import.meta.dir, name)]);
    supervisor = Bun.spawn([process.execPath, ...preloads, ENTRY], {
      stdio: ['ignore', fd, fd],
      env: {
        PATH: process.env['PATH'] ?? '',
        TMPDIR: tmpdir(),
        ...SETTINGS,
        PORT: String(port),
        WEIR_DATA_DIR: dataFolder,
        ...settings,
      },
    });
    closeSync(fd);
    supervisors.add(supervisor);
  }

  async function whenReady(): Promise<void> {
    await until(
      () => {
        note();
        const code = exitCode();
        if (code !== undefined) throw new Error(`The service ended with exit code ${code}:\n${output()}`);
        return output(Number.MAX_SAFE_INTEGER).slice(outputFrom).includes(READY_LINE);
      },
      () => `the service is ready:\n${output()}`,
      START_TIMEOUT_MS,
    );
  }

  function exitCode(): number | undefined {
    if (supervisor === undefined || (supervisor.exitCode === null && supervisor.signalCode === null)) return undefined;
    return supervisor.exitCode ?? -1;
  }

  function output(bytes = OUTPUT_BYTES): string {
    const text = readFileSync(outputFile, { encoding: 'utf8', flag: 'a+' });
    return text.slice(Math.max(0, text.length - bytes));
  }

  function find(role: Role): ProcessIdentity | undefined {
    return note().find(({ name }) => name === role);
  }

  /** Those that run now; `cleanUp` ends them, too. */
  function note(): ReturnType<typeof readRecord> {
    const running = readRecord(recordFile).filter(isRunning);
    for (const one of running) children.set(`${one.pid}@${one.startTime}`, one);
    return running;
  }

  async function waitFor(role: Role): Promise<ProcessIdentity> {
    let found = find(role);
    await until(
      () => {
        found = find(role);
        return found !== undefined;
      },
      () => `${role} runs:\n${output()}`,
      START_TIMEOUT_MS,
    );
    return found as ProcessIdentity;
  }

  async function stop(): Promise<number> {
    supervisor?.kill('SIGTERM');
    await until(
      () => exitCode() !== undefined,
      () => `the supervisor ends:\n${output()}`,
      STOP_TIMEOUT_MS,
    );
    return exitCode() ?? 0;
  }

  return {
    url,
    port,
    dataFolder,
    async start() {
      launch();
      await whenReady();
    },
    set(more) {
      settings = { ...settings, ...more };
    },
    launch,
    whenReady,
    find,
    pid: async (role) => (await waitFor(role)).pid,
    async signal(role, signal) {
      const found = await waitFor(role);
      send(found, signal);
      return found;
    },
    signalIfRunning(role, signal) {
      const found = find(role);
      if (found !== undefined) send(found, signal);
      return found;
    },
    signalSupervisor: (signal) => supervisor?.kill(signal),
    async killSupervisor() {
      note();
      supervisor?.kill('SIGKILL');
      await supervisor?.exited;
    },
    stop,
    exitCode,
    output,
  };
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-integrity-'));
  folders.add(folder);
  return folder;
}

/** For `afterEach`: ends what the services of this test process left behind, by pid, and removes their folders. */
export async function cleanUp(): Promise<void> {
  for (const one of supervisors) if (one.exitCode === null && one.signalCode === null) one.kill('SIGKILL');
  await Promise.all([...supervisors].map((one) => one.exited));
  supervisors.clear();
  for (const file of records)
    for (const found of readRecord(file)) children.set(`${found.pid}@${found.startTime}`, found);
  for (const one of children.values()) send(one, 'SIGKILL');
  await until(() => [...children.values()].every((one) => !isRunning(one)), 'what a test started has ended');
  children.clear();
  records.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

function send(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isRunning(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    // It ended in between.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The supervisor replaces the record in one step, so it is there whole or not at all. */
function readRecord(file: string): (ProcessIdentity & { readonly name: string })[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return JSON.parse(text).processes;
}

/**
 * Below the range from which the system takes the ports of outgoing connections (32,768 and up): the writers open
 * thousands of them while the service is down, and one could sit on its port when it comes back.
 */
function freePort(): number {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      Bun.listen({ hostname: '127.0.0.1', port, exclusive: true, socket: { data() {} } }).stop(true);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
  throw new Error('no free port was found');
}
