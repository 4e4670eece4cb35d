/** The stand-in server as a process that tests can stop, kill, freeze and start again. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './testing-folder.ts';
import { FAULTS_PATH, type FrontOptions } from './testing-front.ts';
import type { FrontRule } from './testing-front-faults.ts';

export interface ClickHouseProcessOptions extends Omit<FrontOptions, 'kill'> {
  /** The engine's data; default: a new temporary folder, removed at the end. */
  readonly folder?: string;
}

/** A real engine behind real HTTP, not a real server. Port and data stay the same over every stop, kill and restart. */
export interface ClickHouseProcess extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; undefined while there is none. */
  pid(): number | undefined;
  /** Adds a fault for requests to come; a name alone is for the next insert. A restart forgets it. */
  fault(rule: FrontRule | FrontRule['fault']): Promise<void>;
  clearFaults(): Promise<void>;
  /** How many of the faults still wait for a statement to serve. */
  faultsLeft(): Promise<number>;
  /** Runs a statement and returns what it prints, as TabSeparated. */
  query(sql: string): Promise<string>;
  /** Ends it in order; the data stay. */
  stop(): Promise<void>;
  /** SIGKILL; the data stay. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open, new ones are taken by the kernel, and nobody answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Starts it again, after an orderly end if it still runs; resolves once it answers. */
  restart(): Promise<void>;
  /** SIGKILL if it still runs, and a start without any data. */
  restartEmpty(): Promise<void>;
  /** The end of what the process that runs now printed on stderr. */
  output(): string;
  /** Ends it for good, and removes its folder unless the folder was given. */
  close(): Promise<void>;
}

const END_TIMEOUT_MS = 10_000;
const SIGNAL_TIMEOUT_MS = 10_000;
const POLL_MS = 5;
const OUTPUT_CHARS = 4_000;

/** Starts it; start it from the main thread, with whose end the kernel ends it (PR_SET_PDEATHSIG). Costs about 0.5 s and 250 MB. */
export async function startClickHouseProcess(options: ClickHouseProcessOptions = {}): Promise<ClickHouseProcess> {
  const { folder: givenFolder, ...front } = options;
  const temporary = givenFolder === undefined ? temporaryFolder() : undefined;
  const folder = givenFolder ?? join(temporary?.path ?? '', 'engine');
  let child: Child | undefined;
  let url: string;
  let output: () => string;
  try {
    ({ child, url, output } = await start(folder, front));
  } catch (error) {
    temporary?.remove();
    throw error;
  }
  const port = Number(new URL(url).port);

  function running(): Child {
    if (child === undefined || !isRunning(child)) throw new Error('the stand-in server does not run');
    return child;
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (child === undefined) return;
    child.kill(signal);
    // A frozen process takes SIGTERM only when it goes on.
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    const timer = setTimeout(() => child?.kill('SIGKILL'), END_TIMEOUT_MS);
    await child.exited;
    clearTimeout(timer);
    child = undefined;
  }

  async function startAgain(): Promise<void> {
    ({ child, output } = await start(folder, { ...front, port }));
  }

  async function ask(path: string, method: 'GET' | 'POST' | 'DELETE', body?: string): Promise<string> {
    const headers = front.login
      ? { 'X-ClickHouse-User': front.login.username, 'X-ClickHouse-Key': front.login.password }
      : {};
    const tls = front.tls ? { tls: { rejectUnauthorized: false } } : {};
    const answer = await fetch(`${url}${path}`, { method, headers, ...(body === undefined ? {} : { body }), ...tls });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return text;
  }

  const close = async (): Promise<void> => {
    await end('SIGKILL');
    temporary?.remove();
  };
  return {
    url,
    port,
    pid: () => (child !== undefined && isRunning(child) ? child.pid : undefined),
    fault: async (rule) => {
      await ask(FAULTS_PATH, 'POST', JSON.stringify(typeof rule === 'string' ? { fault: rule } : rule));
    },
    clearFaults: async () => {
      await ask(FAULTS_PATH, 'DELETE');
    },
    faultsLeft: async () => Number(await ask(FAULTS_PATH, 'GET')),
    query: (sql) => ask('/', 'POST', sql),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    freeze: () => signal(running(), 'SIGSTOP', (state) => state === 'T'),
    thaw: () => signal(running(), 'SIGCONT', (state) => state !== 'T'),
    restart: async () => {
      await end('SIGTERM');
      await startAgain();
    },
    restartEmpty: async () => {
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      await startAgain();
    },
    output: () => output(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

type Child = Bun.Subprocess<'ignore', 'pipe', 'pipe'>;

function isRunning(child: Child): boolean {
  return child.exitCode === null && child.signalCode === null;
}

interface StartedChild {
  readonly child: Child;
  readonly url: string;
  readonly output: () => string;
}

/** Resolves once it answers, with the URL that it printed. */
async function start(folder: string, options: FrontOptions): Promise<StartedChild> {
  const main = join(import.meta.dir, 'testing-front-main.ts');
  const command = ['setpriv', '--pdeathsig', 'KILL', '--', process.execPath, main, folder, JSON.stringify(options)];
  const child = Bun.spawn(command, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let errors = '';
  // Read all the time: a process that prints into a full pipe would stand still.
  const reading = eachText(child.stderr, (text) => {
    errors = (errors + text).slice(-OUTPUT_CHARS);
  });
  const { promise: answering, resolve: onUrl } = Promise.withResolvers<string | undefined>();
  let printed = '';
  eachText(child.stdout, (text) => {
    printed += text;
    if (printed.includes('\n')) onUrl(printed.trim());
  }).finally(() => onUrl(undefined));
  const url = await answering;
  if (url === undefined) {
    await reading;
    throw new Error(`the stand-in server ended: ${errors}`);
  }
  child.unref();
  return { child, url, output: () => errors };
}

async function eachText(stream: ReadableStream<Uint8Array>, onText: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) onText(decoder.decode(chunk, { stream: true }));
}

async function signal(child: Child, name: 'SIGSTOP' | 'SIGCONT', isWanted: (state: string) => boolean): Promise<void> {
  child.kill(name);
  const deadlineMs = performance.now() + SIGNAL_TIMEOUT_MS;
  while (isRunning(child) && !isWanted(stateOf(child.pid))) {
    if (performance.now() > deadlineMs) throw new Error(`process ${child.pid} did not take ${name}`);
    await Bun.sleep(POLL_MS);
  }
}

/** Field 3 of /proc/<pid>/stat (proc_pid_stat(5)): T is stopped. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}
